//! What a build without the feature `tls` has of sessions: a type without values.

use std::convert::Infallible;
use std::io::{self, Read, Write};

/// A session. There is none.
pub(crate) struct Session(Infallible);

impl Session {
    pub(crate) fn read(&mut self, _wire: impl Read + Write, _buf: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write(&mut self, _wire: impl Read + Write, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _wire: impl Write) {
        match self.0 {}
    }

    pub(crate) fn has_input(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_output(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_established(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_midway(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn moved(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn release_if_empty(&mut self) {
        match self.0 {}
    }
}
