//! Reads images back and compares every byte, as it arrives, with what the seed paints. Keeps none of it.

#![allow(clippy::disallowed_methods, reason = "an edge: threads and clocks")]

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::image_id::ImageId;
use pixseal::roster::NodeId;

use crate::comparing_writer::ComparingWriter;
use crate::config::{RunConfig, Verify};
use crate::image_source::image_name;
use crate::stop_signal::{RunEnd, StopSignal};
use crate::summary::Verification;
use crate::tally::examples::keep;

/// A sample has about this many images.
const SAMPLE_IMAGES: u64 = 100;
/// Time limit for one image.
const PATIENCE: Duration = Duration::from_secs(30);
const THREADS_MAX: usize = 8;

/// Reads back those images with a holder that `config` asks for. Counts them in `checked` while it works.
pub(crate) fn read_back(
    config: &RunConfig,
    holders: &[AtomicU32],
    stop: &StopSignal,
    deadline: Instant,
    checked: &AtomicU64,
) -> io::Result<Verification> {
    let stride = stride(config, holders);
    let found = Mutex::new(Verification::default());
    let next = AtomicU64::new(0);
    let work = || {
        let mut client = Client::new(&config.members, Patience::default());
        loop {
            let index = next.fetch_add(stride, Ordering::Relaxed);
            let Some(holder) = usize::try_from(index).ok().and_then(|index| holders.get(index)) else {
                return;
            };
            if Instant::now() >= deadline {
                stop.raise(RunEnd::TimedOut);
            }
            if stop.is_raised() {
                return;
            }
            if let Some(holder) = holder.load(Ordering::Relaxed).checked_sub(1) {
                let finding = compare(&mut client, config, index + 1, NodeId(holder));
                note(
                    &mut found.lock().unwrap_or_else(PoisonError::into_inner),
                    finding,
                    index + 1,
                );
                checked.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    if config.verify != Verify::None {
        thread::scope(|scope| {
            for i in 0..config.concurrency.min(THREADS_MAX) {
                thread::Builder::new()
                    .name(format!("verify-{i}"))
                    .spawn_scoped(scope, work)?;
            }
            Ok::<(), io::Error>(())
        })?;
    }
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// How many images [`read_back`] will read.
pub(crate) fn expected(config: &RunConfig, holders: &[AtomicU32]) -> u64 {
    match config.verify {
        Verify::None => 0,
        _ => holders
            .len()
            .div_ceil(usize::try_from(stride(config, holders)).unwrap_or(1)) as u64,
    }
}

fn stride(config: &RunConfig, holders: &[AtomicU32]) -> u64 {
    match config.verify {
        Verify::Sample => (holders.len() as u64 / SAMPLE_IMAGES).max(1),
        _ => 1,
    }
}

enum Finding {
    Equal,
    Missing(NodeId),
    Different(String),
    Unreadable(String),
}

fn note(found: &mut Verification, finding: Finding, number: u64) {
    found.checked += 1;
    let text = match finding {
        Finding::Equal => {
            found.equal += 1;
            return;
        }
        Finding::Missing(node) => {
            found.missing += 1;
            format!("acknowledged by node {node}, but no node has it")
        }
        Finding::Different(text) => {
            found.different += 1;
            text
        }
        Finding::Unreadable(text) => {
            found.unreadable += 1;
            text
        }
    };
    keep(&mut found.examples, || format!("{}: {text}", image_name(number)));
}

fn compare(client: &mut Client, config: &RunConfig, number: u64, holder: NodeId) -> Finding {
    let image = ImageId::new(&config.user, &image_name(number)).expect("checked for the longest number");
    let deadline = Instant::now() + PATIENCE;
    let download = match client.download(&image, Some(holder), deadline) {
        Ok(Some(download)) => download,
        Ok(None) => return Finding::Missing(holder),
        Err(failure) => return Finding::Unreadable(failure.text),
    };
    let node = download.node;
    let mut comparing = ComparingWriter::new(download, deadline);
    let painted = config
        .plan
        .picture(number)
        .paint(&mut comparing)
        .and_then(|()| comparing.expect_end());
    let (download, broken) = comparing.into_parts();
    match (painted, broken) {
        (Ok(()), _) => {
            client.finish(download);
            Finding::Equal
        }
        (Err(_), Some(broken)) => Finding::Unreadable(broken),
        (Err(e), None) => Finding::Different(format!("from node {node}: {e}")),
    }
}
