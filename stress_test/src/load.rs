//! The load: threads that upload one image after the other and report each as a [`Sample`].
//!
//! Each thread has its own connections. Without a rate the load is closed-loop: a thread starts its next upload when the
//! one before is over. With a rate every image has an intended start, and its time counts from there, so that a slow
//! answer also shows in the uploads that it delays.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: threads, clocks and files"
)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use pixseal::client::Client;
use pixseal::client::error::ErrorKind;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Terms, Upload, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::report::Receipt;
use pixseal::roster::NodeId;

use crate::acknowledged::{Acknowledged, AcknowledgedCopy, Acknowledgements};
use crate::config::RunConfig;
use crate::image_source::image_name;
use crate::image_source::{Image, ImageSource};
use crate::sample::{Sample, UploadOutcome};
use crate::stop_signal::RunEnd;
use crate::stop_signal::StopSignal;
use crate::watch::Watch;

/// Time limit for one image.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(30);
/// The run is given up after this many failures in a row for each thread.
const FAILURES_PER_THREAD_MAX: u32 = 3;
/// The last byte is held back in one upload of this many, and in the first ones.
const HOLD_EVERY: u64 = 50;
const HOLD_FIRST: u64 = 12;
const HOLD: Duration = Duration::from_millis(20);
const SLEEP_MAX: Duration = Duration::from_millis(50);

pub(crate) struct Load<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) images: &'a ImageSource,
    pub(crate) watch: &'a Watch,
    pub(crate) stop: &'a StopSignal,
    /// When the first upload begins.
    pub(crate) origin: Instant,
    /// When the whole run times out.
    pub(crate) deadline: Instant,
    pub(crate) acknowledged: &'a Acknowledgements,
    next: AtomicU64,
    failures: AtomicU32,
}

/// When an image is offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// As soon as it is ready: the load is closed-loop.
    AtOnce,
    /// At this moment, by the schedule of `--rate`.
    Scheduled(Instant),
    /// The run was stopped.
    Never,
}

/// Whether the last byte of image `number` is held back for a moment.
pub(crate) fn is_held_back(number: u64) -> bool {
    number <= HOLD_FIRST || number.is_multiple_of(HOLD_EVERY)
}

impl<'a> Load<'a> {
    pub(crate) fn new(
        config: &'a RunConfig,
        images: &'a ImageSource,
        watch: &'a Watch,
        stop: &'a StopSignal,
        deadline: Instant,
        acknowledged: &'a Acknowledgements,
    ) -> Load<'a> {
        let (next, failures) = (AtomicU64::new(1), AtomicU32::new(0));
        Load {
            config,
            images,
            watch,
            stop,
            origin: Instant::now(),
            deadline,
            acknowledged,
            next,
            failures,
        }
    }

    /// The work of one thread, until there are no more images.
    pub(crate) fn work(&self, samples: &Sender<Sample>) {
        let mut client = self.config.client(Patience::default());
        let mut buffer = Vec::new();
        while let Some(number) = self.next() {
            let start_at = self.await_start(number);
            if start_at == Start::Never {
                return;
            }
            let sample = self.upload(&mut client, number, start_at, &mut buffer);
            self.record(&sample);
            if samples.send(sample).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<u64> {
        if Instant::now() >= self.deadline {
            self.stop.raise(RunEnd::TimedOut);
        }
        if self.stop.is_raised() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number <= self.config.images).then_some(number)
    }

    /// Waits until an image should be offered.
    fn await_start(&self, number: u64) -> Start {
        let Some(rate) = self.config.rate else {
            return Start::AtOnce;
        };
        let intended = self.origin + Duration::from_secs_f64((number - 1) as f64 / rate);
        while !self.stop.is_raised() {
            let now = Instant::now();
            if now >= intended {
                return Start::Scheduled(intended);
            }
            if now >= self.deadline {
                self.stop.raise(RunEnd::TimedOut);
            }
            thread::sleep((intended - now).min(SLEEP_MAX));
        }
        Start::Never
    }

    fn upload(&self, client: &mut Client, number: u64, start_at: Start, buffer: &mut Vec<u8>) -> Sample {
        let picture = self.images.picture(number);
        let mut sample = Sample::untried(number, picture.band, picture.bytes());
        let taken = self.images.take(number, buffer);
        let start = Instant::now();
        let intended = match start_at {
            Start::Scheduled(intended) => intended,
            _ => start,
        };
        let mut file;
        let body = match taken {
            Ok(Image::Painted(bytes, took)) => {
                sample.paint = took;
                UploadBody::Bytes(bytes)
            }
            Ok(Image::Stored(opened)) => {
                file = opened;
                UploadBody::File(&mut file, picture.bytes())
            }
            Err(e) => {
                sample.outcome = UploadOutcome::Failed {
                    cause: ErrorKind::Refused,
                    text: format!("its file: {e}"),
                };
                return sample;
            }
        };
        let image =
            ImageId::new(&self.config.user, &image_name(number)).expect("checked for the longest number");
        let terms = Terms {
            audience: self.config.audience,
            deadline: self.deadline.min(start + UPLOAD_PATIENCE),
            stop: self.stop.flag(),
            hold: is_held_back(number).then_some(HOLD),
        };
        let upload = client.upload(&image, body, terms);
        sample.intended = intended.saturating_duration_since(self.origin);
        sample.late = start.saturating_duration_since(intended);
        sample.total = sample.late + upload.elapsed.saturating_sub(upload.held);
        self.fill(&mut sample, client, &image, upload);
        sample
    }

    fn fill(&self, sample: &mut Sample, client: &mut Client, image: &ImageId, upload: Upload) {
        sample.offer = upload.offer;
        sample.transfer = upload.transfer;
        sample.receipt = upload.receipt;
        sample.rounds = upload.rounds;
        sample.setbacks = upload.setbacks;
        sample.also_accepted = upload.also_accepted;
        sample.answered_early = upload.answered_early;
        sample.body_bytes_sent = upload.body_bytes_sent;
        sample.outcome = match upload.outcome {
            Ok(receipt) => UploadOutcome::Stored {
                // Not always the node that took it in: an upload whose name moves meanwhile is handed over first.
                node: receipt.node,
                copy: AcknowledgedCopy::of(&receipt),
                term: receipt.term,
                claimed: receipt.alive.is_some(),
                wrong_receipt: contradiction(&receipt, image, sample.bytes),
                views: match receipt.alive {
                    Some(alive) => vec![alive],
                    None => self.views(client, receipt.node, receipt.term),
                },
            },
            Err(failure) => UploadOutcome::Failed {
                cause: failure.kind,
                text: failure.text,
            },
        };
    }

    /// The views that go with a term. The first receipt of a new term can come before the watch sees that term, so this
    /// asks the node.
    fn views(&self, client: &mut Client, node: NodeId, term: u64) -> Vec<Vec<NodeId>> {
        let views = self.watch.views(term);
        if !views.is_empty() || client.members().all(|(id, _)| id != node) {
            return views;
        }
        if let Ok(status) = client.status(node) {
            self.watch.heard(&status);
        }
        self.watch.views(term)
    }

    /// Records which node has which copy of the image; gives up when no image is accepted any more.
    fn record(&self, sample: &Sample) {
        match &sample.outcome {
            UploadOutcome::Stored { node, copy, .. } => {
                let index = usize::try_from(sample.number - 1).expect("bounded by --images");
                let (holder, copy) = (*node, *copy);
                self.acknowledged[index].get_or_init(|| Acknowledged { holder, copy });
                self.failures.store(0, Ordering::Relaxed);
            }
            UploadOutcome::Failed { .. } => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                let threads = u32::try_from(self.config.concurrency).unwrap_or(u32::MAX);
                if failures >= threads.saturating_mul(FAILURES_PER_THREAD_MAX) {
                    self.stop.raise(RunEnd::GivenUp);
                }
            }
        }
    }
}

/// What is wrong in a receipt.
fn contradiction(receipt: &Receipt, image: &ImageId, bytes: u64) -> Option<String> {
    if receipt.user != image.user() || receipt.name != image.name() {
        return Some(format!("the receipt is for {}/{}", receipt.user, receipt.name));
    }
    if receipt.bytes != bytes {
        return Some(format!(
            "the receipt is for {} bytes, {bytes} were sent",
            receipt.bytes
        ));
    }
    None
}
