//! Samples in, counts out. Bounded memory at any number of uploads: histograms, counts per node and view, and a few
//! examples in words. Knows no clock, file or socket; says nothing about passing or failing (that is `judgement`).

mod bins;
pub(crate) mod examples;
mod placement;
mod points;

use std::collections::BTreeMap;
use std::time::Duration;

use pixseal::client::error::ErrorKind;
use pixseal::roster::NodeId;

use crate::balance::BalanceAnalysis;
use crate::latency_histogram::LatencyHistogram;
use crate::membership::MembershipSeen;
use crate::paint::{BAND_NAMES, BANDS, Plan};
use crate::sample::{Sample, UploadOutcome};
use crate::summary;
use bins::Bins;
use examples::keep;
use placement::Placements;
use points::Points;

pub(crate) struct Tally {
    offered: u64,
    stored: u64,
    retried: u64,
    bytes: u64,
    body_bytes_sent: u64,
    total: LatencyHistogram,
    offer: LatencyHistogram,
    transfer: LatencyHistogram,
    receipt: LatencyHistogram,
    late: LatencyHistogram,
    paint: LatencyHistogram,
    painted: Duration,
    busy: Duration,
    nodes: BTreeMap<NodeId, Share>,
    bands: [Share; BANDS],
    placements: Placements,
    setbacks: BTreeMap<(Option<NodeId>, ErrorKind), u64>,
    failures: summary::Failures,
    timeline: Bins,
    points: Points,
    last: Duration,
}

/// Uploads of one node or one size band.
#[derive(Clone, Default)]
struct Share {
    uploads: u64,
    bytes: u64,
    assigned: u64,
    seen_alive: bool,
    total: LatencyHistogram,
}

/// Counts of the whole cluster, for the live view.
pub(crate) struct Totals {
    /// Images offered, acknowledged or not.
    pub(crate) done: u64,
    /// Of them, not acknowledged.
    pub(crate) failed: u64,
    /// Images offered more than once.
    pub(crate) retried: u64,
    /// Acknowledged bytes.
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn new(user: &str, members: impl Iterator<Item = NodeId>) -> Tally {
        Tally {
            offered: 0,
            stored: 0,
            retried: 0,
            bytes: 0,
            body_bytes_sent: 0,
            total: LatencyHistogram::default(),
            offer: LatencyHistogram::default(),
            transfer: LatencyHistogram::default(),
            receipt: LatencyHistogram::default(),
            late: LatencyHistogram::default(),
            paint: LatencyHistogram::default(),
            painted: Duration::ZERO,
            busy: Duration::ZERO,
            nodes: members.map(|id| (id, Share::default())).collect(),
            bands: Default::default(),
            placements: Placements::new(user),
            setbacks: BTreeMap::new(),
            failures: summary::Failures::default(),
            timeline: Bins::default(),
            points: Points::default(),
            last: Duration::ZERO,
        }
    }

    /// Counts one upload. `held_back`: its last byte was sent late, to see whether the node waits for it.
    pub(crate) fn add(&mut self, sample: &Sample, name: &str, held_back: bool) {
        self.offered += 1;
        self.retried += u64::from(sample.rounds > 1);
        self.body_bytes_sent += sample.body_bytes_sent;
        for setback in &sample.setbacks {
            *self.setbacks.entry(*setback).or_default() += 1;
        }
        self.painted += sample.paint;
        self.busy += sample.paint + sample.total.saturating_sub(sample.late);
        let end = sample.intended + sample.total;
        self.last = self.last.max(end);
        self.placements.count_faults(sample, name, held_back);
        match &sample.outcome {
            UploadOutcome::Stored {
                node,
                views,
                term,
                claimed,
                ..
            } => {
                self.store(sample, *node);
                if let Some((owner, alive)) = self.placements.place(name, *node, views) {
                    self.nodes.entry(owner).or_default().assigned += 1;
                    for id in alive {
                        self.nodes.entry(*id).or_default().seen_alive = true;
                    }
                }
                if let ([view], true) = (views.as_slice(), *claimed) {
                    self.placements.claim(*term, view);
                }
                self.timeline
                    .add(end, 1, sample.bytes, 0, sample.setbacks.len() as u64);
            }
            UploadOutcome::Failed { cause, text } => {
                *self.failures.causes.entry(cause.to_string()).or_default() += 1;
                keep(&mut self.failures.examples, || format!("{name}: {text}"));
                self.timeline.add(end, 0, 0, 1, 0);
            }
        }
    }

    /// Uploads of each member so far, in rising order of id.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.nodes.iter().map(|(id, share)| (*id, share.uploads))
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            done: self.offered,
            failed: self.offered - self.stored,
            retried: self.retried,
            bytes: self.bytes,
        }
    }

    fn store(&mut self, sample: &Sample, node: NodeId) {
        self.stored += 1;
        self.bytes += sample.bytes;
        let share = self.nodes.entry(node).or_default();
        for share in [share, &mut self.bands[sample.band]] {
            share.uploads += 1;
            share.bytes += sample.bytes;
            share.total.record(sample.total);
        }
        self.total.record(sample.total);
        // An image that was sent at once was not offered: all of its time is in the receipt.
        if !sample.offer.is_zero() {
            self.offer.record(sample.offer);
            self.transfer.record(sample.transfer);
        }
        self.receipt.record(sample.receipt);
        self.late.record(sample.late);
        if !sample.paint.is_zero() {
            self.paint.record(sample.paint);
        }
        self.points
            .add((sample.bytes, sample.total.as_secs_f64() * 1e3, node.0));
    }

    /// The statistics of all views together.
    fn balance(&self) -> Option<summary::Balance> {
        let judged = BalanceAnalysis::of(&self.placements.upload_counts())?;
        let test = judged.test.map(|test| summary::UniformityTest {
            sigma_mean: test.sigma_mean,
            sigma_bound: test.sigma_bound,
            chi_square: test.chi_square,
            freedom: test.freedom,
            p_value: test.p_value,
            exact: test.exact,
            meaning: test.meaning().to_owned(),
        });
        Some(summary::Balance {
            sigma_percent: judged.sigma,
            grade: judged.grade.to_string(),
            test,
            views: self.placements.views(),
        })
    }

    /// Fills in everything of `summary` that comes from samples. `seen`: what nodes said about the membership.
    pub(crate) fn report(&self, plan: &Plan, seen: &MembershipSeen, summary: &mut summary::Summary) {
        let seconds = self.last.as_secs_f64();
        let (mut per_second, mut bytes_per_second) = self.timeline.rates();
        if seconds > 0.0 {
            per_second.value = self.stored as f64 / seconds;
            bytes_per_second.value = self.bytes as f64 / seconds;
        }
        summary.phases.upload_seconds = seconds;
        summary.phases.paint_percent = percent(self.painted.as_secs_f64(), self.busy.as_secs_f64());
        summary.uploads = summary::Uploads {
            offered: self.offered,
            stored: self.stored,
            failed: self.offered - self.stored,
            retried: self.retried,
            success_percent: percent(self.stored as f64, self.offered as f64),
            bytes: self.bytes,
            body_bytes_sent: self.body_bytes_sent,
            per_second,
            bytes_per_second,
        };
        summary.balance = self.balance();
        summary.nodes = self.node_rows();
        summary.bands = self.band_rows(plan);
        summary.placement = self.placements.summary(seen);
        summary.timeline = self.timeline.rows();
        summary.latency = summary::Latency {
            total: self.total.distribution(),
            offer: self.offer.distribution(),
            transfer: self.transfer.distribution(),
            receipt: self.receipt.distribution(),
            late: self.late.distribution(),
            paint: self.paint.distribution(),
            histogram: self.total.bins(),
        };
        let setback = |((node, cause), count): (&(Option<NodeId>, ErrorKind), &u64)| summary::Setback {
            node: node.map(|id| id.0),
            cause: cause.to_string(),
            count: *count,
        };
        summary.setbacks = self.setbacks.iter().map(setback).collect();
        summary.failures = self.failures.clone();
        summary.scatter = self.points.kept().to_vec();
    }

    fn node_rows(&self) -> Vec<summary::NodeSummary> {
        let expected = BalanceAnalysis::of(&self.placements.upload_counts())
            .map(|judged| judged.expected)
            .unwrap_or_default();
        let row = |(id, share): (&NodeId, &Share)| summary::NodeSummary {
            id: id.0,
            uploads: share.uploads,
            percent: percent(share.uploads as f64, self.stored as f64),
            expected: expected.get(id).copied().unwrap_or(0.0),
            bytes: share.bytes,
            bytes_percent: percent(share.bytes as f64, self.bytes as f64),
            assigned: share.assigned,
            seen_alive: share.seen_alive,
            latency: share.total.distribution(),
        };
        self.nodes.iter().map(row).collect()
    }

    fn band_rows(&self, plan: &Plan) -> Vec<summary::Band> {
        let row = |(band, share): (usize, &Share)| summary::Band {
            name: BAND_NAMES[band].to_owned(),
            side_min: plan.band(band).0,
            side_max: plan.band(band).1,
            uploads: share.uploads,
            bytes: share.bytes,
            latency: share.total.distribution(),
        };
        self.bands.iter().enumerate().map(row).collect()
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        seed: 1,
        side_min: 100,
        side_max: 200,
    };

    fn stored(number: u64, node: u32, alive: &[u32]) -> Sample {
        Sample {
            intended: Duration::from_secs(number),
            total: Duration::from_millis(10),
            rounds: 1,
            outcome: UploadOutcome::Stored {
                node: NodeId(node),
                copy: None,
                term: 1,
                views: vec![alive.iter().copied().map(NodeId).collect()],
                claimed: true,
                wrong_receipt: None,
            },
            ..Sample::untried(number, 0, 1000)
        }
    }

    fn reported(samples: &[Sample], seen: &MembershipSeen) -> summary::Summary {
        let mut tally = Tally::new("stresstest", (1..=3).map(NodeId));
        for sample in samples {
            tally.add(sample, &format!("stress_image_{}.png", sample.number), false);
        }
        let mut summary = summary::Summary::default();
        tally.report(&PLAN, seen, &mut summary);
        summary
    }

    #[test]
    fn placement_is_recomputed_from_name_and_view() {
        // Published vectors: among 1, 2, 3, image 1 belongs to node 1 and image 2 to node 2.
        let run = reported(
            &[stored(1, 1, &[1, 2, 3]), stored(2, 3, &[1, 2, 3])],
            &MembershipSeen::default(),
        );
        assert_eq!((run.placement.on_assigned, run.placement.misplaced), (1, 1));
        assert_eq!(
            run.placement.examples,
            ["stress_image_2.png is on node 3, it belongs to node 2 (alive: [1, 2, 3])"]
        );
        assert_eq!(
            run.nodes.iter().map(|node| node.assigned).collect::<Vec<_>>(),
            [1, 1, 0]
        );
        let alone = reported(&[stored(2, 3, &[3])], &MembershipSeen::default());
        assert_eq!(alone.placement.on_assigned, 1);
    }

    #[test]
    fn two_acceptances_are_forgiven_only_while_the_membership_changes() {
        let mut twice = stored(100, 1, &[1, 2, 3]);
        twice.also_accepted.push(NodeId(2));
        let seen = |seconds: u64| MembershipSeen {
            changes: vec![Duration::from_secs(seconds)],
            views: BTreeMap::new(),
        };
        for (change, fault) in [(90, 1), (98, 0), (100, 0), (102, 0), (103, 1)] {
            let placement = reported(&[twice.clone()], &seen(change)).placement;
            assert_eq!(
                (placement.accepted_twice, placement.accepted_twice_in_change),
                (fault, 1 - fault),
                "{change}"
            );
        }
    }

    #[test]
    fn failures_are_counted_and_spoil_no_latency() {
        let mut failed = Sample::untried(2, 0, 1000);
        failed.outcome = UploadOutcome::Failed {
            cause: ErrorKind::DiskFull,
            text: "full".to_owned(),
        };
        let run = reported(&[stored(1, 1, &[1, 2, 3]), failed], &MembershipSeen::default());
        assert_eq!((run.uploads.stored, run.uploads.failed), (1, 1));
        assert_eq!(run.uploads.success_percent, 50.0);
        assert_eq!(run.failures.examples, ["stress_image_2.png: full"]);
        assert_eq!(run.latency.total.count, 1);
    }
}
