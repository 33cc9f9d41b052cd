//! Whether one name behaved like one register: some order of its requests, each at one moment between its beginning and
//! its end, gives every answer that was given (Herlihy and Wing 1990).
//!
//! The search walks through the history in time and keeps every state that the name can be in: what it holds, and
//! which of the requests that are under way have happened (Wing and Gong 1993, just in time after Lowe 2017). A request
//! that nobody knows the outcome of may happen at any time after it began, or never. Some shortcuts, none of which
//! calls an honest history a lie:
//!
//! - A read happens as soon as the name holds what it saw: that takes nothing from any other request.
//! - A write with an unknown outcome happens only where something waits for what it leaves. Those whose bytes nobody ever
//!   saw are all alike, and so are all such removals: they are counted, not kept apart.
//! - An acknowledged write whose bytes somebody saw, and that alone can have written them, happens only where somebody
//!   waits for them: hidden under the next write at once, it would not have been seen.
//! - Of two states that differ in nothing but used chances, the one that used fewer is kept.
//!
//! Knows nothing of HTTP. The work is bounded: a history that needs more is undecided, never taken for right.

use std::collections::{HashMap, HashSet};

/// How many states may be looked at to explain one answer.
const STATES_MAX: usize = 50_000;
/// Writes under way, reads under way, and unknown writes that somebody may still see.
const SLOTS_MAX: u32 = 64;
/// How many writes under way are tried both ways when the search begins anew behind a lie.
const RESUMED_BOTH_WAYS_MAX: usize = 6;

/// What a name holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// Nothing.
    Absent,
    /// The bytes of this write.
    Bytes(u32),
    /// The bytes of some write that nobody ever saw.
    Unseen,
}

/// What a request says about what the name held when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Condition {
    Anything,
    Absent,
    Present,
    Is(u32),
    IsNot(u32),
}

impl Condition {
    fn holds(self, content: Content) -> bool {
        match self {
            Condition::Anything => true,
            Condition::Absent => content == Content::Absent,
            Condition::Present => content != Content::Absent,
            Condition::Is(write) => content == Content::Bytes(write),
            Condition::IsNot(write) => content != Content::Bytes(write),
        }
    }
}

/// What a request did to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The condition held: a read, or a write that was refused because of it.
    Saw(Condition),
    /// Acknowledged: the condition held, and afterwards the name held this.
    Wrote(Condition, Content),
    /// The same, or nothing, from its beginning until the end of time.
    Perhaps(Condition, Content),
}

/// A request that tells something. Times are of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) effect: Effect,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Steps that no order explains. The search goes on behind each, believing it.
    pub(crate) lies: Vec<usize>,
    /// The step at which the bound was reached; what follows was not judged.
    pub(crate) undecided: Option<usize>,
}

/// Judges the history of one name that held `initial` before it.
pub(crate) fn judge(initial: Content, steps: &[Step]) -> Verdict {
    let verdict = walk(Search::new(initial, steps, HashSet::new()), steps);
    if verdict.undecided.is_none() {
        return verdict;
    }
    // Shorter, but blames the wrong step sometimes: a lie can show what was rightly hidden.
    walk(Search::new(initial, steps, shown(initial, steps)), steps)
}

fn walk(mut search: Search<'_>, steps: &[Step]) -> Verdict {
    let mut verdict = Verdict::default();
    for (_, moment, index) in moments(steps) {
        let outcome = match moment {
            Moment::Begin => search.begin(index),
            Moment::End => search.end(index),
        };
        match outcome {
            Ok(()) => {}
            Err(Trouble::Lie) => {
                verdict.lies.push(index);
                search.resume(index);
            }
            Err(Trouble::TooMuch) => {
                verdict.undecided = Some(index);
                break;
            }
        }
    }
    verdict
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    // Requests that touch in one instant count as concurrent, so beginnings come first.
    Begin,
    End,
}

enum Trouble {
    Lie,
    TooMuch,
}

fn moments(steps: &[Step]) -> Vec<(u64, Moment, usize)> {
    let mut moments = Vec::with_capacity(2 * steps.len());
    for (index, step) in steps.iter().enumerate() {
        moments.push((step.begin, Moment::Begin, index));
        if !matches!(step.effect, Effect::Perhaps(..)) {
            moments.push((step.end.max(step.begin), Moment::End, index));
        }
    }
    moments.sort_unstable();
    moments
}

/// One way that things may have gone so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    content: Content,
    /// Acknowledged writes under way that have happened, by slot.
    written: u64,
    /// Reads under way that have happened, by slot.
    seen: u64,
    /// Unknown writes that have happened, by slot.
    used: u64,
    /// How many of the unknown removals have happened.
    removals: u32,
    /// How many of the unknown writes of bytes that nobody saw have happened.
    unseen: u32,
}

impl State {
    /// Whether whatever can follow `other` can follow `self` too.
    fn covers(&self, other: &State) -> bool {
        self.seen & other.seen == other.seen
            && self.used & other.used == self.used
            && self.removals <= other.removals
            && self.unseen <= other.unseen
    }
}

/// States, none of which covers another.
#[derive(Default)]
struct Frontier {
    states: HashMap<(Content, u64), Vec<State>>,
    count: usize,
}

impl Frontier {
    /// Whether the state was news.
    fn insert(&mut self, state: State) -> bool {
        let alike = self.states.entry((state.content, state.written)).or_default();
        if alike.iter().any(|held| held.covers(&state)) {
            return false;
        }
        let before = alike.len();
        alike.retain(|held| !state.covers(held));
        alike.push(state);
        self.count = self.count + alike.len() - before;
        true
    }

    fn iter(&self) -> impl Iterator<Item = &State> {
        self.states.values().flatten()
    }

    fn of(states: impl Iterator<Item = State>) -> Frontier {
        let mut frontier = Frontier::default();
        for state in states {
            frontier.insert(state);
        }
        frontier
    }
}

struct Search<'s> {
    steps: &'s [Step],
    frontier: Frontier,
    /// Steps under way: slot and index.
    writes: Vec<(u32, usize)>,
    reads: Vec<(u32, usize)>,
    /// Unknown writes of bytes that somebody saw.
    chances: Vec<(u32, usize)>,
    /// Writes that somebody saw for sure, and that were sent once.
    shown: HashSet<u32>,
    /// Until when anybody saw the bytes of a write.
    seen_until: HashMap<u32, u64>,
    removals: u32,
    unseen: u32,
    /// Writes whose bytes an unknown removal, which asked for just them, may remove.
    removable: HashSet<u32>,
}

impl<'s> Search<'s> {
    fn new(initial: Content, steps: &'s [Step], shown: HashSet<u32>) -> Search<'s> {
        let mut seen_until: HashMap<u32, u64> = HashMap::new();
        for step in steps {
            let (condition, until) = match step.effect {
                Effect::Saw(condition) | Effect::Wrote(condition, _) => (condition, step.end),
                // What it waits for may come at any time.
                Effect::Perhaps(condition, Content::Bytes(_)) => (condition, u64::MAX),
                Effect::Perhaps(..) => continue,
            };
            if let Condition::Is(write) = condition {
                let last = seen_until.entry(write).or_default();
                *last = until.max(*last);
            }
        }
        let state = State {
            content: initial,
            written: 0,
            seen: 0,
            used: 0,
            removals: 0,
            unseen: 0,
        };
        Search {
            steps,
            frontier: Frontier::of([state].into_iter()),
            writes: Vec::new(),
            reads: Vec::new(),
            chances: Vec::new(),
            shown,
            seen_until,
            removals: 0,
            unseen: 0,
            removable: HashSet::new(),
        }
    }

    fn begin(&mut self, index: usize) -> Result<(), Trouble> {
        match self.steps[index].effect {
            Effect::Saw(condition) => {
                let slot = free_slot(&self.reads)?;
                self.reads.push((slot, index));
                let states = self.frontier.iter().map(|state| State {
                    seen: state.seen | u64::from(condition.holds(state.content)) << slot,
                    ..*state
                });
                self.frontier = Frontier::of(states);
            }
            Effect::Wrote(..) => {
                let slot = free_slot(&self.writes)?;
                self.writes.push((slot, index));
            }
            Effect::Perhaps(Condition::Is(write), Content::Absent) => {
                self.removable.insert(write);
            }
            Effect::Perhaps(_, Content::Absent) => self.removals += 1,
            Effect::Perhaps(_, Content::Bytes(write)) if self.seen_until.contains_key(&write) => {
                let slot = free_slot(&self.chances)?;
                self.chances.push((slot, index));
            }
            Effect::Perhaps(..) => self.unseen += 1,
        }
        Ok(())
    }

    /// Keeps the states in which the step has happened, or can happen now.
    fn end(&mut self, index: usize) -> Result<(), Trouble> {
        let is_read = matches!(self.steps[index].effect, Effect::Saw(_));
        let list = if is_read { &self.reads } else { &self.writes };
        let found = list.iter().find(|(_, held)| *held == index);
        let &(slot, _) = found.expect("what ends has begun");
        let has_happened =
            |state: &State| (if is_read { state.seen } else { state.written }) >> slot & 1 == 1;
        let forget = |state: State| match is_read {
            true => State {
                seen: state.seen & !(1 << slot),
                ..state
            },
            false => State {
                written: state.written & !(1 << slot),
                ..state
            },
        };
        let mut explained = Frontier::default();
        let mut looked_at = Frontier::default();
        let mut ahead = Vec::new();
        for state in self.frontier.iter() {
            if has_happened(state) {
                explained.insert(forget(*state));
            } else if looked_at.insert(*state) {
                ahead.push(*state);
            }
        }
        while let Some(state) = ahead.pop() {
            for next in self.successors(&state, index) {
                if has_happened(&next) {
                    explained.insert(forget(next));
                } else if looked_at.insert(next) {
                    ahead.push(next);
                }
            }
            if looked_at.count + explained.count > STATES_MAX {
                return Err(Trouble::TooMuch);
            }
        }
        if explained.count == 0 {
            return Err(Trouble::Lie);
        }
        self.frontier = explained;
        self.reads.retain(|(_, held)| *held != index);
        self.writes.retain(|(_, held)| *held != index);
        self.retire_chances(self.steps[index].end);
        Ok(())
    }

    /// Where one more write leads, on the way to the end of step `ending`.
    fn successors(&self, state: &State, ending: usize) -> Vec<State> {
        let mut next = Vec::new();
        for &(slot, index) in &self.writes {
            if state.written >> slot & 1 == 0
                && let Effect::Wrote(condition, content) = self.steps[index].effect
                && condition.holds(state.content)
                && (index == ending || !self.is_shown(content) || self.is_awaited(state, content))
            {
                let written = state.written | 1 << slot;
                next.push(self.arrive(State {
                    content,
                    written,
                    ..*state
                }));
            }
        }
        for &(slot, index) in &self.chances {
            if state.used >> slot & 1 == 0
                && let Effect::Perhaps(condition, content) = self.steps[index].effect
                && condition.holds(state.content)
                && self.is_awaited(state, content)
            {
                let used = state.used | 1 << slot;
                next.push(self.arrive(State {
                    content,
                    used,
                    ..*state
                }));
            }
        }
        next.extend(self.unknown_removal(state));
        let content = Content::Unseen;
        if state.unseen < self.unseen && state.content != content && self.is_awaited(state, content) {
            let unseen = state.unseen + 1;
            next.push(self.arrive(State {
                content,
                unseen,
                ..*state
            }));
        }
        next
    }

    fn is_shown(&self, content: Content) -> bool {
        matches!(content, Content::Bytes(write) if self.shown.contains(&write))
    }

    fn unknown_removal(&self, state: &State) -> Option<State> {
        let content = Content::Absent;
        if state.content == content || !self.is_awaited(state, content) {
            return None;
        }
        let is_free = matches!(state.content, Content::Bytes(write) if self.removable.contains(&write));
        if !is_free && state.removals == self.removals {
            return None;
        }
        let removals = state.removals + u32::from(!is_free);
        Some(self.arrive(State {
            content,
            removals,
            ..*state
        }))
    }

    /// The state, in which every read that waited for its content happens.
    fn arrive(&self, mut state: State) -> State {
        for &(slot, index) in &self.reads {
            if let Effect::Saw(condition) = self.steps[index].effect
                && condition.holds(state.content)
            {
                state.seen |= 1 << slot;
            }
        }
        state
    }

    /// Whether a step that is under way, and has not happened, can use that the name holds `content`.
    fn is_awaited(&self, state: &State, content: Content) -> bool {
        let reads = self.reads.iter().filter(|(slot, _)| state.seen >> slot & 1 == 0);
        let writes = self
            .writes
            .iter()
            .filter(|(slot, _)| state.written >> slot & 1 == 0);
        let chances = self
            .chances
            .iter()
            .filter(|(slot, _)| state.used >> slot & 1 == 0);
        reads.chain(writes).chain(chances).any(|&(_, index)| {
            let (Effect::Saw(condition) | Effect::Wrote(condition, _) | Effect::Perhaps(condition, _)) =
                self.steps[index].effect;
            condition != Condition::Anything && condition.holds(content)
        })
    }

    /// Unknown writes that happened in every state are known, and those whose bytes nobody sees any more are like those
    /// that nobody ever saw.
    fn retire_chances(&mut self, now: u64) {
        let all_used = self.frontier.iter().fold(u64::MAX, |all, state| all & state.used);
        let is_over = |index: usize| match self.steps[index].effect {
            Effect::Perhaps(_, Content::Bytes(write)) => self.seen_until[&write] < now,
            _ => false,
        };
        let mut retired = 0;
        self.chances.retain(|&(slot, index)| {
            let is_used = all_used >> slot & 1 == 1;
            if is_used || is_over(index) {
                retired |= 1 << slot;
                self.unseen += u32::from(!is_used);
                return false;
            }
            true
        });
        if retired != 0 {
            let states = self.frontier.iter().map(|state| State {
                used: state.used & !retired,
                ..*state
            });
            self.frontier = Frontier::of(states);
        }
    }

    /// Goes on behind a lie as if it were true, in favour of what is under way.
    fn resume(&mut self, index: usize) {
        self.reads.retain(|(_, held)| *held != index);
        self.writes.retain(|(_, held)| *held != index);
        let contents: HashSet<Content> = match self.steps[index].effect {
            Effect::Saw(Condition::Is(write)) => [Content::Bytes(write)].into(),
            Effect::Saw(Condition::Absent) => [Content::Absent].into(),
            Effect::Wrote(_, content) => [content].into(),
            Effect::Saw(_) | Effect::Perhaps(..) => self.frontier.iter().map(|state| state.content).collect(),
        };
        let used = self.frontier.iter().fold(u64::MAX, |all, state| all & state.used);
        let removals = self.frontier.iter().map(|state| state.removals).min();
        let unseen = self.frontier.iter().map(|state| state.unseen).min();
        let all_written = self.writes.iter().fold(0, |all, (slot, _)| all | 1 << slot);
        let mut written: Vec<u64> = vec![all_written];
        for (slot, _) in self.writes.iter().take(RESUMED_BOTH_WAYS_MAX) {
            let without: Vec<u64> = written.iter().map(|written| written & !(1 << slot)).collect();
            written.extend(without);
        }
        let seen = self.reads.iter().fold(0, |all, (slot, _)| all | 1 << slot);
        let base = State {
            content: Content::Absent,
            written: 0,
            seen,
            used,
            removals: removals.unwrap_or(0),
            unseen: unseen.unwrap_or(0),
        };
        let states = contents.iter().flat_map(|&content| {
            let ways = written.iter();
            ways.map(move |&written| State {
                content,
                written,
                ..base
            })
        });
        self.frontier = Frontier::of(states);
    }
}

fn shown(initial: Content, steps: &[Step]) -> HashSet<u32> {
    let mut shown = HashSet::new();
    let mut times_written: HashMap<Content, u32> = HashMap::from([(initial, 1)]);
    for step in steps {
        if let Effect::Saw(Condition::Is(write)) | Effect::Wrote(Condition::Is(write), _) = step.effect {
            shown.insert(write);
        }
        if let Effect::Wrote(_, content) | Effect::Perhaps(_, content) = step.effect {
            *times_written.entry(content).or_default() += 1;
        }
    }
    shown.retain(|write| times_written.get(&Content::Bytes(*write)) == Some(&1));
    shown
}

fn free_slot(taken: &[(u32, usize)]) -> Result<u32, Trouble> {
    (0..SLOTS_MAX)
        .find(|slot| taken.iter().all(|(held, _)| held != slot))
        .ok_or(Trouble::TooMuch)
}
