//! Who is away at the moment, since when nobody is, and what happened when: written by the one who disturbs, read by all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Somebody is away.
const FOUL: u64 = u64::MAX;

/// Times are nanoseconds of the ledger's clock.
pub(crate) struct Weather {
    away: Vec<AtomicBool>,
    /// Since when every node runs, or [`FOUL`].
    fair_since: AtomicU64,
    last_event: AtomicU64,
    events: Mutex<Vec<(u64, String)>>,
}

impl Weather {
    /// `nodes` nodes, all of which run.
    pub(crate) fn new(nodes: u32) -> Weather {
        Weather {
            away: (0..nodes).map(|_| AtomicBool::new(false)).collect(),
            fair_since: AtomicU64::new(0),
            last_event: AtomicU64::new(0),
            events: Mutex::default(),
        }
    }

    /// Before a node is disturbed.
    pub(crate) fn leaves(&self, node: u32, now: u64, how: &str) {
        self.fair_since.store(FOUL, Ordering::SeqCst);
        self.away[node as usize - 1].store(true, Ordering::SeqCst);
        self.note(now, format!("node {node} {how}"));
    }

    /// After a node serves again.
    pub(crate) fn returns(&self, node: u32, now: u64, how: &str) {
        self.away[node as usize - 1].store(false, Ordering::SeqCst);
        self.note(now, format!("node {node} {how}"));
        if self.away_count() == 0 {
            self.fair_since.store(now, Ordering::SeqCst);
        }
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, now: u64, what: String) {
        self.last_event.store(now, Ordering::SeqCst);
        self.events.lock().unwrap().push((now, what));
    }

    pub(crate) fn is_away(&self, node: u32) -> bool {
        self.away[node as usize - 1].load(Ordering::SeqCst)
    }

    pub(crate) fn away_count(&self) -> usize {
        self.away
            .iter()
            .filter(|away| away.load(Ordering::SeqCst))
            .count()
    }

    /// The moment of the last event.
    pub(crate) fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::SeqCst)
    }

    /// Whether all nodes have been running from `grace` before `begin` until now.
    pub(crate) fn was_fair(&self, begin: u64, grace: Duration) -> bool {
        let since = self.fair_since.load(Ordering::SeqCst);
        since != FOUL && since.saturating_add(u64::try_from(grace.as_nanos()).unwrap()) <= begin
    }

    /// What happened in this time.
    pub(crate) fn events(&self, from: u64, to: u64) -> Vec<(u64, String)> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter(|(at, _)| (from..=to).contains(at))
            .cloned()
            .collect()
    }
}
