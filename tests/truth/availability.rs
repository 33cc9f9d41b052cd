//! What was refused although it need not have been. Depends on time, so a slow machine can break it: counted in every run,
//! judged in long ones.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::ledger::in_words;
use crate::request::Outcome;
use crate::weather::Weather;

/// A node that has just come back may refuse for so long.
const GRACE: Duration = Duration::from_secs(5);
/// An image on a running node may be refused for so long after any event.
const REFUSED_MAX: Duration = Duration::from_secs(2);

/// How far back a complaint tells what happened.
const EVENTS_SHOWN: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(crate) struct Availability {
    /// One node at a time is away: nothing is lost for good, and what is there can be read. With two away, nobody may be
    /// left who knows which copy is the newest.
    one_at_a_time: bool,
    complaints: Mutex<Vec<String>>,
    /// Since when an image on a running node is refused, by name.
    refused_since: Mutex<HashMap<usize, u64>>,
    longest: Mutex<Duration>,
    refusals: Mutex<u64>,
}

impl Availability {
    /// `one_at_a_time`: no more than one node is ever away.
    pub(crate) fn new(one_at_a_time: bool) -> Availability {
        Availability {
            one_at_a_time,
            ..Availability::default()
        }
    }

    /// Looks at a request that began at `begin`.
    pub(crate) fn judge(&self, weather: &Weather, begin: u64, what: &str, asked: u32, outcome: &Outcome) {
        let is_refusal = match outcome {
            Outcome::Answered { answer, .. } => answer.status == 503,
            Outcome::NotSent(_) | Outcome::Unknown(_) => true,
        };
        if !is_refusal {
            return;
        }
        *self.refusals.lock().unwrap() += 1;
        if weather.was_fair(begin, GRACE) {
            let text = match outcome {
                Outcome::Answered { answer, .. } => String::from_utf8_lossy(&answer.body).into_owned(),
                _ => String::new(),
            };
            self.complain(format!(
                "{:.3} {what} to node {asked}: {} although nobody was away for {} s: {}",
                Duration::from_nanos(begin).as_secs_f64(),
                in_words(outcome),
                GRACE.as_secs(),
                text.trim_end()
            ));
        }
    }

    /// An upload that our client gave up.
    pub(crate) fn upload_failed(&self, text: String) {
        if self.one_at_a_time {
            self.complain(text);
        }
    }

    /// A read, begun at `begin`, of an image whose newest copy is on a running node: refused, in these words, or not.
    pub(crate) fn probed(
        &self,
        weather: &Weather,
        name: usize,
        (begin, end): (u64, u64),
        refused: Option<&str>,
    ) {
        let mut refused_since = self.refused_since.lock().unwrap();
        let Some(refused) = refused else {
            refused_since.remove(&name);
            return;
        };
        let since = (*refused_since.entry(name).or_insert(begin)).max(weather.last_event());
        drop(refused_since);
        let span = Duration::from_nanos(begin.saturating_sub(since));
        let mut longest = self.longest.lock().unwrap();
        if span > *longest {
            *longest = span;
            if span > REFUSED_MAX && self.one_at_a_time {
                let seconds = |at: u64| Duration::from_nanos(at).as_secs_f64();
                let mut text = format!(
                    "{:.3}-{:.3} probe {name} is on a running node and was refused for {:.1} s since the last event: {refused}",
                    seconds(begin),
                    seconds(end),
                    span.as_secs_f64()
                );
                let before = end.saturating_sub(u64::try_from(EVENTS_SHOWN.as_nanos()).unwrap());
                for (at, event) in weather.events(before, end) {
                    text.push_str(&format!("\n  {:.3} {event}", seconds(at)));
                }
                self.complain(text);
            }
        }
    }

    /// The name is not judged at the moment.
    pub(crate) fn excused(&self, name: usize) {
        self.refused_since.lock().unwrap().remove(&name);
    }

    fn complain(&self, text: String) {
        self.complaints.lock().unwrap().push(text);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} requests refused or unanswered, {} of them without need; an image on a running node for {:.2} s at most",
            self.refusals.lock().unwrap(),
            self.complaints.lock().unwrap().len(),
            self.longest.lock().unwrap().as_secs_f64()
        )
    }
}
