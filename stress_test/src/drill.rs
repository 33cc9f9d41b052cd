//! Drills.
pub mod step;
