//! What is being received, sent, removed and listed: counted, so that a node that leaves can wait for it.
//!
//! Only what was begun before the node began to leave is waited for. Reads go on while it leaves, and under load there
//! is no moment at which none is in progress.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a request has a node do that can take time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TransferKind {
    Upload,
    Download,
    Delete,
    Listing,
}

/// What one of each kind is called.
const NOUNS: [&str; 4] = ["upload", "download", "delete", "listing"];

/// All transfers of a node.
#[derive(Default)]
pub(crate) struct Transfers {
    ending: AtomicBool,
    awaited: Counts,
    /// Begun since the node leaves.
    late: Counts,
}

/// One transfer, until dropped.
pub(crate) struct Transfer<'t>(&'t AtomicUsize);

/// How many transfers there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransferCounts([usize; NOUNS.len()]);

#[derive(Default)]
struct Counts([AtomicUsize; NOUNS.len()]);

impl Transfers {
    /// Counts a transfer from now until it is dropped: until its answer was sent. To be called before
    /// [`Transfers::are_ending`] decides whether it is admitted, so that none is admitted that is not waited for.
    pub(crate) fn begin(&self, kind: TransferKind) -> Transfer<'_> {
        let counts = if self.are_ending() {
            &self.late
        } else {
            &self.awaited
        };
        let count = &counts.0[kind as usize];
        count.fetch_add(1, Ordering::SeqCst);
        Transfer(count)
    }

    /// Begins no more uploads and deletes.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub(crate) fn are_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// What was begun before the end and is in progress.
    pub(crate) fn awaited(&self) -> TransferCounts {
        self.awaited.tally()
    }

    /// All that is in progress.
    pub(crate) fn in_progress(&self) -> TransferCounts {
        let (TransferCounts(awaited), TransferCounts(late)) = (self.awaited.tally(), self.late.tally());
        TransferCounts(std::array::from_fn(|kind| awaited[kind] + late[kind]))
    }
}

impl Counts {
    fn tally(&self) -> TransferCounts {
        TransferCounts(std::array::from_fn(|kind| self.0[kind].load(Ordering::SeqCst)))
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TransferCounts {
    fn total(self) -> usize {
        self.0.iter().sum()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.total() == 0
    }

    /// The verb that a sentence about it has.
    pub(crate) fn verb(self) -> &'static str {
        if self.total() <= 1 { "is" } else { "are" }
    }
}

/// In words: `2 uploads and 1 download`.
impl fmt::Display for TransferCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.0.iter().zip(NOUNS).filter(|(count, _)| **count > 0);
        let parts: Vec<String> = counted
            .map(|(count, noun)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        match &parts[..] {
            [] => f.write_str("nothing"),
            [one] => f.write_str(one),
            [first @ .., last] => write!(f, "{} and {last}", first.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_after_the_end_is_not_waited_for() {
        let transfers = Transfers::default();
        let upload = transfers.begin(TransferKind::Upload);
        let download = transfers.begin(TransferKind::Download);
        transfers.end();
        let late = transfers.begin(TransferKind::Download);
        assert_eq!(transfers.awaited().to_string(), "1 upload and 1 download");
        assert_eq!(transfers.in_progress().to_string(), "1 upload and 2 downloads");
        drop((upload, download));
        assert!(transfers.awaited().is_empty() && !transfers.in_progress().is_empty());
        drop(late);
        assert!(transfers.in_progress().is_empty());
    }

    #[test]
    fn a_tally_is_told_in_words() {
        for (counts, words) in [
            ([0, 0, 0, 0], "nothing is"),
            ([0, 1, 0, 0], "1 download is"),
            ([2, 0, 1, 0], "2 uploads and 1 delete are"),
            ([1, 2, 3, 1], "1 upload, 2 downloads, 3 deletes and 1 listing are"),
        ] {
            let tally = TransferCounts(counts);
            assert_eq!(format!("{tally} {}", tally.verb()), words);
        }
    }
}
