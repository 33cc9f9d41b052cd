//! pixseal: a cluster of upload servers that seal each image on exactly one node.
//!
//! # The way of an image
//!
//! ```text
//! socket → accept thread → bounded queue → worker → head → balancer → seal (rayon) → store → receipt
//! ```
//!
//! A client offers an image to every node. Each node computes SHA-256(user, name) mod the sorted alive ids, and
//! exactly one finds its own id there. That one takes the body, checks that it is a PNG, encrypts it segment by
//! segment while the next segment arrives, makes it durable and answers; the others redirect to it before any of
//! the body is sent.
//!
//! # The rooms
//!
//! What thinks is pure: no socket, file, thread, clock or random number.
//!
//! - [`roster`]: node ids, and the sorted set of those that are alive
//! - [`balancer`]: user, name and roster → who takes the image
//! - [`image_id`]: user and name, checked, and the file name that maps back to them
//! - [`members`]: the configured nodes and their addresses
//! - [`election`]: Bully, failure detection and the authenticated datagrams between nodes
//! - [`image`]: is this a PNG that we accept?
//! - [`keyset`]: Tink's JSON keyset ↔ keys
//! - [`seal`]: bytes ↔ sealed segments, in Tink's format
//! - [`http`]: heads, bodies and answers, for both ends
//!
//! What touches the world is thin.
//!
//! - [`secrets`]: the keys on disk
//! - [`store`]: the sealed images on disk
//! - [`journal`]: the lines people watch
//! - [`cluster`]: the only UDP socket; feeds `election` and publishes the view that placement goes by
//! - [`client`]: offer, upload, read, list, remove; for the programs and for nodes that ask each other
//! - [`server`]: the only listener; the one place where the rooms meet
//!
//! ```text
//! bin/server → server → { http, image, balancer, seal, store, client }      cluster → election
//!              server → cluster (one Arc<View> a request)                    client, stress_test → http
//! ```
//!
//! # What always holds
//!
//! - A receipt is sent only after the image is durable under its final name; a name appears only with all its bytes.
//! - Nothing leaves a node that was not verified, and nothing is kept of an upload that was refused.
//! - Every node decides alone, from the view of the leader that it follows; all that follow one leader decide alike.
//! - Memory is bounded by configuration, never by what a client claims or by the size of an image.
//! - The thread that runs heartbeat and election waits for nothing that a worker can hold.
//! - No bytes from outside make a node panic; its own broken invariants do.

pub mod balancer;
pub mod client;
pub mod cluster;
pub mod durable;
pub mod election;
pub mod http;
pub mod image;
pub mod image_id;
pub mod journal;
pub mod keyset;
pub mod members;
mod node;
mod priority;
pub mod report;
pub mod roster;
pub mod seal;
pub mod sealing;
pub mod secrets;
pub mod server;
mod socket;
pub mod store;
