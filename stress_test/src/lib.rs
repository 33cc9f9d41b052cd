//! stress_test: offers thousands of painted images to a pixseal cluster and says, with reasons, whether it passed.
//!
//! ```text
//! arguments → config → run → { spawned_cluster, preflight → machine, image_source → paint }
//!                       └─ upload_phase ── Sample ──→ tally ──→ Summary ──→ judgement, report (text, page, compare), output_file
//!                            │   └─ load × threads → pixseal::client  ╲─→ upload_log, progress_display
//!                       watch, drill                         verify ──┘
//! ```
//!
//! Pure files think: [`paint`] (number → image), [`balance`] and [`chi_square`] (counts → what a perfect hash would give),
//! `tally` (samples → counts), `judgement` (a run → passed or why not), [`report`], `threshold`, `preflight`. Thin files touch
//! the world: `load`, `watch`, `verify`, `image_source`, `spawned_cluster`, `drill`, `upload_log`, `progress_display`, `usage`,
//! `machine`. [`run`] brings them together. [`summary::Summary`] is everything a run has to say: every output is made of it.
//!
//! True for any number of images: memory grows by 48 bytes for each (which node acknowledged which copy of it) and by
//! nothing else; the body of an image is sent once; the report is made of what was measured, never of what was asked for.

pub mod arguments;
pub mod config;
pub mod run;

mod image_source;
pub mod paint;
mod temporary_folder;

mod acknowledged;
mod load;
mod sample;
pub mod stop_signal;
mod upload_phase;

mod membership;
mod watch;

mod comparing_writer;
mod verify;

mod drill;
mod spawned_cluster;

mod latency_histogram;
pub mod summary;
mod tally;

pub mod balance;
pub mod chi_square;
mod judgement;
mod threshold;

mod output_file;
mod progress_display;
pub mod report;
mod upload_log;

mod machine;
mod option_value;
mod preflight;
mod usage;
