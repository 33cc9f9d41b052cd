//! The programs as their users meet them: arguments, exit codes, what they print, and what the documents say of it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod client_interrupted;
mod client_transfers;
mod cluster_script;
mod docs;
mod manuals;
mod seal;
mod server;
mod status;
