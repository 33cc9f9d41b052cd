//! A queue in which clients take turns.
//!
//! Each client, told by its address, has a queue of its own, and the queues are served one after the other: whoever asks for
//! one thing waits for at most one of each other client, however many those have asked for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

pub(super) struct Turns<T> {
    waiting: HashMap<IpAddr, VecDeque<T>>,
    /// Clients that wait, the one whose turn it is first.
    order: VecDeque<IpAddr>,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns {
            waiting: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, client: IpAddr, one: T) {
        let own = self.waiting.entry(client).or_default();
        if own.is_empty() {
            self.order.push_back(client);
        }
        own.push_back(one);
    }

    /// The oldest of the client whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let client = self.order.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let one = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.order.push_back(client);
        }
        one
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
impl<T> Turns<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_and_each_is_served_in_order() {
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let mut turns = Turns::default();
        for number in 0..4 {
            turns.push(a, (a, number));
        }
        turns.push(b, (b, 0));
        assert_eq!(turns.pop(), Some((a, 0)));
        turns.push(c, (c, 0));
        turns.push(b, (b, 1));
        let rest: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, [(b, 0), (a, 1), (c, 0), (b, 1), (a, 2), (a, 3)]);
        assert!(turns.is_empty() && turns.waiting.is_empty());
    }
}
