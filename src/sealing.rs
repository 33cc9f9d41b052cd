//! Encrypting and decrypting beside the workers: the threads that do it, and the memory that images pass through.
//!
//! - [`pool`]: the threads, and the queue of what they are to do
//! - [`mailbox`]: where a worker waits for what they have done
//! - [`outlet`]: what becomes of what was sealed: the worker writes it, or the thread that sealed it
//! - [`blocks`]: a fixed number of 1 MiB buffers; memory is bounded here
//! - [`segment`]: one segment of an upload while it arrives, is sealed and is written
//!
//! Knows nothing of sockets, files or HTTP. What is computed is `seal`'s.

pub mod blocks;
pub(crate) mod mailbox;
pub(crate) mod outlet;
pub(crate) mod pool;
pub(crate) mod segment;
mod spare;
