//! One truth: an acknowledged write is never undone, and a deleted image never comes back.
//!
//! `make truth SECONDS=600 NODES=3 DOWN=1` runs real nodes under load, stops, kills and pauses them, and checks the
//! history of every name; `SEED=…` replays a schedule. `make test` does so for some seconds. Asks the servers nothing but
//! what clients may ask, and looks into their folders only to count.
//!
//! - [`judge`]: whether a history is that of one register; [`liars`] are histories that it has to see through
//! - [`ledger`]: what was asked and answered, and what the answers mean
//! - [`load`], [`uploads`], [`probe`]: who asks
//! - [`schedule`], [`disturbance`], [`weather`]: who is away when
//! - [`calm`], [`availability`], [`report`]: what has to hold afterwards and meanwhile
//! - [`old_faults`]: what was wrong once, each as a test; [`hand_over`]: a node is killed in the middle of one;
//!   [`late`]: an upload ends in another view than it began in; [`succession`]: nodes go away one right after the other
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

mod availability;
mod calm;
mod disturbance;
mod hand_over;
mod judge;
mod late;
mod ledger;
mod liars;
mod load;
mod old_faults;
mod probe;
mod report;
mod request;
mod run;
mod schedule;
mod settings;
mod specimen;
mod succession;
#[path = "../support/mod.rs"]
mod support;
mod uploads;
mod weather;

/// `liars` and the like are tests of this checker; this is the check.
#[test]
fn an_acknowledged_write_is_never_undone() {
    let settings = settings::settings();
    eprintln!("{settings:?}");
    let report = run::run(&settings);
    eprintln!("{report}");
    assert!(report.holds(settings.timed), "seed {}: see above", settings.seed);
}
