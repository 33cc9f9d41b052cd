//! The random bytes that sealing takes as an argument.

#![allow(clippy::disallowed_methods, reason = "an edge: draws random bytes")]

use super::error::Error;
use crate::seal::RANDOM_BYTES;

pub(crate) fn random() -> Result<[u8; RANDOM_BYTES], Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::Random(e.to_string()))?;
    Ok(bytes)
}
