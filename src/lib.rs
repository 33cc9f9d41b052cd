//! pixseal: a cluster of upload servers that seal each image on exactly one node.

pub mod balancer;
pub mod client;
pub mod cluster;
pub mod election;
pub mod http;
pub mod image;
pub mod image_id;
pub mod journal;
pub mod keyset;
pub mod members;
pub mod roster;
pub mod seal;
pub mod secrets;
pub mod server;
pub mod store;
