//! What tests and benchmarks share: nodes as real child processes, what they print, HTTP to the byte, images.
//!
//! `cluster` starts nodes, `observer` reads what they say of membership, `process` watches any child from the outside,
//! `mount` makes small disks, `strace` disturbs system calls, `certificate` certificates, `wire` speaks HTTP, `picture` makes PNG images, `random` numbers from a seed.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "several test programs share this, each uses a part, and a test fails by panicking"
)]

pub mod address;
pub mod certificate;
pub mod cluster;
pub mod mount;
pub mod nobody;
pub mod observer;
pub mod picture;
pub mod process;
pub mod random;
pub mod strace;
pub mod wire;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen soon. Generous, since tests share two cores with each other.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `condition` gives something; panics with `what` when it takes too long.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(outcome) = condition() {
            return outcome;
        }
        assert!(
            Instant::now() < end,
            "waited {} s in vain: {what}",
            PATIENCE.as_secs()
        );
        thread::sleep(LOOK_AGAIN);
    }
}
