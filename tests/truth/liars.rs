//! Histories made by hand: lies that the judge has to see, and honest ones that look like lies.

use std::time::Instant;

use crate::judge::Condition::{Absent, Anything, Is, IsNot, Present};
use crate::judge::Content::{self, Bytes};
use crate::judge::Effect::{Perhaps, Saw, Wrote};
use crate::judge::{Effect, Step, judge};
use crate::support::random::Random;

const GONE: Content = Content::Absent;

fn put(write: u32) -> Effect {
    Wrote(Anything, Bytes(write))
}

fn maybe_put(write: u32) -> Effect {
    Perhaps(Anything, Bytes(write))
}

const DELETED: Effect = Wrote(Anything, GONE);
const MAYBE_DELETED: Effect = Perhaps(Anything, GONE);

fn got(write: u32) -> Effect {
    Saw(Is(write))
}

const NOT_FOUND: Effect = Saw(Absent);

/// Steps that begin and end at these times.
fn history(steps: &[(u64, u64, Effect)]) -> Vec<Step> {
    let step = |&(begin, end, effect)| Step { begin, end, effect };
    steps.iter().map(step).collect()
}

/// Steps one after the other.
fn sequence(effects: &[Effect]) -> Vec<Step> {
    let step = |(i, effect): (u64, &Effect)| (10 * i, 10 * i + 5, *effect);
    history(&(0..).zip(effects).map(step).collect::<Vec<_>>())
}

fn lies(steps: &[Step]) -> Vec<usize> {
    let verdict = judge(GONE, steps);
    assert_eq!(verdict.undecided, None);
    verdict.lies
}

#[test]
fn lies_are_seen_where_they_are_told() {
    for (what, effects, at) in [
        ("stale read", &[put(1), put(2), got(1)][..], 2),
        (
            "stale read, after the new one was read",
            &[put(1), maybe_put(2), got(2), got(1)],
            3,
        ),
        ("lost delete", &[put(1), DELETED, got(1)], 2),
        (
            "an image that rises again",
            &[put(1), got(1), DELETED, NOT_FOUND, got(1)],
            4,
        ),
        ("a removal nobody asked for", &[put(1), NOT_FOUND], 1),
        ("bytes from nowhere", &[got(7)], 0),
        (
            "lost update",
            &[put(1), Wrote(Is(1), Bytes(2)), Wrote(Is(1), Bytes(3))],
            2,
        ),
        ("new although it exists", &[put(1), Wrote(Absent, Bytes(2))], 1),
        (
            "removed although it is another",
            &[put(1), put(2), Wrote(Is(1), GONE)],
            2,
        ),
        (
            "refused as taken, but nothing was there",
            &[put(1), DELETED, Saw(Present)],
            2,
        ),
        ("refused as changed, but nothing had", &[put(1), Saw(IsNot(1))], 1),
        (
            "a lost image, and one unknown removal that came too late to explain it",
            &[put(1), NOT_FOUND, MAYBE_DELETED],
            1,
        ),
        (
            "one unknown removal explains one loss",
            &[MAYBE_DELETED, put(1), NOT_FOUND, put(2), NOT_FOUND],
            4,
        ),
        (
            "an unknown write is done once",
            &[maybe_put(1), got(1), put(2), got(2), got(1)],
            4,
        ),
        (
            "an unknown removal of one write removes no other",
            &[put(1), Perhaps(Is(1), GONE), put(2), NOT_FOUND],
            3,
        ),
    ] {
        assert_eq!(lies(&sequence(effects)), [at], "{what}");
    }
}

#[test]
fn a_read_from_the_future_is_a_lie() {
    let steps = history(&[(0, 10, got(1)), (11, 20, put(1)), (21, 30, got(1))]);
    assert_eq!(lies(&steps), [0]);
}

#[test]
fn a_stale_page_is_a_lie_also_when_the_page_took_long() {
    let steps = history(&[
        (0, 10, put(1)),
        (11, 20, put(2)),
        (15, 90, got(1)),
        (21, 30, got(2)),
        (25, 90, got(1)),
    ]);
    assert_eq!(lies(&steps), [4]);
}

#[test]
fn two_readers_that_saw_two_orders_are_a_lie() {
    let writes = [(0, 100, put(1)), (0, 100, put(2))];
    let one = [(10, 20, got(1)), (30, 40, got(2))];
    let other = [(10, 20, got(2)), (30, 40, got(1))];
    assert_eq!(lies(&history(&[writes, one].concat())), [0_usize; 0]);
    assert_eq!(lies(&history(&[writes, other].concat())), [0_usize; 0]);
    assert_eq!(
        lies(&history(&[&writes[..], &one, &[(50, 60, got(1))]].concat())),
        [4]
    );
}

#[test]
fn the_search_goes_on_behind_a_lie() {
    let steps = sequence(&[put(1), put(2), got(1), put(3), got(3), NOT_FOUND, put(4), got(4)]);
    assert_eq!(lies(&steps), [2, 5]);
}

#[test]
fn what_is_only_strange_is_believed() {
    for (what, effects) in [
        (
            "an unknown write appears late",
            &[put(1), maybe_put(2), got(1), got(1), got(2), got(2)][..],
        ),
        (
            "an unknown write never appears",
            &[put(1), maybe_put(2), got(1), put(3), got(3)],
        ),
        (
            "an unknown write appears over a later one",
            &[maybe_put(1), put(2), got(2), got(1)],
        ),
        (
            "an unknown removal comes late",
            &[put(1), MAYBE_DELETED, got(1), put(2), got(2), NOT_FOUND],
        ),
        (
            "two unknown removals explain two losses",
            &[MAYBE_DELETED, MAYBE_DELETED, put(1), NOT_FOUND, put(2), NOT_FOUND],
        ),
        (
            "an unknown write that nobody saw explains a refusal",
            &[maybe_put(1), Saw(Present), DELETED, NOT_FOUND],
        ),
        (
            "the same, of a write that was expected unchanged",
            &[put(1), maybe_put(2), Saw(IsNot(1)), put(3), got(3)],
        ),
        (
            "an unknown write, seen before, explains a refusal",
            &[put(1), maybe_put(2), Saw(IsNot(1)), got(2)],
        ),
        (
            "an unknown conditional write",
            &[put(1), Perhaps(Is(1), Bytes(2)), got(1), got(2)],
        ),
        ("removed twice", &[put(1), DELETED, DELETED, NOT_FOUND]),
        (
            "the same bytes sent twice",
            &[maybe_put(1), put(1), got(1), put(2), got(2), got(1)],
        ),
        (
            "a new one where an unknown removal was",
            &[put(1), MAYBE_DELETED, Wrote(Absent, Bytes(2)), got(2)],
        ),
    ] {
        assert_eq!(lies(&sequence(effects)), [0_usize; 0], "{what}");
    }
}

#[test]
fn concurrent_writes_happen_in_either_order() {
    for (first, second) in [(1, 2), (2, 1)] {
        let writes = [(0, 50, put(1)), (10, 60, put(2))];
        let reads = [(20, 30, got(first)), (70, 80, got(second))];
        assert_eq!(lies(&history(&[writes, reads].concat())), [0_usize; 0]);
    }
    // Whoever loses a race of If-Match is told so.
    let won = Wrote(Is(1), Bytes(2));
    let steps = history(&[
        (0, 5, put(1)),
        (10, 50, won),
        (10, 60, Saw(IsNot(1))),
        (70, 80, got(2)),
    ]);
    assert_eq!(lies(&steps), [0_usize; 0]);
    let steps = history(&[(0, 5, put(1)), (10, 50, won), (10, 60, Wrote(Is(1), Bytes(3)))]);
    assert_eq!(lies(&steps), [2], "both cannot win");
}

#[test]
fn what_the_name_held_before_counts() {
    assert_eq!(
        judge(Bytes(9), &sequence(&[got(9), DELETED, NOT_FOUND])).lies,
        [0_usize; 0]
    );
    assert_eq!(judge(Bytes(9), &sequence(&[NOT_FOUND])).lies, [0]);
}

#[test]
fn a_search_that_grows_too_large_is_undecided_and_not_right() {
    let mut steps: Vec<(u64, u64, Effect)> = (0..40).map(|i| (u64::from(i), 1000, put(i))).collect();
    steps.push((100, 200, got(99)));
    let verdict = judge(GONE, &history(&steps));
    assert_eq!((verdict.lies, verdict.undecided), (vec![], Some(40)));
}

/// A register that is honest: every request happens at one moment between its beginning and its end.
fn honest(seed: u64, steps_wanted: u32) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut happenings: Vec<(u64, u64, u64, u32)> = (1..=steps_wanted)
        .map(|write| {
            let begin = random.within(0..u64::from(steps_wanted) * 10);
            let moment = begin + random.within(1..50);
            (moment, begin, moment + random.within(1..50), write)
        })
        .collect();
    happenings.sort_unstable();
    let mut content = GONE;
    let mut steps = Vec::new();
    for (_, begin, end, write) in happenings {
        let happened = random.chance(50);
        let (condition, next) = match random.within(0..14) {
            0..=2 => (Anything, Some(Bytes(write))),
            3 => (Anything, Some(GONE)),
            4 => (Absent, Some(Bytes(write))),
            5 => match content {
                Bytes(held) => (Is(held), Some(Bytes(write))),
                _ => (Absent, Some(Bytes(write))),
            },
            _ => (Anything, None),
        };
        let holds = condition == Anything || (condition == Absent) == (content == GONE);
        let effect = match (next, holds) {
            (Some(next), _) if random.chance(15) => {
                if happened && holds {
                    content = next;
                }
                Perhaps(condition, next)
            }
            (Some(next), true) => {
                content = next;
                Wrote(condition, next)
            }
            (Some(_), false) => Saw(Present),
            (None, _) => match content {
                Bytes(held) => Saw(Is(held)),
                _ => Saw(Absent),
            },
        };
        steps.push(Step { begin, end, effect });
    }
    steps
}

#[test]
fn an_honest_register_is_never_called_a_liar() {
    let start = Instant::now();
    for seed in 0..300 {
        let verdict = judge(GONE, &honest(seed, 300));
        assert_eq!((verdict.lies, verdict.undecided), (vec![], None), "seed {seed}");
    }
    eprintln!("300 histories of 300 steps: {:?}", start.elapsed());
}

#[test]
fn a_stale_read_at_the_end_of_any_history_is_seen() {
    let (mut told, mut seen) = (0, 0);
    for seed in 0..300 {
        let mut steps = honest(seed, 120);
        let last_end = steps.iter().map(|step| step.end).max().unwrap();
        // Quiet, then a read of what was overwritten long ago.
        let old = steps.iter().find_map(|step| match step.effect {
            Wrote(_, Bytes(write)) => Some(write),
            _ => None,
        });
        let Some(old) = old else { continue };
        steps.push(Step {
            begin: last_end + 1,
            end: last_end + 2,
            effect: put(1_000_000),
        });
        steps.push(Step {
            begin: last_end + 3,
            end: last_end + 4,
            effect: got(old),
        });
        told += 1;
        seen += u32::from(judge(GONE, &steps).lies == [steps.len() - 1]);
    }
    assert!(told > 200 && seen == told, "{seen} of {told}");
}
