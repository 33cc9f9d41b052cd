//! A few listings at a time: of each the pages of all nodes are in memory until the answer was sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many listings are made, or sent, at a time.
const AT_ONCE: usize = 16;
/// So many of them for one client.
const AT_ONCE_PER_CLIENT: usize = 4;
/// So many read the folder at a time: each takes 0.2 s of a core for 500,000 files.
const READING_AT_ONCE: usize = 4;
/// How long one more waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(2);

/// Who lists at the moment.
#[derive(Default)]
pub(crate) struct Listings {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    reading: usize,
    clients: HashMap<IpAddr, usize>,
    waiting: usize,
}

impl State {
    fn of(&self, client: IpAddr) -> usize {
        self.clients.get(&client).copied().unwrap_or(0)
    }
}

/// The right to read the folder, until dropped.
pub(crate) struct Turn<'l>(&'l Listings);

/// The right of a client to have a listing made and sent, until dropped.
pub(crate) struct Listing<'l> {
    listings: &'l Listings,
    client: IpAddr,
}

impl Listings {
    /// `None`: too many others are reading.
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        let mut state = self.wait_while(|state| state.reading >= READING_AT_ONCE, |_| true)?;
        state.reading += 1;
        Some(Turn(self))
    }

    /// `None`: this client, or all together, have too many others made.
    pub(crate) fn begin(&self, client: IpAddr) -> Option<Listing<'_>> {
        let has_share = |state: &State| state.of(client) >= AT_ONCE_PER_CLIENT;
        let is_full = |state: &State| state.clients.values().sum::<usize>() >= AT_ONCE;
        let mut state = self.wait_while(
            |state| has_share(state) || is_full(state),
            |state| !has_share(state),
        )?;
        *state.clients.entry(client).or_default() += 1;
        let listings = self;
        Some(Listing { listings, client })
    }

    /// Whether anybody waits for others, and not for itself.
    pub(crate) fn are_waited_for(&self) -> bool {
        self.lock().waiting > 0
    }

    fn wait_while(
        &self,
        is_full: impl Fn(&State) -> bool,
        is_for_others: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if !is_full(&state) {
            return Some(state);
        }
        let waiting = usize::from(is_for_others(&state));
        state.waiting += waiting;
        let (mut state, _) = self
            .ended
            .wait_timeout_while(state, TURN_TIME_MAX, |state| is_full(state))
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= waiting;
        (!is_full(&state)).then_some(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().reading -= 1;
        self.0.ended.notify_all();
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        let mut state = self.listings.lock();
        if let Some(own) = state.clients.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                state.clients.remove(&self.client);
            }
        }
        drop(state);
        self.listings.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_listings_to_others() {
        let listings = Listings::default();
        let client = |last| IpAddr::from([10, 0, 0, last]);
        let of_one: Vec<_> = (0..AT_ONCE_PER_CLIENT)
            .map(|_| listings.begin(client(1)))
            .collect();
        assert!(of_one.iter().all(Option::is_some));
        assert!(listings.begin(client(1)).is_none());
        let others: Vec<_> = (2..5)
            .flat_map(|last| std::iter::repeat_n(client(last), AT_ONCE_PER_CLIENT))
            .map(|other| listings.begin(other))
            .collect();
        assert!(others.iter().all(Option::is_some) && !listings.are_waited_for());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| listings.begin(client(9)).is_some());
            while !listings.are_waited_for() {
                std::thread::yield_now();
            }
            drop(of_one);
            assert!(waiting.join().unwrap());
        });
        drop(others);
        assert!(listings.lock().clients.is_empty() && !listings.are_waited_for());
    }
}
