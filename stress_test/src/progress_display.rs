//! The progress of a run: bars on a terminal, otherwise a line every few seconds.

#![allow(clippy::disallowed_methods, reason = "an edge: the terminal and its clock")]

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pixseal::standard_output::say;

use crate::report::units::bytes;
use crate::tally::Tally;
use crate::watch::Watch;

/// Plain lines come this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The figures of the live view are drawn this often.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Latencies of so many last uploads are shown.
const RECENT_MAX: usize = 500;

/// Whether the terminal gets bars and colours.
pub(crate) fn is_live(plain: bool) -> bool {
    !plain && std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal()
}

/// The view of one phase of a run.
pub(crate) struct ProgressDisplay {
    live: Option<Live>,
    what: &'static str,
    total: u64,
    start: Instant,
    last: Instant,
    recent: VecDeque<f64>,
}

struct Live {
    main: ProgressBar,
    figures: ProgressBar,
    event: ProgressBar,
    nodes: Vec<ProgressBar>,
    /// Owns the lines; they go away with it.
    all: MultiProgress,
}

impl ProgressDisplay {
    /// A view of `total` things. `nodes`: how many bars for nodes.
    pub(crate) fn new(what: &'static str, total: u64, nodes: usize, live: bool) -> ProgressDisplay {
        let now = Instant::now();
        let live = live.then(|| Live::new(what, total, nodes));
        ProgressDisplay {
            live,
            what,
            total,
            start: now,
            last: now,
            recent: VecDeque::new(),
        }
    }

    /// Remembers the latency of an upload, in milliseconds.
    pub(crate) fn note(&mut self, latency: f64) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(latency);
    }

    /// Shows how far a phase without uploads is.
    pub(crate) fn count(&mut self, done: u64) {
        if let Some(live) = &self.live {
            live.main.set_position(done);
        } else if self.due(LINE_EVERY) {
            // What cannot be printed is said with the report.
            let _ = say(format_args!("  {}: {done} of {}", self.what, self.total));
        }
    }

    /// Shows how far the uploads are.
    pub(crate) fn show(&mut self, tally: &Tally, watch: &Watch) {
        let every = if self.live.is_some() {
            DRAW_EVERY
        } else {
            LINE_EVERY
        };
        if self.due(every) {
            self.draw(tally, watch.last_event().as_deref());
        }
    }

    /// Removes the bars from the terminal.
    pub(crate) fn finish(self) {
        if let Some(live) = self.live {
            for bar in live.nodes.iter().chain([&live.main, &live.figures, &live.event]) {
                bar.finish_and_clear();
            }
            drop(live.all);
        }
    }

    fn due(&mut self, every: Duration) -> bool {
        let due = self.last.elapsed() >= every;
        if due {
            self.last = Instant::now();
        }
        due
    }

    fn draw(&self, tally: &Tally, event: Option<&str>) {
        let totals = tally.totals();
        let seconds = self.start.elapsed().as_secs_f64().max(0.001);
        let rate = totals.done as f64 / seconds;
        let left = self.total.saturating_sub(totals.done) as f64 / rate.max(0.001);
        let (p50, p99) = self.percentiles();
        let figures = format!(
            "{rate:.1} uploads/s  {}/s  p50 {p50:.0} ms  p99 {p99:.0} ms  failed {}  retried {}",
            bytes(totals.bytes as f64 / seconds),
            totals.failed,
            totals.retried
        );
        let Some(live) = &self.live else {
            let _ = say(format_args!(
                "  {} of {} ({:.0} s left)  {figures}",
                totals.done, self.total, left
            ));
            return;
        };
        live.main.set_position(totals.done);
        live.main.set_message(format!("{} left", time(left)));
        live.figures.set_message(figures);
        live.event.set_message(event.unwrap_or_default().to_owned());
        let most = tally
            .shares()
            .map(|(_, uploads)| uploads)
            .max()
            .unwrap_or(0)
            .max(1);
        let stored = totals.done - totals.failed;
        for (bar, (id, uploads)) in live.nodes.iter().zip(tally.shares()) {
            bar.set_length(most);
            bar.set_position(uploads);
            bar.set_message(format!(
                "{:>5.1}%  {uploads} uploads",
                100.0 * uploads as f64 / stored.max(1) as f64
            ));
            bar.set_prefix(format!("Node {id}"));
        }
    }

    fn percentiles(&self) -> (f64, f64) {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at =
            |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
        (at(50).copied().unwrap_or(0.0), at(99).copied().unwrap_or(0.0))
    }
}

impl Live {
    fn new(what: &'static str, total: u64, nodes: usize) -> Live {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .expect("the templates are constants")
                .progress_chars("█▉▊▋▌▍▎▏ ")
        };
        let main = all.add(ProgressBar::new(total));
        main.set_style(style(
            "{prefix:<10} {bar:40.green} {pos}/{len} ({percent} %)  {msg}",
        ));
        main.set_prefix(what);
        let line = |template: &str| {
            let bar = all.add(ProgressBar::new(1));
            bar.set_style(style(template));
            bar
        };
        let figures = line("           {msg}");
        let nodes = (0..nodes)
            .map(|_| line("{prefix:<10} {bar:40.cyan} {msg}"))
            .collect();
        let event = line("           {msg:.yellow}");
        Live {
            main,
            figures,
            event,
            nodes,
            all,
        }
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
