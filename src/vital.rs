//! Threads without which a node must not go on.
//!
//! A node whose cluster thread is gone places uploads by a view that nobody renews; one whose acceptor is gone serves
//! nobody and looks alive. Each thread says so itself when it panics, and ends the process with exit code 101, as a
//! panic of the main thread would. Whoever watches the process starts it again, and the other nodes count it out
//! meanwhile: it crashed, which they are made for.
//!
//! | thread | a panic in it |
//! |---|---|
//! | `cluster`, `accept`, `settle` | ends the process: [`spawn`] |
//! | `seal N`, of the sealing pool | ends the process: a worker waits for what the thread had taken, for ever; [`end`] |
//! | `worker N` | costs the connection that it serves; the worker goes on (`server::workers`) |
//! | `resolver` | costs one look-up of names; another is started later |
//! | `journal` | costs the lines that follow; the node goes on without them |
//! | main | ends the process, with the same exit code |

#![allow(clippy::disallowed_methods, reason = "this room starts threads")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread;

/// What Rust ends a process with when its main thread panics.
const EXIT_CODE: i32 = 101;

/// Starts a thread. If it panics, the process ends.
pub(crate) fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    let guarded = move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| end(name));
    thread::Builder::new().name(name.to_owned()).spawn(guarded)
}

/// Ends the process, since the thread of this name has panicked.
pub(crate) fn end(name: &str) -> ! {
    // Not by `eprintln`, which waits as long as nobody reads; a flush of the journal does not.
    log::error!(
        "The thread {name:?} panicked, and without it this node must not go on: it ends with exit code {EXIT_CODE}, to \
         be started again. Please report this line and the panic above."
    );
    log::logger().flush();
    process::exit(EXIT_CODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{self, LogFormat};
    use crate::roster::NodeId;
    use std::process::{Command, Output, Stdio};

    /// Tells the test that it runs in the child.
    const CHILD: &str = "PIXSEAL_TEST_OF_VITAL";

    fn is_child() -> bool {
        std::env::var_os(CHILD).is_some()
    }

    /// This program again, with nothing but the test of this name.
    fn child(test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture", &format!("vital::tests::{test}")])
            .env(CHILD, "1")
            .stdin(Stdio::null());
        command
    }

    /// What the child does: it would end well if the panic did not end it.
    fn panic_in_a_vital_thread() -> ! {
        let thread = spawn("frail", || panic!("on purpose")).unwrap();
        let _: Result<(), _> = thread.join();
        process::exit(0)
    }

    #[test]
    fn a_panic_ends_the_process_with_a_sentence() {
        if is_child() {
            journal::install(log::LevelFilter::Info, LogFormat::Text, NodeId(1)).unwrap();
            log::info!("said before");
            panic_in_a_vital_thread();
        }
        let Output {
            status,
            stdout,
            stderr,
        } = child("a_panic_ends_the_process_with_a_sentence")
            .output()
            .unwrap();
        let (said, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(EXIT_CODE), "{errors}");
        assert!(said.contains("said before\n"), "{said}");
        let sentence = "error: The thread \"frail\" panicked, and without it this node must not go on";
        let (panic, told) = (errors.find("on purpose"), errors.find(sentence));
        assert!(panic.is_some() && panic < told, "{errors}");
    }

    /// More lines than a pipe holds, which nobody reads.
    #[test]
    fn a_reader_that_stalls_does_not_delay_the_end() {
        if is_child() {
            journal::install(log::LevelFilter::Info, LogFormat::Text, NodeId(1)).unwrap();
            for _ in 0..4000 {
                log::info!("{}", "x".repeat(1000));
            }
            panic_in_a_vital_thread();
        }
        let mut stalled = child("a_reader_that_stalls_does_not_delay_the_end");
        let mut stalled = stalled
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(stalled.wait().unwrap().code(), Some(EXIT_CODE));
    }

    #[test]
    fn a_thread_that_ends_gives_its_result() {
        assert_eq!(spawn("sound", || 7).unwrap().join().unwrap(), 7);
    }
}
