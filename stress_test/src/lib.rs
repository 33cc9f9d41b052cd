//! stress_test: offers thousands of painted images to a pixseal cluster and says, with reasons, whether it held.

pub mod chance;
pub mod config;
pub mod drill;
pub mod gallery;
pub mod halt;
pub mod journal;
pub mod load;
pub mod paint;
pub mod preflight;
pub mod report;
pub mod run;
pub mod sample;
pub mod screen;
pub mod spawn;
pub mod stopwatch;
pub mod summary;
pub mod tally;
pub mod threshold;
pub mod usage;
pub mod verdict;
pub mod verify;
pub mod watch;
