//! The cluster file on disk, as all programs find and read it; [`members`](crate::members) understands it.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: reads the file that a program was given"
)]

use std::path::Path;

use crate::members::Members;

/// Read if it is there and no other is named.
pub const DEFAULT: &str = "cluster.toml";

/// The members that `file` names, or [`DEFAULT`]; without either, those that run when nothing was prepared. An error is
/// one sentence.
pub fn read(file: Option<&str>) -> Result<Members, String> {
    let name = file.unwrap_or(DEFAULT);
    if file.is_none() && !Path::new(name).exists() {
        return Ok(Members::default());
    }
    let text = std::fs::read_to_string(name).map_err(|e| format!("cannot read {name}: {e}"))?;
    Members::parse(&text).map_err(|e| format!("{name}: {e}"))
}
