//! What came of requests, counted by kind and outcome: how long they took, and how many bytes they moved.
//!
//! Fixed arrays of counters, which are never locked: a request adds to three of them when it is over. Kinds and outcomes
//! are few and fixed, whatever clients ask for. Knows no request and no answer: [`exchange`](super::exchange) says what it
//! was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::report::Durations;

/// Upper bounds of durations, in microseconds.
pub(crate) const DURATION_BOUNDS_US: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
/// Upper bounds of sizes, in bytes: from 1 KiB to 64 MiB, each four times the one before.
pub(crate) const SIZE_BOUNDS: [u64; 9] = [
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
];
/// One more than bounds: what is beyond the last.
const DURATION_BUCKETS: usize = DURATION_BOUNDS_US.len() + 1;
const SIZE_BUCKETS: usize = SIZE_BOUNDS.len() + 1;
const MICROS_PER_SECOND: f64 = 1e6;

/// What kind of request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Get,
    Delete,
    List,
    /// One that only nodes make.
    Peer,
    /// About the node, or not understood.
    Other,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// Another node does it: the client was sent there, or the request was passed on.
    Elsewhere,
    /// The request is at fault: 400 to 499.
    Refused,
    /// The node or the cluster could not: 500 to 599.
    Failed,
    /// The client was gone before it had its answer, or was cut off.
    Lost,
}

impl Kind {
    /// For people and programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::Delete => "delete",
            Kind::List => "list",
            Kind::Peer => "peer",
            Kind::Other => "other",
        }
    }

    pub(crate) const ALL: [Kind; 6] = [
        Kind::Put,
        Kind::Get,
        Kind::Delete,
        Kind::List,
        Kind::Peer,
        Kind::Other,
    ];
}

impl Ending {
    /// For people and programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Elsewhere => "elsewhere",
            Ending::Refused => "refused",
            Ending::Failed => "failed",
            Ending::Lost => "lost",
        }
    }

    pub(crate) const ALL: [Ending; 5] = [
        Ending::Done,
        Ending::Elsewhere,
        Ending::Refused,
        Ending::Failed,
        Ending::Lost,
    ];
}

/// How many values lay in each bucket, and their sum.
pub(crate) struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Buckets {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Buckets<N> {
    /// A bound belongs to the bucket below it.
    fn add(&self, bounds: &[u64], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> [u64; N] {
        std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed))
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// All requests since the start of the node.
#[derive(Default)]
pub(crate) struct Traffic {
    durations: [[Buckets<DURATION_BUCKETS>; Ending::ALL.len()]; Kind::ALL.len()],
    /// Bytes of uploads that came.
    received: [Buckets<SIZE_BUCKETS>; Ending::ALL.len()],
    /// Bytes of images that went.
    sent: [Buckets<SIZE_BUCKETS>; Ending::ALL.len()],
}

impl Traffic {
    /// A request is over that took so long, and brought and took so many bytes of content.
    pub(crate) fn add(&self, (kind, ending): (Kind, Ending), took: Duration, (received, sent): (u64, u64)) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.durations(kind, ending).add(&DURATION_BOUNDS_US, micros);
        match kind {
            Kind::Put => self.received(ending).add(&SIZE_BOUNDS, received),
            Kind::Get => self.sent(ending).add(&SIZE_BOUNDS, sent),
            Kind::Delete | Kind::List | Kind::Peer | Kind::Other => {}
        }
    }

    pub(crate) fn durations(&self, kind: Kind, ending: Ending) -> &Buckets<DURATION_BUCKETS> {
        &self.durations[kind as usize][ending as usize]
    }

    pub(crate) fn received(&self, ending: Ending) -> &Buckets<SIZE_BUCKETS> {
        &self.received[ending as usize]
    }

    pub(crate) fn sent(&self, ending: Ending) -> &Buckets<SIZE_BUCKETS> {
        &self.sent[ending as usize]
    }

    /// Of uploads that this node took.
    pub(crate) fn upload_durations(&self) -> Durations {
        let taken = self.durations(Kind::Put, Ending::Done);
        let counts = taken.counts();
        Durations {
            bounds: DURATION_BOUNDS_US.map(seconds).to_vec(),
            counts: counts.to_vec(),
            sum_seconds: seconds(taken.sum()),
            count: counts.iter().sum(),
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "microseconds of 285 years are exact, and others near enough"
)]
pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / MICROS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_of_the_first_bound_that_it_does_not_exceed() {
        for (value, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (60_000_000, 14),
            (60_000_001, 15),
            (u64::MAX, 15),
        ] {
            let buckets = Buckets::<DURATION_BUCKETS>::default();
            buckets.add(&DURATION_BOUNDS_US, value);
            let counts = buckets.counts();
            assert_eq!(
                counts.iter().position(|count| *count == 1),
                Some(bucket),
                "{value}"
            );
            assert_eq!(buckets.sum(), value);
        }
        assert!(DURATION_BOUNDS_US.is_sorted() && SIZE_BOUNDS.is_sorted());
    }

    #[test]
    fn uploads_that_were_taken_are_told_apart_from_all_others() {
        let traffic = Traffic::default();
        let took = Duration::from_millis(3);
        for kind in Kind::ALL {
            for ending in Ending::ALL {
                traffic.add((kind, ending), took, (5, 7));
            }
        }
        traffic.add((Kind::Put, Ending::Done), Duration::from_secs(100), (1 << 30, 0));
        let durations = traffic.upload_durations();
        assert_eq!(durations.counts.len(), durations.bounds.len() + 1);
        assert_eq!((durations.bounds[0], durations.bounds[14]), (0.001, 60.0));
        assert_eq!(
            (durations.counts[2], durations.counts[15], durations.count),
            (1, 1, 2)
        );
        assert_eq!(durations.sum_seconds, 100.003);
        assert_eq!(traffic.received(Ending::Done).sum(), 5 + (1 << 30));
        assert_eq!(traffic.sent(Ending::Lost).sum(), 7);
    }
}
