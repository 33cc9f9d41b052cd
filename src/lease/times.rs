//! When a write can have been made, as far as one node knows: a set of times.
//!
//! Each of several nodes knows something of one that is away. Whatever that one holds was written at a time that lies in
//! the set of each of them, so in what the sets have in common.

use serde::{Deserialize, Serialize};

use crate::version::Time;

/// Times, as spans from the first to the last of each. They may overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times(Vec<(Time, Time)>);

impl Times {
    /// All times up to this one.
    pub fn up_to(last: Time) -> Times {
        Times(vec![(Time::default(), last)])
    }

    /// And these as well.
    pub fn add(&mut self, first: Time, last: Time) {
        if first <= last {
            self.0.push((first, last));
        }
    }

    /// And all of `other` as well.
    pub fn extend(&mut self, other: &Times) {
        self.0.extend_from_slice(&other.0);
    }

    /// The times that are in both.
    #[must_use]
    pub fn common(&self, other: &Times) -> Times {
        let mut common = Times::default();
        for (first, last) in &self.0 {
            for (other_first, other_last) in &other.0 {
                common.add(*first.max(other_first), *last.min(other_last));
            }
        }
        common.merged()
    }

    /// The same without those after `last`.
    #[must_use]
    pub fn until(&self, last: Time) -> Times {
        self.common(&Times::up_to(last))
    }

    /// The same times in as few spans as possible.
    #[must_use]
    pub fn merged(mut self) -> Times {
        self.0.sort_unstable();
        let mut merged: Vec<(Time, Time)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0 {
            match merged.last_mut() {
                Some((_, before)) if first.0 <= before.0.saturating_add(1) => *before = last.max(*before),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Times(merged)
    }

    /// How many spans there are.
    pub fn spans(&self) -> usize {
        self.0.len()
    }

    /// All times from the first to the last.
    #[must_use]
    pub fn hull(&self) -> Times {
        let first = self.0.iter().map(|(first, _)| *first).min();
        Times(first.zip(self.latest()).into_iter().collect())
    }

    /// The last one; `None`: there is none.
    pub fn latest(&self) -> Option<Time> {
        self.0.iter().map(|(_, last)| *last).max()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, prop_assert_eq, proptest};

    use super::*;

    fn holds(times: &Times, time: u64) -> bool {
        times
            .0
            .iter()
            .any(|(first, last)| (first.0..=last.0).contains(&time))
    }

    fn some_times() -> impl Strategy<Value = Times> {
        vec((0..20_u64, 0..20_u64), 0..5).prop_map(|spans| {
            let mut times = Times::default();
            spans
                .into_iter()
                .for_each(|(first, last)| times.add(Time(first), Time(last)));
            times
        })
    }

    proptest! {
        #[test]
        fn sets_are_sets(one in some_times(), two in some_times(), until in 0..20_u64) {
            let mut either = one.clone();
            either.extend(&two);
            for time in 0..21 {
                let (in_one, in_two) = (holds(&one, time), holds(&two, time));
                prop_assert_eq!(holds(&one.common(&two), time), in_one && in_two);
                prop_assert_eq!(holds(&either, time), in_one || in_two);
                prop_assert_eq!(holds(&either.clone().merged(), time), in_one || in_two);
                prop_assert_eq!(holds(&one.until(Time(until)), time), in_one && time <= until);
                prop_assert_eq!(one.latest() == Some(Time(time)), in_one && (time + 1..21).all(|later| !holds(&one, later)));
                let reaches = (0..=time).any(|before| holds(&one, before)) && (time..21).any(|after| holds(&one, after));
                prop_assert_eq!(holds(&one.hull(), time), reaches);
            }
            prop_assert_eq!(one.is_empty(), (0..21).all(|time| !holds(&one, time)));
        }
    }

    #[test]
    fn merged_spans_are_as_few_as_possible() {
        let mut times = Times::up_to(Time(3));
        times.add(Time(4), Time(6));
        times.add(Time(5), Time(9));
        times.add(Time(11), Time(12));
        assert_eq!(times.merged().spans(), 2);
    }
}
