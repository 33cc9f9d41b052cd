//! stress_test: offers thousands of painted images to a pixseal cluster and says, with reasons, whether it held.
//!
//! ```text
//! config → run → { spawned_cluster, preflight, image_source → paint }
//!            └─ load × threads ── Sample ──→ tally ──→ Summary ──→ judgement, report (text, page, compare), JSON
//!                 │    └─ pixseal::client            ╲─→ upload_log, progress_display
//!               watch, drill                 verify ──┘
//! ```
//!
//! What thinks is pure: [`paint`] (number → image), [`chance`] (counts → what a perfect hash would give), [`tally`] (samples →
//! counts), [`judgement`] (a run → passed or why not), [`report`], [`threshold`], [`preflight`], [`drill::step`]. What touches
//! the world is thin: [`load`], [`watch`], [`verify`], [`image_source`], [`spawned_cluster`], [`drill`], [`upload_log`], [`progress_display`], [`usage`].
//! [`run`] is the one place where they meet. [`summary::Summary`] is everything a run has to say: every output is made of it.
//!
//! Held for any number of images: memory does not grow with them but for four bytes each (who has it); the body of an image
//! travels once; the report is made of what was measured, never of what was asked for.

pub mod config;
pub mod run;

pub mod chance;
pub mod paint;

pub mod image_source;
pub mod load;
pub mod sample;
pub mod stop_signal;
pub mod verify;
pub mod watch;

pub mod drill;
pub mod spawned_cluster;

pub mod judgement;
pub mod latency_histogram;
pub mod summary;
pub mod tally;
pub mod threshold;

pub mod progress_display;
pub mod report;
pub mod upload_log;

pub mod preflight;
pub mod usage;
