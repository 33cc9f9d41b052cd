//! Nodes that speak TLS, as users run them: to clients, to each other, and to whoever does not keep to the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

mod certificates;
mod clients;
mod cluster;
mod records;
#[path = "../support/mod.rs"]
mod support;

use pixseal::tls::files::{ClientFiles, Identity};

use crate::support::certificate::Authority;
use crate::support::cluster::TestCluster;

/// A cluster whose nodes speak TLS, and its authority.
struct TlsCluster {
    nodes: TestCluster,
    authority: Authority,
}

impl TlsCluster {
    /// `count` nodes that serve, each started with `options` as well.
    fn start(count: u32, options: &[&str]) -> TlsCluster {
        let mut cluster = TlsCluster::prepare(count, options);
        cluster.nodes.start_all();
        cluster
    }

    /// The same, none of which runs.
    fn prepare(count: u32, options: &[&str]) -> TlsCluster {
        let mut nodes = TestCluster::prepare(count, options);
        let authority = nodes.speak_tls();
        TlsCluster { nodes, authority }
    }

    /// The certificate and key of the nodes.
    fn identity(&self) -> Identity {
        let file = |name| self.nodes.root().join(name);
        Identity {
            cert: file("node.pem"),
            key: file("node.key"),
        }
    }

    /// What our client needs.
    fn files(&self) -> ClientFiles {
        ClientFiles {
            ca: self.authority.file.clone(),
            identity: None,
        }
    }
}
