//! Reads images back and compares every byte, as it arrives, with what the seed paints. Keeps none of it.
//!
//! An earlier run with the same seed has left images of the same names and bytes. So equal bytes do not prove that an
//! acknowledged write has survived: the entity tag must be that of the receipt, too, or the copy be of a later write (an
//! upload that was repeated may have been written more than once, and the receipt may be of the first).

#![allow(clippy::disallowed_methods, reason = "an edge: threads and clocks")]

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::image_id::ImageId;
use pixseal::report::Holding;
use pixseal::roster::NodeId;
use pixseal::version::Version;

use crate::acknowledged::{Acknowledged, AcknowledgedCopy, Acknowledgements};
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

/// Reads back those acknowledged images that `config` asks for. Counts them in `checked` while it works.
pub(crate) fn read_back(
    config: &RunConfig,
    acknowledged: &Acknowledgements,
    stop: &StopSignal,
    deadline: Instant,
    checked: &AtomicU64,
) -> io::Result<Verification> {
    let stride = stride(config, acknowledged);
    let found = Mutex::new(Verification::default());
    let next = AtomicU64::new(0);
    let work = || {
        let mut client = config.client(Patience::default());
        loop {
            let index = next.fetch_add(stride, Ordering::Relaxed);
            let Some(place) = usize::try_from(index)
                .ok()
                .and_then(|index| acknowledged.get(index))
            else {
                return;
            };
            if Instant::now() >= deadline {
                stop.raise(RunEnd::TimedOut);
            }
            if stop.is_raised() {
                return;
            }
            if let Some(written) = place.get() {
                let finding = compare(&mut client, config, index + 1, written);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.unversioned += u64::from(written.copy.is_none());
                note(&mut found, finding, index + 1);
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
pub(crate) fn expected(config: &RunConfig, acknowledged: &Acknowledgements) -> u64 {
    match config.verify {
        Verify::None => 0,
        _ => acknowledged
            .len()
            .div_ceil(usize::try_from(stride(config, acknowledged)).unwrap_or(1)) as u64,
    }
}

fn stride(config: &RunConfig, acknowledged: &Acknowledgements) -> u64 {
    match config.verify {
        Verify::Sample => (acknowledged.len() as u64 / SAMPLE_IMAGES).max(1),
        _ => 1,
    }
}

enum Finding {
    Equal,
    Missing(NodeId),
    Different(String),
    Undone(String),
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
        Finding::Undone(text) => {
            found.undone += 1;
            format!("an acknowledged write was undone: {text}")
        }
        Finding::Unreadable(text) => {
            found.unreadable += 1;
            text
        }
    };
    keep(&mut found.examples, || format!("{}: {text}", image_name(number)));
}

fn compare(client: &mut Client, config: &RunConfig, number: u64, written: &Acknowledged) -> Finding {
    let image = ImageId::new(&config.user, &image_name(number)).expect("checked for the longest number");
    let deadline = Instant::now() + PATIENCE;
    let download = match client.download(&image, Some(written.holder), deadline) {
        Ok(Some(download)) => download,
        Ok(None) => return Finding::Missing(written.holder),
        Err(failure) => return Finding::Unreadable(failure.text),
    };
    let node = download.node;
    let etag = download.etag().unwrap_or_default().to_owned();
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
            let undone = written
                .copy
                .and_then(|copy| undone(client, &image, copy, (node, &etag)));
            undone.map_or(Finding::Equal, Finding::Undone)
        }
        (Err(_), Some(broken)) => Finding::Unreadable(broken),
        (Err(e), None) => Finding::Different(format!("from node {node}: {e}")),
    }
}

/// What is wrong if `node`, which sent a copy with this entity tag, holds an older write than the acknowledged one.
fn undone(
    client: &mut Client,
    image: &ImageId,
    copy: AcknowledgedCopy,
    (node, etag): (NodeId, &str),
) -> Option<String> {
    if copy.has_etag(etag) {
        return None;
    }
    let held = held_version(client, image, node, etag);
    if held.is_some_and(|held| held > copy.version) {
        return None;
    }
    let held = held.map_or_else(|| "another one".to_owned(), |held| held.to_string());
    Some(format!(
        "version {} was acknowledged, node {node} sent {held} (entity tag {etag})",
        copy.version
    ))
}

/// The version of the copy with this entity tag, if `node` says that it holds it.
fn held_version(client: &mut Client, image: &ImageId, node: NodeId, etag: &str) -> Option<Version> {
    let target = format!("{}?version", image.target());
    let answered = client.ask(node, "GET", &target).ok()?;
    let holding: Holding = serde_json::from_str(&answered.text()).ok()?;
    holding
        .copy
        .filter(|copy| copy.etag == etag)
        .map(|copy| copy.version)
}
