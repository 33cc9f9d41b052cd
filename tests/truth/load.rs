//! Clients that put, read and remove what they like, all on the same few names, by plain HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pixseal::members::Members;

use crate::availability::Availability;
use crate::judge::{Condition, Effect};
use crate::ledger::{Entry, Ledger, in_words};
use crate::request::{self, Outcome, Request};
use crate::support::random::Random;
use crate::weather::Weather;

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long an impatient one does, of which there are some while a node is away: all would hang on it otherwise.
const IMPATIENCE: Duration = Duration::from_secs(1);
const PAGE_NAMES_MAX: u64 = 10;

/// What everybody in a run shares.
pub(crate) struct World {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) members: Members,
    pub(crate) ledger: Ledger,
    pub(crate) weather: Weather,
    pub(crate) availability: Availability,
    /// Whether `If-Match` and `If-None-Match` are sent.
    pub(crate) conditions: bool,
    /// How many of the ledger's names the load is on; the others are the probe's.
    pub(crate) load_names: usize,
}

impl World {
    /// Any node.
    pub(crate) fn any_node(&self, random: &mut Random) -> u32 {
        u32::try_from(random.within(1..self.addresses.len() as u64 + 1)).unwrap()
    }

    /// Any node, but less often one that is away: most would only hear that nobody listens.
    fn some_node(&self, random: &mut Random) -> u32 {
        let node = self.any_node(random);
        if self.weather.is_away(node) && random.chance(70) {
            return self.any_node(random);
        }
        node
    }

    fn patience(&self, random: &mut Random) -> Duration {
        if self.weather.away_count() > 0 && random.chance(50) {
            IMPATIENCE
        } else {
            PATIENCE
        }
    }

    /// Reads `name` through node `asked` and enters what was said.
    pub(crate) fn get(&self, name: usize, asked: u32, patience: Duration) -> (Outcome, Option<Effect>) {
        self.read(name, asked, ("GET", None), patience)
    }

    fn read(
        &self,
        name: usize,
        asked: u32,
        (method, unless): (&'static str, Option<(String, u32)>),
        patience: Duration,
    ) -> (Outcome, Option<Effect>) {
        let path = self.ledger.page(name).path();
        let fields = unless
            .as_ref()
            .map_or(String::new(), |(tag, _)| format!("If-None-Match: {tag}\r\n"));
        let begin = self.ledger.now();
        let request = Request {
            method,
            path: &path,
            fields,
            body: None,
            offers: false,
            patience,
        };
        let outcome = request::send(&self.addresses, asked, &request);
        let write = unless.map(|(_, write)| write);
        let effect = self.ledger.page(name).read(&outcome, method == "HEAD", write);
        self.enter(name, begin, method, (method.to_owned(), asked), &outcome, effect);
        (outcome, effect)
    }

    /// Puts the next picture of `name`; `condition` is the field and what it demands.
    pub(crate) fn put(
        &self,
        name: usize,
        asked: u32,
        (fields, when): (String, Condition),
        offers: bool,
        patience: Duration,
    ) -> (Outcome, u32) {
        let (path, (write, picture)) = {
            let mut page = self.ledger.page(name);
            (page.path(), page.next_write())
        };
        let begin = self.ledger.now();
        let request = Request {
            method: "PUT",
            path: &path,
            fields,
            body: Some(&picture),
            offers,
            patience,
        };
        let outcome = request::send(&self.addresses, asked, &request);
        let effect = self.ledger.page(name).written(&outcome, write, when);
        let kind = if when == Condition::Anything {
            "PUT"
        } else {
            "PUT with a condition"
        };
        self.enter(
            name,
            begin,
            kind,
            (format!("PUT {write}{}", in_question(when)), asked),
            &outcome,
            effect,
        );
        (outcome, write)
    }

    fn delete(&self, name: usize, asked: u32, (fields, when): (String, Condition), patience: Duration) {
        let path = self.ledger.page(name).path();
        let begin = self.ledger.now();
        let request = Request {
            method: "DELETE",
            path: &path,
            fields,
            body: None,
            offers: false,
            patience,
        };
        let outcome = request::send(&self.addresses, asked, &request);
        let effect = self.ledger.page(name).removed(&outcome, when);
        let kind = if when == Condition::Anything {
            "DELETE"
        } else {
            "DELETE with a condition"
        };
        self.enter(
            name,
            begin,
            kind,
            (format!("DELETE{}", in_question(when)), asked),
            &outcome,
            effect,
        );
    }

    /// Lists `user` through node `asked` and enters what the page says about each name.
    pub(crate) fn list(
        &self,
        user: &str,
        asked: u32,
        (after, limit): (&str, Option<u64>),
        patience: Duration,
    ) -> Outcome {
        let mut path = format!("/images/{user}/?after={after}");
        if let Some(limit) = limit {
            path.push_str(&format!("&limit={limit}"));
        }
        let begin = self.ledger.now();
        let fields = String::new();
        let request = Request {
            method: "GET",
            path: &path,
            fields,
            body: None,
            offers: false,
            patience,
        };
        let outcome = request::send(&self.addresses, asked, &request);
        self.ledger
            .enter_list((user, after, limit), asked, begin, &outcome);
        self.ledger.count("LIST", &in_words(&outcome));
        outcome
    }

    fn enter(
        &self,
        name: usize,
        begin: u64,
        kind: &'static str,
        (what, asked): (String, u32),
        outcome: &Outcome,
        effect: Option<Effect>,
    ) {
        let end = self.ledger.now();
        self.ledger.count(kind, &in_words(outcome));
        let mut page = self.ledger.page(name);
        let described = format!("{what} of {}", page.path());
        self.availability
            .judge(&self.weather, begin, &described, asked, outcome);
        let mut answer = in_words(outcome);
        if let Outcome::Answered { answer: given, .. } = outcome {
            answer.push_str(&format!(" from node {}", given.node));
        }
        if let Some(Effect::Saw(Condition::Is(write))) = effect {
            answer.push_str(&format!(", write {write}"));
        }
        page.entries.push(Entry {
            begin,
            end,
            what,
            asked: Some(asked),
            answer,
            effect,
        });
    }
}

fn in_question(when: Condition) -> String {
    match when {
        Condition::Anything => String::new(),
        Condition::Absent => " if there is none".to_owned(),
        Condition::Present => " if there is one".to_owned(),
        Condition::Is(write) => format!(" if it is {write}"),
        Condition::IsNot(write) => format!(" if it is not {write}"),
    }
}

/// One client, until `over`.
pub(crate) fn client(world: &World, mut random: Random, over: &AtomicBool) {
    let users = world.ledger.users();
    while !over.load(Ordering::Relaxed) {
        act(world, &mut random, &users);
        thread::sleep(random.millis(0..4));
    }
}

fn act(world: &World, random: &mut Random, users: &[String]) {
    let name = usize::try_from(random.within(0..world.load_names as u64)).unwrap();
    let asked = world.some_node(random);
    let patience = world.patience(random);
    let free = (String::new(), Condition::Anything);
    let offers = random.chance(50);
    match random.within(0..100) {
        0..=29 => drop(world.get(name, asked, patience)),
        30..=33 => {
            let unless = tag(world, name, random);
            world.read(name, asked, ("GET", unless), patience);
        }
        34..=43 => drop(world.read(name, asked, ("HEAD", None), patience)),
        44..=50 => {
            let user = random.pick(users).unwrap();
            let limit = random.chance(40).then(|| random.within(1..PAGE_NAMES_MAX));
            let after = if random.chance(20) {
                format!("name_{}.png", random.within(0..9))
            } else {
                String::new()
            };
            world.list(user, asked, (&after, limit), patience);
        }
        51..=74 => drop(world.put(name, asked, free, offers, patience)),
        75..=80 if world.conditions => {
            let condition = ("If-None-Match: *\r\n".to_owned(), Condition::Absent);
            world.put(name, asked, condition, offers, patience);
        }
        81..=86 if world.conditions => {
            if let Some(condition) = only_if(tag(world, name, random)) {
                world.put(name, asked, condition, offers, patience);
            }
        }
        87..=90 if world.conditions => {
            if let Some(condition) = only_if(tag(world, name, random)) {
                world.delete(name, asked, condition, patience);
            }
        }
        91..=99 => world.delete(name, asked, free, patience),
        _ => drop(world.get(name, asked, patience)),
    }
}

fn tag(world: &World, name: usize, random: &mut Random) -> Option<(String, u32)> {
    if !world.conditions {
        return None;
    }
    let back = if random.chance(70) {
        0
    } else {
        usize::try_from(random.within(1..4)).unwrap()
    };
    world.ledger.page(name).tag(back)
}

fn only_if(tag: Option<(String, u32)>) -> Option<(String, Condition)> {
    tag.map(|(tag, write)| (format!("If-Match: {tag}\r\n"), Condition::Is(write)))
}
