//! The segments of a sealed file in order, the next ones read and opened while one is sent.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;

use super::error::Error;
use super::opening::{Opened, Source};
use crate::sealing::pool::Pending;

/// How many are read and opened beforehand: while one is opened, the next is read. More would take blocks from others.
const AHEAD_MAX: usize = 2;

pub(crate) struct Segments<'s, 'n> {
    source: &'s Source<'n>,
    /// Those that nobody reads yet.
    unread: Range<u32>,
    ahead: VecDeque<Pending<Result<Opened, Error>>>,
}

impl<'s, 'n> Segments<'s, 'n> {
    pub(crate) fn new(source: &'s Source<'n>, wanted: Range<u32>) -> Segments<'s, 'n> {
        Segments {
            source,
            unread: wanted,
            ahead: VecDeque::with_capacity(AHEAD_MAX),
        }
    }

    /// The next one, verified and decrypted; `None` after the last. May wait for a block, in the turn of `client`, who must
    /// hold none.
    pub(crate) fn next(&mut self, client: IpAddr) -> Result<Option<Opened>, Error> {
        let next = match self.ahead.pop_front() {
            Some(next) => next,
            None => match self.unread.next() {
                Some(index) => self
                    .source
                    .open(self.source.read(index, self.source.block(client))?),
                None => return Ok(None),
            },
        };
        self.go_ahead()?;
        next.wait().map(Some)
    }

    /// Begins with those after the next one, as far as there are blocks for them.
    fn go_ahead(&mut self) -> Result<(), Error> {
        while self.ahead.len() < AHEAD_MAX
            && !self.unread.is_empty()
            && let Some(block) = self.source.try_block()
            && let Some(index) = self.unread.next()
        {
            self.ahead.push_back(self.source.read_and_open(index, block)?);
        }
        Ok(())
    }
}
