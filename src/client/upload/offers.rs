//! A round of offers: who is asked, what each answers, and who gets the body.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{ANSWER_BYTES_MAX, Audience, PAUSE_MAX, PendingUpload};
use crate::balancer;
use crate::client::answer::Receipt;
use crate::client::connection::NodeConnection;
use crate::client::error::{Error, ErrorKind};
use crate::client::{self, Answered, Client, HOPS_MAX};
use crate::http::response::Response;
use crate::image_id::ImageId;
use crate::roster::{NodeId, Roster};

/// How long a node that did not answer is left alone, unless another one names it; doubled each further time.
const REST: Duration = Duration::from_millis(500);
const REST_DOUBLINGS_MAX: u32 = 4;
/// How long the refusals of other nodes are waited for once the image is stored, or as long again as that took, if it
/// is longer: a node that hangs must not hold up the next image, and one that is only as slow as the others does not
/// hang.
const REFUSAL_PATIENCE_MIN: Duration = Duration::from_millis(100);

/// One offer that waits for its answer.
struct Offered {
    node: NodeId,
    connection: NodeConnection,
    reused: bool,
    /// Counted from the offer: several nodes that do not answer are waited for at the same time.
    deadline: Instant,
}

impl Client {
    /// Offers once to everybody who should be asked, and follows who is named.
    pub(super) fn round(&mut self, job: &mut PendingUpload<'_, '_>) -> Result<Receipt, Error> {
        job.begin_round();
        let start = Instant::now();
        let mut asked = self.order(job);
        let mut offers: VecDeque<Offered> = VecDeque::with_capacity(asked.len());
        for &node in &asked {
            let target = job.target.clone();
            offers.extend(self.offer(job, node, &target));
        }
        let mut outcome = Err(Error {
            kind: ErrorKind::Disputed,
            text: format!("no node accepted {}", job.image),
        });
        let mut hops = 0;
        loop {
            while let Some(offered) = next_offer(&mut offers, job.named.as_ref()) {
                self.read_offer_answer(job, offered, start, &mut outcome);
            }
            let Some((node, target)) = job.named.take() else {
                break;
            };
            hops += 1;
            if job.upload.accepted.is_some() || asked.contains(&node) || hops > HOPS_MAX {
                break;
            }
            asked.push(node);
            offers.extend(self.offer(job, node, &target));
        }
        if let Ok(receipt) = &outcome {
            self.learn(job.image, receipt);
        }
        outcome
    }

    /// The predicted node first: its answer is what the body waits for.
    fn order(&mut self, job: &PendingUpload<'_, '_>) -> Vec<NodeId> {
        let assigned = balancer::assigned(job.image.user(), job.image.name(), &self.alive);
        let now = Instant::now();
        let awake = |node: &client::Member| node.rests_until.is_none_or(|until| until <= now);
        let mut order: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| awake(node))
            .map(|(id, _)| *id)
            .collect();
        order.sort_by_key(|id| *id != assigned);
        if job.terms.audience == Audience::Assigned {
            order.truncate(1);
        }
        order
    }

    fn offer(&mut self, job: &mut PendingUpload<'_, '_>, node: NodeId, target: &str) -> Option<Offered> {
        // The answer to an eager one is the receipt, which has to wait for the disk.
        let patience = if job.eager {
            self.patience.body
        } else {
            self.patience.offer
        };
        let deadline = Instant::now() + patience;
        let outcome = self.take(node).and_then(|mut connection| {
            let reused = connection.is_reused();
            let body = if job.eager {
                job.body.read_small(&mut self.buf)?
            } else {
                &[]
            };
            connection.send_head("PUT", target, &job.fields, body, deadline)?;
            job.upload.body_bytes_sent += body.len() as u64;
            Ok(Offered {
                node,
                connection,
                reused,
                deadline,
            })
        });
        outcome
            .map_err(|error| self.record_failure(job, node, &error))
            .ok()
    }

    /// Reads the answer to one offer and acts on it.
    fn read_offer_answer(
        &mut self,
        job: &mut PendingUpload<'_, '_>,
        mut offered: Offered,
        start: Instant,
        outcome: &mut Result<Receipt, Error>,
    ) {
        let node = offered.node;
        let deadline = match job.upload.accepted {
            Some(_) => {
                let patience = REFUSAL_PATIENCE_MIN.max(start.elapsed());
                offered.deadline.min(Instant::now() + patience)
            }
            None => offered.deadline,
        };
        let heard = offered.connection.head(deadline);
        match heard {
            Ok(response) if response.status == 100 && job.upload.accepted.is_some() => {
                // It waits for a body that will not come: closing tells it so.
                job.upload.also_accepted.push(node);
            }
            Ok(response) if response.status == 100 => {
                job.upload.accepted = Some(node);
                job.upload.offer = start.elapsed();
                *outcome = self.deliver(job, node, offered.connection);
                if let Err(error) = outcome {
                    self.record_failure(job, node, &error.clone());
                }
            }
            Ok(response) if job.eager && matches!(response.status, 200 | 201) => {
                job.upload.accepted = Some(node);
                *outcome = self.receipt(job, node, offered.connection, response, start);
            }
            Ok(response) => self.refused(job, offered, &response, outcome),
            // Nodes close connections that were idle for long: that one is replaced at once, or not missed.
            Err(error) if offered.reused && error.kind == ErrorKind::Lost => {
                if job.upload.accepted.is_none() {
                    let target = job.target.clone();
                    if let Some(again) = self.offer(job, node, &target) {
                        self.read_offer_answer(job, again, start, outcome);
                    }
                }
            }
            Err(error) => self.record_failure(job, node, &error),
        }
    }

    /// A final answer in place of 100.
    fn refused(
        &mut self,
        job: &mut PendingUpload<'_, '_>,
        mut offered: Offered,
        response: &Response,
        outcome: &mut Result<Receipt, Error>,
    ) {
        let node = offered.node;
        let deadline = Instant::now() + self.patience.offer;
        let content = match offered.connection.read_all(response, ANSWER_BYTES_MAX, deadline) {
            Ok(content) => content,
            Err(error) => return self.record_failure(job, node, &error),
        };
        self.keep(node, offered.connection, response);
        if response.status == 307 {
            let place = response
                .location
                .as_deref()
                .and_then(|location| self.place(location));
            job.named = place.or(job.named.take());
            return;
        }
        let error = client::error_of(&Answered {
            node,
            response: response.clone(),
            content,
        });
        job.note(Some(node), error.kind);
        if let Some(seconds) = response.retry_after_seconds {
            job.wait = job.wait.max(Duration::from_secs(seconds).min(PAUSE_MAX));
        }
        if job.upload.accepted.is_none() {
            *outcome = Err(error);
        }
    }

    fn record_failure(&mut self, job: &mut PendingUpload<'_, '_>, node: NodeId, error: &Error) {
        job.note(Some(node), error.kind);
        if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Silent) {
            let node = self.nodes.get_mut(&node).expect("only members are asked");
            node.rests_until = Some(Instant::now() + REST * 2_u32.pow(node.rests.min(REST_DOUBLINGS_MAX)));
            node.rests += 1;
        }
    }

    /// When another node than the predicted one took an image, the view has changed: ask for the new one.
    fn learn(&mut self, image: &ImageId, receipt: &Receipt) {
        if balancer::assigned(image.user(), image.name(), &self.alive) == receipt.node
            || !self.nodes.contains_key(&receipt.node)
        {
            return;
        }
        if let Ok(status) = self.status(receipt.node) {
            self.alive = Roster::new(status.node, status.alive);
        }
    }
}

/// The offer whose answer matters most: the one to the node that another has just named.
fn next_offer(offers: &mut VecDeque<Offered>, named: Option<&(NodeId, String)>) -> Option<Offered> {
    let at = named.and_then(|(node, _)| offers.iter().position(|offered| offered.node == *node));
    offers.remove(at.unwrap_or(0))
}
