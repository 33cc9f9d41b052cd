//! Everything that was asked about each name, by whom and with what answer, and what the answers mean.
//!
//! What counts as what: 2xx acknowledges. 412 says that the condition did not hold. 404 says that the name holds
//! nothing. A 503 to DELETE says that nothing was removed; any other 5xx to a write leaves it open, and so does a
//! connection that ends or stays silent after the whole request was sent. A read that gets no 2xx, 304 or 404 tells
//! nothing. An entry of a list counts also where nodes are missing; the absence of one only where none is.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::judge::{Condition, Content, Effect, Step};
use crate::request::{Answer, Outcome};
use crate::specimen;

/// How many of the newest entity tags of a name are kept for conditions.
const TAGS_KEPT: usize = 4;

/// One request, as far as it concerns one name.
pub(crate) struct Entry {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// Method and condition, with the write or the tag that it is about.
    pub(crate) what: String,
    /// Who was asked first, if the client did not choose by itself.
    pub(crate) asked: Option<u32>,
    pub(crate) answer: String,
    pub(crate) effect: Option<Effect>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
        let Entry { what, answer, .. } = self;
        write!(
            f,
            "{:9.3} – {:9.3}  {what}",
            seconds(self.begin),
            seconds(self.end)
        )?;
        match self.asked {
            None => write!(f, ": {answer}"),
            Some(asked) => write!(f, " to node {asked}: {answer}"),
        }
    }
}

/// What is known of one name.
pub(crate) struct Page {
    pub(crate) user: String,
    pub(crate) name: String,
    /// What it held when the current history began.
    pub(crate) initial: Content,
    pub(crate) entries: Vec<Entry>,
    /// Answers that are wrong by themselves.
    pub(crate) nonsense: Vec<String>,
    writes: u32,
    /// Of writes that can have happened once only, the newest last.
    tags: Vec<(String, u32)>,
    tag_owners: HashMap<String, u32>,
    /// Writes that were sent more than once.
    repeated: Vec<u32>,
}

impl Page {
    pub(crate) fn path(&self) -> String {
        format!("/images/{}/{}", self.user, self.name)
    }

    /// Begins a write: its number and its picture.
    pub(crate) fn next_write(&mut self) -> (u32, Vec<u8>) {
        self.writes += 1;
        (self.writes, specimen::paint(&self.name, self.writes))
    }

    /// An entity tag for a condition: mostly the newest, `back` of those before it otherwise.
    pub(crate) fn tag(&self, back: usize) -> Option<(String, u32)> {
        self.tags.iter().rev().nth(back).or(self.tags.last()).cloned()
    }

    /// A write that may have happened several times: its tag proves nothing.
    pub(crate) fn is_repeated(&mut self, write: u32) {
        self.repeated.push(write);
        self.tags.retain(|(_, owner)| *owner != write);
    }

    fn learn(&mut self, tag: Option<&str>, write: u32) {
        let Some(tag) = tag else { return };
        match self.tag_owners.insert(tag.to_owned(), write) {
            Some(owner) if owner != write => {
                self.nonsense.push(format!(
                    "the tag {tag} belongs to write {owner} and to write {write}"
                ));
            }
            Some(_) => {}
            None if self.repeated.contains(&write) => {}
            None => {
                self.tags.push((tag.to_owned(), write));
                if self.tags.len() > TAGS_KEPT {
                    self.tags.remove(0);
                }
            }
        }
    }

    /// Which write has `length` bytes.
    fn write_of(&self, length: Option<u64>) -> Option<u32> {
        specimen::write_of(length?).filter(|write| (1..=self.writes).contains(write))
    }

    /// What an answer to GET or HEAD shows.
    fn shown(&mut self, answer: &Answer, is_head: bool) -> Option<Effect> {
        let length = match is_head {
            true => answer
                .field("content-length")
                .and_then(|length| length.parse().ok()),
            false => Some(answer.body.len() as u64),
        };
        let write = self.write_of(length);
        let is_whole = |write: &u32| is_head || answer.body == specimen::paint(&self.name, *write);
        let Some(write) = write.filter(is_whole) else {
            self.nonsense.push(format!(
                "node {} sent {length:?} bytes that nobody wrote",
                answer.node
            ));
            return None;
        };
        self.learn(answer.field("etag"), write);
        Some(Effect::Saw(Condition::Is(write)))
    }

    /// What the outcome of a read says.
    pub(crate) fn read(&mut self, outcome: &Outcome, is_head: bool, unless: Option<u32>) -> Option<Effect> {
        let Outcome::Answered { answer, .. } = outcome else {
            return None;
        };
        match (answer.status, unless) {
            (200, _) => self.shown(answer, is_head),
            (304, Some(write)) => Some(Effect::Saw(Condition::Is(write))),
            (404, _) => Some(Effect::Saw(Condition::Absent)),
            (501..=599, _) => None,
            (status, _) => {
                self.nonsense
                    .push(format!("node {} answered a read with {status}", answer.node));
                None
            }
        }
    }

    /// What the outcome of an upload says.
    pub(crate) fn written(&mut self, outcome: &Outcome, write: u32, when: Condition) -> Option<Effect> {
        let content = Content::Bytes(write);
        match outcome {
            Outcome::NotSent(_) => None,
            Outcome::Unknown(_) => Some(Effect::Perhaps(when, content)),
            Outcome::Answered { answer, complete } => match answer.status {
                200 | 201 => {
                    self.learn(answer.field("etag"), write);
                    Some(Effect::Wrote(when, content))
                }
                412 => self.refused(answer, when),
                307 | 408 => None,
                503 if !complete => None,
                500..=599 => Some(Effect::Perhaps(when, content)),
                _ => self.refused(answer, when),
            },
        }
    }

    /// What the outcome of a removal says.
    pub(crate) fn removed(&mut self, outcome: &Outcome, when: Condition) -> Option<Effect> {
        match outcome {
            Outcome::NotSent(_) => None,
            Outcome::Unknown(_) => Some(Effect::Perhaps(when, Content::Absent)),
            Outcome::Answered { answer, .. } => match answer.status {
                200 | 202 | 204 => Some(Effect::Wrote(when, Content::Absent)),
                404 => Some(Effect::Saw(Condition::Absent)),
                307 | 503 => None,
                500..=599 => Some(Effect::Perhaps(when, Content::Absent)),
                _ => self.refused(answer, when),
            },
        }
    }

    fn refused(&mut self, answer: &Answer, when: Condition) -> Option<Effect> {
        match (answer.status, when) {
            (412, Condition::Absent) => Some(Effect::Saw(Condition::Present)),
            (412, Condition::Is(write)) => Some(Effect::Saw(Condition::IsNot(write))),
            (status, _) => {
                let text = String::from_utf8_lossy(&answer.body);
                self.nonsense.push(format!(
                    "node {} answered a write with {status}: {text}",
                    answer.node
                ));
                None
            }
        }
    }

    /// Begins a new history; a name of which nobody knows what it holds is given up for a new one.
    pub(crate) fn begin_history(&mut self, content: Option<Content>) {
        self.entries.clear();
        self.nonsense.clear();
        self.initial = content.unwrap_or(Content::Absent);
        if content.is_none() {
            self.name = self.name.replace(".png", "_.png");
            self.tags.clear();
        }
    }

    /// Steps for the judge, and which entry each is.
    pub(crate) fn steps(&self) -> (Vec<Step>, Vec<usize>) {
        let telling = self.entries.iter().enumerate().filter_map(|(at, entry)| {
            let Entry { begin, end, .. } = *entry;
            entry.effect.map(|effect| (Step { begin, end, effect }, at))
        });
        telling.unzip()
    }
}

/// All names, the clock, and the count of what was answered.
pub(crate) struct Ledger {
    start: Instant,
    pages: Vec<Mutex<Page>>,
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Ledger {
    /// `count` names for each of `users`, and then those of one more user.
    pub(crate) fn new(users: &[&str], count: usize, (last, last_count): (&str, usize)) -> Ledger {
        let page = |user: &str, i: usize| Page {
            user: user.to_owned(),
            name: format!("name_{i}.png"),
            initial: Content::Absent,
            entries: Vec::new(),
            nonsense: Vec::new(),
            writes: 0,
            tags: Vec::new(),
            tag_owners: HashMap::new(),
            repeated: Vec::new(),
        };
        let users = users
            .iter()
            .map(|user| (*user, count))
            .chain([(last, last_count)]);
        let pages = users.flat_map(|(user, count)| (0..count).map(move |i| Mutex::new(page(user, i))));
        Ledger {
            start: Instant::now(),
            pages: pages.collect(),
            counts: Mutex::default(),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    pub(crate) fn page(&self, name: usize) -> MutexGuard<'_, Page> {
        self.pages[name].lock().unwrap()
    }

    /// How many names there are.
    pub(crate) fn names(&self) -> usize {
        self.pages.len()
    }

    /// Every user.
    pub(crate) fn users(&self) -> Vec<String> {
        let mut users: Vec<String> = (0..self.names())
            .map(|name| self.page(name).user.clone())
            .collect();
        users.dedup();
        users
    }

    pub(crate) fn count(&self, kind: &'static str, outcome: &str) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry((kind, outcome.to_owned()))
            .or_default() += 1;
    }

    /// A line for each kind of request.
    pub(crate) fn counts(&self) -> String {
        let counts = self.counts.lock().unwrap();
        let mut text = String::new();
        let mut last = "";
        for ((kind, outcome), count) in &*counts {
            if *kind != last {
                let total: u64 = counts
                    .iter()
                    .filter(|((k, _), _)| k == kind)
                    .map(|(_, count)| count)
                    .sum();
                let _ = write!(text, "\n  {kind:<24} {total:>8}:");
                last = kind;
            }
            let _ = write!(text, "  {outcome} × {count}");
        }
        text
    }

    /// Enters what a page of at most `limit` of the images of `user`, after the name `after`, says about each of them.
    pub(crate) fn enter_list(
        &self,
        (user, after, limit): (&str, &str, Option<u64>),
        asked: u32,
        begin: u64,
        outcome: &Outcome,
    ) {
        let end = self.now();
        let Outcome::Answered { answer, .. } = outcome else {
            return;
        };
        if answer.status != 200 {
            return;
        }
        let list = List::parse(&answer.body);
        for name in 0..self.names() {
            let mut page = self.page(name);
            if page.user != user || page.name.as_str() <= after {
                continue;
            }
            let Some(list) = &list else {
                page.nonsense
                    .push(format!("node {asked} answered with a list that is none"));
                return;
            };
            let (answer, effect) = match list.images.get(&page.name) {
                Some(bytes) => match page.write_of(Some(*bytes)) {
                    Some(write) => (format!("write {write}"), Effect::Saw(Condition::Is(write))),
                    None => {
                        page.nonsense
                            .push(format!("a list shows {bytes} bytes that nobody wrote"));
                        continue;
                    }
                },
                None if list.covers(&page.name) => ("none".to_owned(), Effect::Saw(Condition::Absent)),
                None => continue,
            };
            let what = match limit {
                Some(limit) => format!("LIST {limit} after {after:?}"),
                None => format!("LIST after {after:?}"),
            };
            page.entries.push(Entry {
                begin,
                end,
                what,
                asked: Some(asked),
                answer,
                effect: Some(effect),
            });
        }
    }
}

/// A page of a list as a client reads it.
pub(crate) struct List {
    /// Name and bytes.
    pub(crate) images: BTreeMap<String, u64>,
    pub(crate) next: Option<String>,
    pub(crate) is_missing: bool,
}

impl List {
    pub(crate) fn parse(body: &[u8]) -> Option<List> {
        let page: Value = serde_json::from_slice(body).ok()?;
        let mut images = BTreeMap::new();
        for image in page["images"].as_array()? {
            images.insert(image["name"].as_str()?.to_owned(), image["bytes"].as_u64()?);
        }
        let next = page["next"].as_str().map(str::to_owned);
        Some(List {
            images,
            next,
            is_missing: !page["missing"].as_array()?.is_empty(),
        })
    }

    /// Whether the page would show `name` if it existed.
    fn covers(&self, name: &str) -> bool {
        !self.is_missing && self.next.as_deref().is_none_or(|next| name <= next)
    }
}

/// An outcome in a word or two.
pub(crate) fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { answer, .. } => answer.status.to_string(),
        Outcome::NotSent(why) | Outcome::Unknown(why) => (*why).to_owned(),
    }
}
