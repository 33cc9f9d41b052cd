//! Whether each image is on the node it belongs to, and what else is wrong with how it got there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pixseal::balancer;
use pixseal::roster::{NodeId, Roster};

use super::examples::keep;
use crate::chi_square::UploadCounts;
use crate::membership::MembershipSeen;
use crate::sample::{Sample, UploadOutcome};
use crate::summary;

/// The design allows a second acceptance this close to a change of the membership.
const CHANGE_SLACK: Duration = Duration::from_secs(2);
const DOUBLES_MAX: usize = 1000;
const CLAIMS_MAX: usize = 10_000;

/// Counts of placements and of their faults.
pub(crate) struct Placements {
    user: String,
    counts: summary::Placement,
    /// Uploads by the alive ids that placed them.
    views: BTreeMap<Vec<NodeId>, UploadCounts>,
    /// Receipts by the term and the alive ids that they name.
    claims: BTreeMap<(u64, Vec<NodeId>), u64>,
    doubles: Vec<DoubleAcceptance>,
}

struct DoubleAcceptance {
    from: Duration,
    until: Duration,
    text: String,
}

impl Placements {
    pub(crate) fn new(user: &str) -> Placements {
        Placements {
            user: user.to_owned(),
            counts: summary::Placement::default(),
            views: BTreeMap::new(),
            claims: BTreeMap::new(),
            doubles: Vec::new(),
        }
    }

    /// Counts what is wrong with an upload wherever it went. `held_back`: its last byte was sent late, to see whether
    /// the node waits for it.
    pub(crate) fn count_faults(&mut self, sample: &Sample, name: &str, held_back: bool) {
        self.counts.held_back += u64::from(held_back);
        if !sample.also_accepted.is_empty() && self.doubles.len() < DOUBLES_MAX {
            let mut nodes = sample.also_accepted.clone();
            if let UploadOutcome::Stored { node, .. } = &sample.outcome {
                nodes.insert(0, *node);
            }
            self.doubles.push(DoubleAcceptance {
                from: sample.intended,
                until: sample.intended + sample.total,
                text: format!("{name} was accepted by nodes {}", Ids(&nodes)),
            });
        }
        if sample.answered_early {
            self.counts.answered_early += 1;
            keep(&mut self.counts.examples, || {
                format!("{name} was answered before its last byte was sent")
            });
        }
        if let UploadOutcome::Stored {
            wrong_receipt: Some(what),
            ..
        } = &sample.outcome
        {
            self.counts.wrong_receipts += 1;
            keep(&mut self.counts.examples, || format!("{name}: {what}"));
        }
    }

    /// Recomputes to whom the image belongs, and counts it under the view that placed it. Returns its owner and that
    /// view; `None` if no view is known.
    pub(crate) fn place<'a>(
        &mut self,
        name: &str,
        node: NodeId,
        views: &'a [Vec<NodeId>],
    ) -> Option<(NodeId, &'a [NodeId])> {
        let assigned = |alive: &Vec<NodeId>| {
            let first = *alive.first()?;
            Some(balancer::assigned(
                &self.user,
                name,
                &Roster::new(first, alive.iter().copied()),
            ))
        };
        let right = views.iter().find(|alive| assigned(alive) == Some(node));
        let Some(alive) = right.or(views.iter().find(|alive| !alive.is_empty())) else {
            self.counts.unknown_view += 1;
            return None;
        };
        let owner = assigned(alive).expect("empty views were passed over");
        if owner == node {
            self.counts.on_assigned += 1;
        } else {
            self.counts.misplaced += 1;
            keep(&mut self.counts.examples, || {
                format!(
                    "{name} is on node {node}, it belongs to node {owner} (alive: {alive:?})",
                    alive = Ids(alive)
                )
            });
        }
        let view = self
            .views
            .entry(alive.clone())
            .or_insert_with(|| alive.iter().map(|id| (*id, 0)).collect());
        *view.entry(node).or_default() += 1;
        Some((owner, alive))
    }

    /// Remembers that a receipt named its view, to be compared with what nodes say in `/cluster`.
    pub(crate) fn claim(&mut self, term: u64, view: &[NodeId]) {
        let room = self.claims.len() < CLAIMS_MAX;
        if let Some(count) = self.claims.get_mut(&(term, view.to_vec())) {
            *count += 1;
        } else if room {
            self.claims.insert((term, view.to_vec()), 1);
        }
    }

    /// The uploads of each view.
    pub(crate) fn upload_counts(&self) -> Vec<UploadCounts> {
        self.views.values().cloned().collect()
    }

    pub(crate) fn views(&self) -> Vec<summary::ViewSummary> {
        let row = |(alive, view): (&Vec<NodeId>, &UploadCounts)| summary::ViewSummary {
            alive: alive.iter().map(|id| id.0).collect(),
            uploads: view.iter().map(|(id, uploads)| (id.0, *uploads)).collect(),
        };
        self.views.iter().map(row).collect()
    }

    /// The counts, with second acceptances and named views judged by what nodes said.
    pub(crate) fn summary(&self, seen: &MembershipSeen) -> summary::Placement {
        let mut placement = self.counts.clone();
        for double in &self.doubles {
            let near = |change: &Duration| {
                *change + CHANGE_SLACK >= double.from && *change <= double.until + CHANGE_SLACK
            };
            if seen.changes.iter().any(near) {
                placement.accepted_twice_in_change += 1;
            } else {
                placement.accepted_twice += 1;
                keep(&mut placement.examples, || double.text.clone());
            }
        }
        for ((term, view), count) in &self.claims {
            if seen.views.get(term).is_none_or(|views| views.contains(view)) {
                continue;
            }
            // A view can come and go between two requests for /cluster; but not when nothing changed at all.
            if seen.changes.is_empty() {
                placement.false_views += count;
                keep(&mut placement.examples, || {
                    format!("{count} receipts say alive {:?}, no node does", Ids(view))
                });
            } else {
                placement.unknown_view += count;
            }
        }
        placement
    }
}

/// Ids as the event lines print them: `[1, 2, 3]`.
struct Ids<'a>(&'a [NodeId]);

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|id| id.0)).finish()
    }
}

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&ids.join(" and "))
    }
}
