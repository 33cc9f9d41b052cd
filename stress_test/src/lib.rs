//! stress_test: offers thousands of painted images to a pixseal cluster and says, with reasons, whether it held.
//!
//! ```text
//! config → run → { spawn, preflight, gallery → paint }
//!            └─ load × threads ── Sample ──→ tally ──→ Summary ──→ verdict, report (text, page, compare), JSON
//!                 │    └─ pixseal::client            ╲─→ journal (CSV, log), screen
//!               watch, drill                 verify ──┘
//! ```
//!
//! What thinks is pure: [`paint`] (number → image), [`chance`] (counts → what a perfect hash would give), [`tally`] (samples →
//! counts), [`verdict`] (a run → passed or why not), [`report`], [`threshold`], [`preflight`], [`drill::step`]. What touches
//! the world is thin: [`load`], [`watch`], [`verify`], [`gallery`], [`spawn`], [`drill`], [`journal`], [`screen`], [`usage`].
//! [`run`] is the one place where they meet. [`summary::Summary`] is everything a run has to say: every output is made of it.
//!
//! Held for any number of images: memory does not grow with them but for four bytes each (who has it); the body of an image
//! travels once; the report is made of what was measured, never of what was asked for.

pub mod config;
pub mod run;

pub mod chance;
pub mod paint;

pub mod gallery;
pub mod halt;
pub mod load;
pub mod sample;
pub mod verify;
pub mod watch;

pub mod drill;
pub mod spawn;

pub mod stopwatch;
pub mod summary;
pub mod tally;
pub mod threshold;
pub mod verdict;

pub mod journal;
pub mod report;
pub mod screen;

pub mod preflight;
pub mod usage;
