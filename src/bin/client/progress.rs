//! How far `client put` is, for people.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use pixseal::standard_output::say;

use super::put::Done;

const REDRAW: Duration = Duration::from_millis(100);

/// A line that is drawn over and over on a terminal; without one, a line for each file.
pub(super) struct Progress {
    files: usize,
    bytes: u64,
    done: usize,
    bytes_done: u64,
    pub(super) failed: usize,
    /// Files whose images took the places of others.
    pub(super) replaced: usize,
    /// Files whose names have an image that stayed.
    pub(super) left: usize,
    /// Whether every line could be printed.
    pub(super) told: Result<(), String>,
    pub(super) start: Instant,
    drawn: Option<Instant>,
    live: bool,
}

impl Progress {
    pub(super) fn new(files: usize, bytes: u64) -> Progress {
        let live = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Progress {
            files,
            bytes,
            done: 0,
            bytes_done: 0,
            failed: 0,
            replaced: 0,
            left: 0,
            told: Ok(()),
            start: Instant::now(),
            drawn: None,
            live,
        }
    }

    pub(super) fn show(&mut self) {
        if !self.live || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.bytes_done as f64 / seconds.max(0.001);
        let share = self.bytes_done as f64 / self.bytes.max(1) as f64;
        let left = (self.bytes - self.bytes_done) as f64 / rate.max(1.0);
        let full = (0..20)
            .map(|i| if f64::from(i) < share * 20.0 { '█' } else { '░' })
            .collect::<String>();
        eprint!(
            "\r\x1b[K{full} {}/{} files, {:.0} MB/s",
            self.done,
            self.files,
            rate / 1e6
        );
        if self.bytes_done > 0 {
            eprint!(", {left:.0} s left");
        }
        self.drawn = Some(Instant::now());
    }

    /// A file of so many bytes is done, or has failed: the line says which.
    pub(super) fn record(&mut self, bytes: u64, outcome: Result<Done, String>) {
        self.done += 1;
        self.bytes_done += bytes;
        self.replaced += usize::from(matches!(outcome, Ok(Done::Replaced(_))));
        self.left += usize::from(matches!(outcome, Ok(Done::Left(_))));
        match outcome {
            Ok(Done::Stored(line) | Done::Replaced(line) | Done::Left(line))
                if !self.live && self.told.is_ok() =>
            {
                self.told = say(line);
            }
            Ok(_) => {}
            Err(why) => {
                self.failed += 1;
                self.clear();
                eprintln!("client: {why}");
            }
        }
    }

    pub(super) fn clear(&mut self) {
        if self.live && self.drawn.is_some() {
            eprint!("\r\x1b[K");
            self.drawn = None;
        }
    }
}
