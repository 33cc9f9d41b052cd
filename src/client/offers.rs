//! Offers an image, round after round, until a node has stored it.
//!
//! An offer is the head of a PUT with `Expect: 100-continue` and `Connection: offer`: the promise that the body
//! follows only after `100 Continue`. Every node answers from its own view: one says 100 and gets the body, the others
//! say 307 and their connections stay usable. The body travels once.
//!
//! A small image goes to the node that it is assigned to together with its head: waiting for `100 Continue` would take
//! longer than sending it in vain, should the node turn out to be the wrong one.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::ask::Answered;
use super::connection::NodeConnection;
use super::error::{Error, ErrorKind};
use super::pending_upload::{ANSWER_BYTES_MAX, PendingUpload};
use super::round_robin::HOPS_MAX;
use super::upload::{Audience, Upload};
use crate::http::response::Response;
use crate::report::Receipt;
use crate::roster::NodeId;

/// The fields by which a PUT becomes an offer.
const OFFER: &str = "Expect: 100-continue\r\nConnection: offer\r\n";
/// The longest wait that a node can ask for with `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A node that reports an error of its own this often in a row is not asked again.
const BROKEN_MAX: u32 = 3;
/// How long an image is offered again while nodes answer that their disk is full. A full node is left out of placement
/// within a second, and then another one takes its images; if all are full, waiting does not help.
const DISK_FULL_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the answers of other nodes are waited for once the image is stored, or as long again as storing took, if
/// that is longer: a node that hangs must not delay the next image, and a node that is as slow as the others does not
/// hang.
const REFUSAL_PATIENCE_MIN: Duration = Duration::from_millis(100);

/// One offer that waits for its answer.
struct Offered {
    node: NodeId,
    connection: NodeConnection,
    reused: bool,
    /// The image went with it.
    eager: bool,
    /// Counted from the offer: several nodes that do not answer are waited for at the same time.
    deadline: Instant,
}

impl PendingUpload<'_, '_, '_> {
    /// Offers the image until it is stored, the deadline has passed, or another attempt would not help.
    pub(super) fn run(mut self) -> Upload {
        let mut broken = 0;
        let mut full_since = None;
        loop {
            let error = match self.round() {
                Ok(receipt) => {
                    self.upload.outcome = Ok(receipt);
                    return self.upload;
                }
                Err(error) => error,
            };
            broken = if error.kind == ErrorKind::Broken {
                broken + 1
            } else {
                0
            };
            let now = Instant::now();
            full_since = match error.kind {
                ErrorKind::DiskFull => full_since.or(Some(now)),
                _ => None,
            };
            let hopeless = matches!(
                error.kind,
                ErrorKind::Refused | ErrorKind::PreconditionFailed | ErrorKind::Untrusted
            ) || broken == BROKEN_MAX
                || full_since.is_some_and(|since| now >= since + DISK_FULL_TIME_MAX);
            self.upload.outcome = Err(error);
            if hopeless || self.terms.stop.load(Ordering::Relaxed) || now + self.wait >= self.terms.deadline {
                self.upload.elapsed = self.started.elapsed();
                return self.upload;
            }
            std::thread::sleep(self.wait);
        }
    }

    /// Offers the image once to every node of the audience, and to the nodes that those name.
    fn round(&mut self) -> Result<Receipt, Error> {
        self.begin_round();
        let start = Instant::now();
        let mut asked = self.order();
        let mut offers: VecDeque<Offered> = VecDeque::with_capacity(asked.len());
        for &node in &asked {
            let target = self.target.clone();
            offers.extend(self.offer(node, &target));
        }
        let mut outcome = Err(Error {
            kind: ErrorKind::Disputed,
            text: format!("no node accepted {}", self.image),
        });
        let mut hops = 0;
        loop {
            while let Some(offered) = next_offer(&mut offers, self.named.as_ref()) {
                self.read_offer_answer(offered, start, &mut outcome);
            }
            let Some((node, target)) = self.named.take() else {
                break;
            };
            hops += 1;
            if self.upload.accepted.is_some() || asked.contains(&node) || hops > HOPS_MAX {
                break;
            }
            asked.push(node);
            offers.extend(self.offer(node, &target));
        }
        match (&outcome, self.untrusted.take()) {
            (Ok(receipt), _) => self.learn(receipt),
            (Err(_), Some(untrusted)) => return Err(untrusted),
            (Err(_), None) => {}
        }
        outcome
    }

    /// Whom to ask: the assigned node first, since the body waits for its answer.
    fn order(&self) -> Vec<NodeId> {
        let assigned = self.assigned();
        let mut order: Vec<NodeId> = self.nodes.responsive().collect();
        order.sort_by_key(|id| *id != assigned);
        if self.terms.audience == Audience::Assigned {
            order.truncate(1);
        }
        order
    }

    fn offer(&mut self, node: NodeId, target: &str) -> Option<Offered> {
        let outcome = self.send_offer(node, target);
        outcome.map_err(|error| self.record_failure(node, &error)).ok()
    }

    fn send_offer(&mut self, node: NodeId, target: &str) -> Result<Offered, Error> {
        let eager = self.is_eager(node);
        let patience = match self.terms.audience {
            // The answer is the receipt, which has to wait for the disk.
            Audience::Assigned if eager => self.nodes.patience.body,
            Audience::Assigned | Audience::All => self.nodes.patience.offer,
        };
        let deadline = Instant::now() + patience;
        let mut connection = self.nodes.take(node)?;
        let reused = connection.is_reused();
        let (promise, body) = if eager {
            ("", self.body.read_small(self.buf)?)
        } else {
            (OFFER, &[][..])
        };
        let fields = format!("{}{promise}", self.fields);
        connection.send_head("PUT", target, &fields, body, deadline)?;
        self.upload.body_bytes_sent += body.len() as u64;
        Ok(Offered {
            node,
            connection,
            reused,
            eager,
            deadline,
        })
    }

    /// Reads the answer to one offer and acts on it.
    fn read_offer_answer(
        &mut self,
        mut offered: Offered,
        start: Instant,
        outcome: &mut Result<Receipt, Error>,
    ) {
        let node = offered.node;
        let deadline = match self.upload.accepted {
            Some(_) => {
                let patience = REFUSAL_PATIENCE_MIN.max(start.elapsed());
                offered.deadline.min(Instant::now() + patience)
            }
            None => offered.deadline,
        };
        let heard = offered.connection.head(deadline);
        match heard {
            Ok(response) if response.status == 100 && self.upload.accepted.is_some() => {
                // The node waits for a body that will not come: closing the connection tells it so.
                self.upload.also_accepted.push(node);
            }
            Ok(response) if response.status == 100 => {
                self.upload.accepted = Some(node);
                self.upload.offer = start.elapsed();
                *outcome = self.deliver(node, offered.connection);
                if let Err(error) = outcome {
                    self.record_failure(node, &error.clone());
                }
            }
            Ok(response) if offered.eager && matches!(response.status, 200 | 201) => {
                self.upload.accepted = Some(node);
                *outcome = self.receipt(node, offered.connection, response, start);
            }
            Ok(response) => self.read_refusal(offered, &response, outcome),
            // Nodes close connections that were idle for long: this one is replaced at once, if it is still needed.
            Err(error) if offered.reused && error.kind == ErrorKind::Lost => {
                if self.upload.accepted.is_none() {
                    let target = self.target.clone();
                    if let Some(again) = self.offer(node, &target) {
                        self.read_offer_answer(again, start, outcome);
                    }
                }
            }
            Err(error) => self.record_failure(node, &error),
        }
    }

    /// A final answer in place of 100.
    fn read_refusal(
        &mut self,
        mut offered: Offered,
        response: &Response,
        outcome: &mut Result<Receipt, Error>,
    ) {
        let node = offered.node;
        let deadline = Instant::now() + self.nodes.patience.offer;
        let content = match offered.connection.read_all(response, ANSWER_BYTES_MAX, deadline) {
            Ok(content) => content,
            Err(error) => return self.record_failure(node, &error),
        };
        self.nodes.keep(node, offered.connection, response);
        if response.status == 307 {
            // Whoever has stored it needs no other node.
            if let (Some(location), None) = (&response.location, self.upload.accepted) {
                let named = self.nodes.locate(node, location);
                self.named = named.or(self.named.take());
            }
            return;
        }
        let answered = Answered {
            node,
            response: response.clone(),
            content,
        };
        let error = answered.error();
        self.note(Some(node), error.kind);
        if let Some(seconds) = response.retry_after_seconds {
            self.wait = self.wait.max(Duration::from_secs(seconds).min(PAUSE_MAX));
        }
        if self.upload.accepted.is_none() {
            *outcome = Err(error);
        }
    }

    fn record_failure(&mut self, node: NodeId, error: &Error) {
        self.note(Some(node), error.kind);
        if error.kind == ErrorKind::Untrusted {
            self.untrusted = Some(error.clone());
        }
        if matches!(
            error.kind,
            ErrorKind::Unreachable | ErrorKind::Untrusted | ErrorKind::Silent
        ) {
            self.nodes.back_off(node);
        }
    }

    /// If another node than the assigned one took the image, the view has changed; if the receipt names nodes that are
    /// not known, there are new members: asks the node that took it.
    fn learn(&mut self, receipt: &Receipt) {
        let Some(taker) = self.upload.accepted else {
            return;
        };
        let assigned = self.assigned();
        let mut named = receipt.alive.iter().flatten().chain([&receipt.node]);
        let is_outdated = match named.all(|id| self.nodes.contains(*id)) {
            true => assigned != receipt.node,
            false => !self.nodes.has_just_learnt(),
        };
        if is_outdated {
            self.nodes.learn_from(taker);
        }
    }
}

/// The offer whose answer matters most: the one to the node that another has just named.
fn next_offer(offers: &mut VecDeque<Offered>, named: Option<&(NodeId, String)>) -> Option<Offered> {
    let at = named.and_then(|(node, _)| offers.iter().position(|offered| offered.node == *node));
    offers.remove(at.unwrap_or(0))
}
