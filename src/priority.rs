//! Which threads give way to which: everything that works for clients gives way to the heartbeat.
//!
//! A node that is busy must not look dead.

/// How much nicer than the heartbeat a thread that works for clients is: a third of its share where both want a
/// core. It hardly ever does; more niceness would only give way to strangers on the same machine (at 10, one upload
/// beside a compiler took twice as long).
const NICENESS: i32 = 5;

/// Makes the calling thread yield to the heartbeat. Where that is not allowed, the default has to do.
pub(crate) fn give_way_to_heartbeat() {
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
