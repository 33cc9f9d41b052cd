//! What a run is told, by environment variables: `make truth` sets them.

use std::env;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the run in `make test` takes.
const SHORT_RUN: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `PIXSEAL_TRUTH_SECONDS`: for how long nodes go away, all rounds together.
    pub(crate) length: Duration,
    /// `PIXSEAL_TRUTH_NODES`.
    pub(crate) nodes: u32,
    /// `PIXSEAL_TRUTH_DOWN`: how many are away at a time, at most.
    pub(crate) down: usize,
    /// `PIXSEAL_TRUTH_SEED`.
    pub(crate) seed: u64,
    /// `PIXSEAL_TRUTH_SHARED=1`: one folder of images for all.
    pub(crate) shared: bool,
    /// `PIXSEAL_TRUTH_CALM`: how many seconds may pass after the last fault until everything is right.
    pub(crate) calm: Duration,
    /// `PIXSEAL_TRUTH_CLIENTS`.
    pub(crate) clients: u64,
    /// `PIXSEAL_TRUTH_NAMES`: of each of the two users that all clients work on.
    pub(crate) names: usize,
    /// `PIXSEAL_TRUTH_CONDITIONS=0` leaves out `If-Match` and `If-None-Match`.
    pub(crate) conditions: bool,
    /// What depends on time is judged, not only counted: only where somebody asked for the run.
    pub(crate) timed: bool,
}

pub(crate) fn settings() -> Settings {
    let asked: Option<u64> = variable("SECONDS");
    Settings {
        length: asked.map(Duration::from_secs).unwrap_or(SHORT_RUN),
        nodes: variable("NODES").unwrap_or(3),
        down: variable("DOWN").unwrap_or(1),
        seed: variable("SEED").unwrap_or_else(fresh_seed),
        shared: variable::<u8>("SHARED") == Some(1),
        calm: Duration::from_secs(variable("CALM").unwrap_or(30)),
        clients: variable("CLIENTS").unwrap_or(6),
        names: variable("NAMES").unwrap_or(12),
        conditions: variable::<u8>("CONDITIONS") != Some(0),
        timed: asked.is_some(),
    }
}

/// What is set; a variable that is set to nothing is not.
fn variable<T: FromStr>(name: &str) -> Option<T> {
    let name = format!("PIXSEAL_TRUTH_{name}");
    let value = env::var(&name).ok().filter(|value| !value.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number")),
    )
}

fn fresh_seed() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
