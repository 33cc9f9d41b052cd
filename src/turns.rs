//! A queue in which clients take turns.
//!
//! Each client, told by its address, has a queue of its own, and the queues are served one after the other: whoever asks for
//! one thing waits for at most one of each other client, however many those have asked for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

pub(crate) struct Turns<T> {
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
    pub(crate) fn push(&mut self, client: IpAddr, one: T) {
        let own = self.waiting.entry(client).or_default();
        if own.is_empty() {
            self.order.push_back(client);
        }
        own.push_back(one);
    }

    /// The oldest of the client whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
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

    /// The oldest of the first client in turn that may have one now, with what it is given. The others keep their turns.
    pub(crate) fn pop_where<P>(&mut self, mut may: impl FnMut(IpAddr) -> Option<P>) -> Option<(P, T)> {
        let (at, given) = self
            .order
            .iter()
            .enumerate()
            .find_map(|(at, client)| may(*client).map(|given| (at, given)))?;
        let client = self.order.remove(at)?;
        self.order.push_front(client);
        self.pop().map(|one| (given, one))
    }

    /// Takes out what is not to wait any longer: of each client the oldest ones.
    pub(crate) fn take_while(&mut self, is_over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut over = Vec::new();
        for own in self.waiting.values_mut() {
            while let Some(one) = own.pop_front_if(|one| is_over(one)) {
                over.push(one);
            }
        }
        self.waiting.retain(|_, own| !own.is_empty());
        self.order.retain(|client| self.waiting.contains_key(client));
        over
    }

    /// Whether this client waits for something.
    pub(crate) fn has(&self, client: IpAddr) -> bool {
        self.waiting.contains_key(&client)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
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

    #[test]
    fn who_may_not_have_one_now_keeps_its_turn() {
        let [a, b] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let mut turns = Turns::default();
        for number in 0..3 {
            turns.push(a, (a, number));
        }
        turns.push(b, (b, 0));
        let of_b = |client| (client == b).then_some(());
        assert_eq!(turns.pop_where(of_b), Some(((), (b, 0))));
        assert_eq!(turns.pop_where(of_b), None);
        assert!(turns.has(a) && !turns.has(b));
        assert_eq!(turns.pop(), Some((a, 0)));
        assert_eq!(turns.take_while(|(_, number)| *number == 1), [(a, 1)]);
        assert_eq!(
            (turns.len(), turns.pop(), turns.is_empty()),
            (1, Some((a, 2)), true)
        );
    }
}
