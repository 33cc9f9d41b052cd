//! `client status`: a table of the nodes, and what they warn of.

use pixseal::client::Client;
use pixseal::report::Status;
use pixseal::roster::NodeId;

/// Prints the table and what the nodes warn of, and returns how many nodes did not answer.
pub(super) fn status(client: &mut Client) -> usize {
    let members: Vec<_> = client
        .members()
        .map(|(id, address)| (id, address.to_owned()))
        .collect();
    println!(
        "{:>4}  {:<22} {:>6} {:>6}  {:<16} {:>9} {:>15}",
        "node", "address", "leader", "term", "alive", "images", "bytes"
    );
    let mut silent = 0;
    let mut warnings = Warnings::default();
    for (id, address) in members {
        match client.status(id) {
            Ok(status) => {
                warnings.add(id, &status);
                let leader = status
                    .leader
                    .map_or_else(|| "-".to_owned(), |leader| leader.to_string());
                let alive: Vec<String> = status.alive.iter().map(ToString::to_string).collect();
                let (images, bytes) = (status.counter("images"), status.counter("bytes"));
                println!(
                    "{id:>4}  {address:<22} {leader:>6} {:>6}  {:<16} {images:>9} {bytes:>15}",
                    status.term,
                    alive.join(" ")
                );
            }
            Err(error) => {
                silent += 1;
                println!("{id:>4}  {address:<22} {}", error.kind);
            }
        }
    }
    warnings.print();
    silent
}

/// What nodes warn of, each with the nodes that say it, in the order in which it was first heard.
#[derive(Default)]
struct Warnings(Vec<(String, Vec<NodeId>)>);

impl Warnings {
    fn add(&mut self, node: NodeId, status: &Status) {
        for text in &status.warnings {
            match self.0.iter_mut().find(|(known, _)| known == text) {
                Some((_, nodes)) => nodes.push(node),
                None => self.0.push((text.clone(), vec![node])),
            }
        }
    }

    fn print(&self) {
        for (text, nodes) in &self.0 {
            let nodes: Vec<String> = nodes.iter().map(|id| format!("Node {id}")).collect();
            println!("warning of {}: {text}", nodes.join(", "));
        }
    }
}
