//! What a run found, for people: counts first, then each violation with what happened to its name before.

use std::fmt;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::judge::{Condition, Content, Effect, judge};
use crate::ledger::{Entry, Page};
use crate::load::World;
use crate::uploads;

/// How many requests before a violation are shown with it, and how many violations are shown at all.
const ENTRIES_SHOWN: usize = 14;
const VIOLATIONS_SHOWN: usize = 12;
const COMPLAINTS_SHOWN: usize = 20;

#[derive(Default)]
pub(crate) struct Report {
    /// The first of each name and round, with its history.
    violations: Vec<String>,
    violations_counted: usize,
    /// Histories: one for each name and round.
    histories: usize,
    undecided: Vec<String>,
    /// What was not right when the calm was over.
    pub(crate) wrong: Vec<String>,
    pub(crate) calms: Vec<Duration>,
    pub(crate) uploads: uploads::Count,
    complaints: Vec<String>,
    summary: String,
}

impl Report {
    /// Whether everything that was promised held; what depends on time only if `timed`.
    pub(crate) fn holds(&self, timed: bool) -> bool {
        let is_true = self.violations.is_empty() && self.undecided.is_empty() && self.wrong.is_empty();
        is_true && (!timed || self.complaints.is_empty())
    }

    /// A line after each round.
    pub(crate) fn so_far(&self, round: u64) -> String {
        format!(
            "round {round}: {} violations so far in {} of {} histories, {} undecided, {} wrong after calm; calm after {:.1} s",
            self.violations_counted,
            self.violations.len(),
            self.histories,
            self.undecided.len(),
            self.wrong.len(),
            self.calms.last().map_or(0.0, Duration::as_secs_f64)
        )
    }

    /// Takes over what the run has counted.
    pub(crate) fn finish(&mut self, world: &World) {
        self.complaints = world.availability.complaints();
        let _ = write!(
            self.summary,
            "requests by kind and answer:{}",
            world.ledger.counts()
        );
        let events = world.weather.events(0, u64::MAX);
        let count = |what: &str| events.iter().filter(|(_, event)| event.contains(what)).count();
        let _ = write!(
            self.summary,
            "\nevents: {} asked to end, {} killed, {} paused\navailability: {}",
            count("is asked to end"),
            count("is killed"),
            count("is paused"),
            world.availability.summary()
        );
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let _ = write!(
            self.summary,
            "\nuploads by our client: {}, of them {} in several rounds, {} failed for good",
            load(&self.uploads.uploads),
            load(&self.uploads.repeated),
            load(&self.uploads.failed)
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        section(
            f,
            "refused or lost without need (judged in long runs only)",
            &self.complaints,
            COMPLAINTS_SHOWN,
        )?;
        section(f, "wrong after calm", &self.wrong, COMPLAINTS_SHOWN)?;
        section(f, "undecided", &self.undecided, COMPLAINTS_SHOWN)?;
        section(f, "histories with violations", &self.violations, VIOLATIONS_SHOWN)?;
        write!(
            f,
            "violations: {} in {} histories",
            self.violations_counted, self.histories
        )
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String], most: usize) -> fmt::Result {
    for line in lines.iter().take(most) {
        writeln!(f, "- {line}")?;
    }
    if lines.len() > most {
        writeln!(f, "- and {} more", lines.len() - most)?;
    }
    writeln!(f, "{title}: {}", lines.len())
}

/// Judges the history of every name.
pub(crate) fn judge_all(world: &World, report: &mut Report) {
    for name in 0..world.ledger.names() {
        let page = world.ledger.page(name);
        let (steps, entry_of) = page.steps();
        let verdict = judge(page.initial, &steps);
        let count = verdict.lies.len() + page.nonsense.len();
        let lie = verdict
            .lies
            .first()
            .map(|at| describe(world, &page, entry_of[*at]));
        let nonsense = page
            .nonsense
            .first()
            .map(|what| format!("{}: {what}", page.path()));
        if let Some(first) = lie.or(nonsense) {
            report
                .violations
                .push(format!("{first}\n      and {} more in this history", count - 1));
        }
        report.violations_counted += count;
        report
            .undecided
            .extend(verdict.undecided.map(|at| describe(world, &page, entry_of[at])));
        report.histories += 1;
    }
}

/// The entry that nothing explains, after those that led to it, with the events between them.
fn describe(world: &World, page: &Page, at: usize) -> String {
    let culprit = &page.entries[at];
    let before = leading_to(page, culprit);
    let recent = before.len().saturating_sub(ENTRIES_SHOWN);
    // Where the bytes came from may be long ago.
    let is_about = |entry: &Entry| wrote(culprit).is_some() && wrote(entry) == wrote(culprit);
    let older = before[..recent].iter().filter(|entry| is_about(entry));
    let older: Vec<&Entry> = older.copied().take(ENTRIES_SHOWN / 2).collect();
    let from = before.get(recent).map_or(0, |entry| entry.begin);
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (at, event) in world.weather.events(from, culprit.end) {
        let seconds = Duration::from_nanos(at).as_secs_f64();
        lines.push((at, format!("{seconds:9.3}              {event}")));
    }
    for entry in older.iter().chain(&before[recent..]) {
        let is_culprit = std::ptr::eq(*entry, culprit);
        let mark = if is_culprit { " <- cannot be" } else { "" };
        lines.push((entry.begin, format!("{entry}{mark}")));
    }
    lines.sort();
    let mut text = format!(
        "{}: {} was answered {}",
        page.path(),
        culprit.what,
        culprit.answer
    );
    for (_, line) in lines {
        text.push_str("\n      ");
        text.push_str(&line);
    }
    text
}

/// The entries until the culprit, in the order of their beginnings, without reads that saw what the one before saw.
fn leading_to<'p>(page: &'p Page, culprit: &'p Entry) -> Vec<&'p Entry> {
    let mut entries: Vec<&Entry> = page
        .entries
        .iter()
        .filter(|entry| entry.begin <= culprit.end)
        .collect();
    entries.sort_by_key(|entry| entry.begin);
    let mut last = None;
    entries.retain(|entry| {
        let Some(effect @ Effect::Saw(_)) = entry.effect else {
            last = None;
            return entry.effect.is_some();
        };
        let is_news = last.replace(effect) != Some(effect);
        is_news || std::ptr::eq(*entry, culprit)
    });
    entries
}

/// The write that an entry is about.
fn wrote(entry: &Entry) -> Option<u32> {
    match entry.effect? {
        Effect::Saw(Condition::Is(write) | Condition::IsNot(write)) => Some(write),
        Effect::Wrote(_, Content::Bytes(write)) | Effect::Perhaps(_, Content::Bytes(write)) => Some(write),
        _ => None,
    }
}
