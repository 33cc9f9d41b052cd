//! Asks all nodes at once what they say of the cluster, and waits no longer than agreed, whatever they do.
//!
//! A thread for each node: a name that does not resolve, a node that is paused and one that answers a byte a second
//! delay nobody but their own thread, which ends with the program. Judging the answers is left to `findings`.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::bearer_token::BearerToken;
use pixseal::client::error::{Error, ErrorKind, wants_tls};
use pixseal::members::NODES_MAX;
use pixseal::report::Status;
use pixseal::roster::NodeId;
use pixseal::tls::settings::ClientTls;

use super::findings::{self, AskedNode};
use crate::cluster_state::{self, Credentials};
use crate::config::Config;

/// Nodes that are not of one mind are asked once more after this long, at most half of what is left: a change of
/// membership reaches all of them within a few heartbeats.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(400);

struct Survey {
    asked: Vec<AskedNode>,
    /// How many answers are still to come.
    waiting: usize,
    end: Instant,
    token: Option<BearerToken>,
    tls: Option<ClientTls>,
    sender: Sender<(usize, Result<Status, Error>)>,
    answers: Receiver<(usize, Result<Status, Error>)>,
}

/// Asks every member of the cluster file, and every member that one of them names, for at most `patience`.
pub(super) fn ask_all(config: &Config, patience: Duration) -> Vec<AskedNode> {
    let start = Instant::now();
    let end = start + patience;
    let (sender, answers) = channel();
    let mut survey = Survey {
        asked: Vec::new(),
        waiting: 0,
        end,
        token: config.token.clone(),
        tls: config.tls.clone(),
        sender,
        answers,
    };
    for (id, address) in config.members.iter() {
        survey.add(id, address, true);
    }
    survey.wait_until(start + patience / 2);
    if !findings::are_of_one_mind(&survey.asked) {
        let left = end.saturating_duration_since(Instant::now());
        thread::sleep(ASK_AGAIN_AFTER.min(left / 2));
        survey.ask_again();
    }
    survey.wait_until(end);
    survey.asked.sort_by_key(|asked| asked.id);
    survey.asked
}

impl Survey {
    fn add(&mut self, id: NodeId, address: &str, in_file: bool) {
        self.asked.push(AskedNode {
            id,
            address: address.to_owned(),
            in_file,
            answer: Err(Error {
                kind: ErrorKind::Silent,
                text: format!("{address}: no answer in time"),
            }),
        });
        self.ask(self.asked.len() - 1);
    }

    fn ask(&mut self, index: usize) {
        let (sender, address, end) = (self.sender.clone(), self.asked[index].address.clone(), self.end);
        let (token, tls) = (self.token.clone(), self.tls.clone());
        let thread = thread::Builder::new().name(format!("ask {address}"));
        let started = thread.spawn(move || {
            // Nobody listens any more once the time is up.
            let _ = sender.send((index, ask(&address, (token.as_ref(), tls.as_ref()), end)));
        });
        match started {
            Ok(_) => self.waiting += 1,
            Err(e) => {
                self.asked[index].answer = Err(Error {
                    kind: ErrorKind::Stopped,
                    text: format!("cannot start a thread: {e}"),
                });
            }
        }
    }

    /// Asks those again that have answered. The others are still being waited for.
    fn ask_again(&mut self) {
        for index in 0..self.asked.len() {
            if self.asked[index].answer.is_ok() {
                self.ask(index);
            }
        }
    }

    fn wait_until(&mut self, end: Instant) {
        while self.waiting > 0 {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((index, answer)) = self.answers.recv_timeout(left) else {
                return;
            };
            self.waiting -= 1;
            if let Ok(status) = &answer {
                self.add_members_of(status);
            }
            self.asked[index].answer = answer;
        }
    }

    /// Asks the members that a node names and nobody has asked yet.
    fn add_members_of(&mut self, status: &Status) {
        for peer in &status.peers {
            let known = |asked: &AskedNode| asked.id == peer.id || asked.address == peer.address;
            let is_new = !peer.address.is_empty() && !self.asked.iter().any(known);
            if is_new && self.asked.len() < NODES_MAX {
                self.add(peer.id, &peer.address, false);
            }
        }
    }
}

fn ask(address: &str, credentials: Credentials<'_>, end: Instant) -> Result<Status, Error> {
    let (status, content) = cluster_state::ask(address, credentials, end)?;
    if matches!(status, 429 | 503) {
        return Err(Error {
            kind: ErrorKind::Busy,
            text: format!("{address}: it is too busy ({status})"),
        });
    }
    let refused = |why: &str| Error {
        kind: ErrorKind::Refused,
        text: format!("{address}: {why}"),
    };
    let said = String::from_utf8_lossy(&content);
    let said = said.trim_end_matches(['.', '\n']);
    if wants_tls(status, credentials.1.is_none()) {
        return Err(Error {
            kind: ErrorKind::Untrusted,
            ..refused(said)
        });
    }
    if status == 401 {
        return Err(refused(said));
    }
    let parsed: Option<Status> = serde_json::from_slice(&content).ok().filter(|_| status == 200);
    // Whoever is no admin is told no more than where the nodes are.
    if parsed.as_ref().is_some_and(|status| status.version.is_empty()) {
        return Err(refused("your token is not an admin's"));
    }
    parsed.ok_or_else(|| Error {
        kind: ErrorKind::Protocol,
        text: format!("{address}: what answers there ({status}) is no node"),
    })
}
