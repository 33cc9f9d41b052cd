//! Whether a run passed; if not, why, and what to do about it. Knows only the [`Summary`].

use pixseal::client::error::ErrorKind;

use crate::chi_square::P_SUSPICIOUS;
use crate::stop_signal::RunEnd;
use crate::summary::{Judgement, Summary};
use crate::threshold::Threshold;

/// More than this share of the images must be acknowledged, in percent.
pub(crate) const SUCCESS_PERCENT_MIN: f64 = 95.0;
/// A distribution with this sigma or more is poor, in percent.
pub(crate) const SIGMA_PERCENT_MAX: f64 = 15.0;
/// Fewer uploads per second mean that something is wrong.
const SLOW_PER_SECOND: f64 = 0.5;
/// Above this share of the processors' time the client may be the bottleneck, in percent.
const CLIENT_PERCENT_MAX: f64 = 50.0;

/// Judges a run.
pub(crate) fn judge(run: &Summary, end: RunEnd, thresholds: &[Threshold]) -> Judgement {
    let mut faults = end_fault(run, end);
    let balancing = balancing_faults(run);
    if run.uploads.offered == 0 {
        faults.push("No image was offered".to_owned());
    } else if run.uploads.success_percent <= SUCCESS_PERCENT_MIN {
        faults.push(format!(
            "Success rate is {:.2} %, more than {SUCCESS_PERCENT_MIN:.0} % is needed",
            run.uploads.success_percent
        ));
    }
    let unbalanced = !balancing.is_empty();
    faults.extend(balancing);
    faults.extend(handling_faults(run));
    if unbalanced {
        faults.push("Load balancing is NOT working!".to_owned());
    }
    Judgement {
        passed: faults.is_empty(),
        interrupted: end == RunEnd::Interrupted,
        timed_out: end == RunEnd::TimedOut,
        faults,
        warnings: warnings(run),
        crossed: thresholds
            .iter()
            .filter_map(|threshold| threshold.crossed(run))
            .collect(),
        remedies: remedies(run, end),
    }
}

impl Judgement {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Judgement {
                interrupted: true, ..
            } => 130,
            Judgement { timed_out: true, .. } => 3,
            Judgement { passed: false, .. } => 1,
            Judgement { crossed, .. } if !crossed.is_empty() => 4,
            _ => 0,
        }
    }
}

fn end_fault(run: &Summary, end: RunEnd) -> Vec<String> {
    let (done, all) = (run.uploads.offered, run.settings.images);
    match end {
        RunEnd::Complete => vec![],
        RunEnd::Interrupted => vec![format!("Interrupted after {done} of {all} images")],
        RunEnd::TimedOut => vec![format!(
            "Timed out after {} s, with {done} of {all} images",
            run.settings.timeout_seconds
        )],
        RunEnd::GivenUp => vec![format!(
            "Given up after {done} of {all} images: nothing was accepted any more"
        )],
    }
}

/// Whether the nodes share the work as they should.
fn balancing_faults(run: &Summary) -> Vec<String> {
    let mut faults = Vec::new();
    if run.uploads.stored == 0 {
        return faults;
    }
    let used = run.nodes.iter().filter(|node| node.uploads > 0).count();
    let idle: Vec<_> = run
        .nodes
        .iter()
        .filter(|node| node.uploads == 0 && (node.assigned > 0 || !node.seen_alive))
        .collect();
    if used == 1 && !idle.is_empty() {
        faults.push("Only 1 node is processing requests".to_owned());
    }
    for node in idle {
        let why = match node.seen_alive {
            true => format!("{} of the images belong to it", node.assigned),
            false => "it was not alive at any time".to_owned(),
        };
        faults.push(format!("Node {} is not processing requests ({why})", node.id));
    }
    if let Some(balance) = &run.balance {
        let by_chance = balance
            .test
            .as_ref()
            .is_none_or(|test| test.p_value >= P_SUSPICIOUS);
        if balance.sigma_percent >= SIGMA_PERCENT_MAX && !by_chance {
            faults.push(format!(
                "Poor balance: σ = {:.0} %, p < {P_SUSPICIOUS}",
                balance.sigma_percent
            ));
        }
    }
    if run.placement.misplaced > 0 {
        faults.push(format!(
            "{} of {} images are not on the node they are assigned to",
            run.placement.misplaced, run.uploads.stored
        ));
    }
    if run.placement.accepted_twice > 0 {
        faults.push(format!(
            "{} images were accepted by more than one node",
            run.placement.accepted_twice
        ));
    }
    faults
}

/// Whether nodes do with images what their answers say.
fn handling_faults(run: &Summary) -> Vec<String> {
    let (placement, read) = (&run.placement, &run.verification);
    let counted = [
        (
            placement.answered_early,
            "images were acknowledged before the node had them",
        ),
        (
            placement.false_views,
            "receipts name alive nodes that no node's /cluster shows",
        ),
        (
            placement.wrong_receipts,
            "receipts do not describe the image that was sent",
        ),
        (read.missing, "acknowledged images are lost"),
        (read.different, "images came back with other bytes than were sent"),
        (
            read.undone,
            "acknowledged writes were undone: an older copy is served again",
        ),
        (read.unreadable, "acknowledged images could not be read back"),
    ];
    counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

fn warnings(run: &Summary) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |when: bool, text: String| {
        if when {
            warnings.push(text);
        }
    };
    warn(
        run.uploads.failed > 0,
        format!("{} uploads failed", run.uploads.failed),
    );
    warn(
        run.placement.unknown_view > 0,
        format!(
            "{} images were placed by a view of the membership that was not seen on any node",
            run.placement.unknown_view
        ),
    );
    warn(
        run.placement.accepted_twice_in_change > 0,
        format!(
            "{} images were accepted by more than one node while the membership changed (harmless: the newest version counts)",
            run.placement.accepted_twice_in_change
        ),
    );
    warn(
        run.verification.unversioned > 0,
        format!(
            "{} receipts name no version: whether these writes were undone could not be checked",
            run.verification.unversioned
        ),
    );
    if let Some(balance) = &run.balance {
        let passable = balance.sigma_percent >= 5.0 && balance.sigma_percent < SIGMA_PERCENT_MAX;
        let small = balance
            .test
            .as_ref()
            .is_some_and(|test| balance.sigma_percent <= test.sigma_bound);
        warn(
            passable && !small,
            "Distribution is acceptable but not perfect".to_owned(),
        );
        warn(
            balance.sigma_percent >= 5.0 && small,
            format!(
                "{} images are too few to judge the balance by its sigma",
                run.uploads.stored
            ),
        );
    }
    warn(
        run.resources.client_cpu_percent > CLIENT_PERCENT_MAX,
        format!(
            "The client itself used {:.0} % of the processors: it may be the bottleneck",
            run.resources.client_cpu_percent
        ),
    );
    let late = run.latency.late.p50.value;
    warn(
        run.settings.rate.is_some() && late > run.latency.offer.p50.value.max(10.0),
        format!("The rate was not reached: half of the uploads began {late:.0} ms or more behind schedule"),
    );
    warnings
}

/// For each visible problem, its likely cause and what to do.
fn remedies(run: &Summary, end: RunEnd) -> Vec<String> {
    let mut remedies = Vec::new();
    let setbacks = |cause: &str| -> u64 {
        run.setbacks
            .iter()
            .filter(|s| s.cause.starts_with(cause))
            .map(|s| s.count)
            .sum()
    };
    let mut advise = |when: bool, text: &str| {
        if when {
            remedies.push(text.to_owned());
        }
    };
    advise(
        matches!(end, RunEnd::TimedOut),
        "Out of time: look whether all servers respond (client status), how full the disk is (df -h .) and how long \
         offers take; or use fewer (-n 500) or smaller images (--max-size 1000), or a longer --timeout",
    );
    advise(
        run.failures.causes.contains_key(&ErrorKind::DiskFull.to_string()),
        "Out of disk space, or of what the user may have (--user-quota): remove old images (make clean-images), or use \
         fewer (-n) or smaller ones (--max-size)",
    );
    advise(
        setbacks("unreachable") > run.uploads.offered / 2 && run.drills.is_empty(),
        "A node could not be reached most of the time: look at its log, or start it (make cluster)",
    );
    advise(
        setbacks("busy") > run.uploads.offered / 2,
        "The nodes were asked for more than they can do at once: use a lower --concurrency or --rate, or more --workers",
    );
    let slow = run.uploads.stored > 0
        && run.uploads.per_second.value < SLOW_PER_SECOND
        && run.settings.rate.is_none();
    advise(slow, slow_cause(run));
    remedies
}

/// Which phase of an upload takes the time.
fn slow_cause(run: &Summary) -> &'static str {
    let latency = &run.latency;
    let (offer, transfer, receipt) = (
        latency.offer.mean.value,
        latency.transfer.mean.value,
        latency.receipt.mean.value,
    );
    if offer > transfer && offer > receipt {
        "Throughput is very low, and most of the time goes into offers: the network's latency, or overloaded servers"
    } else if transfer > receipt {
        "Throughput is very low, and most of the time goes into sending: the network's bandwidth, or servers short of \
         processor time; build in release mode"
    } else {
        "Throughput is very low, and most of the time goes into waiting for receipts: the servers' disks; see iostat -x 1"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Balance, NodeSummary, UniformityTest};

    /// A run of three nodes that took this many images each, all of them on the right node.
    fn run(counts: [u64; 3]) -> Summary {
        let mut run = Summary::default();
        let total: u64 = counts.iter().sum();
        run.settings.images = total;
        run.uploads.offered = total;
        run.uploads.stored = total;
        run.uploads.success_percent = 100.0;
        run.uploads.per_second.value = 100.0;
        let node = |(id, uploads)| NodeSummary {
            id,
            uploads,
            percent: 0.0,
            expected: 0.0,
            bytes: 0,
            bytes_percent: 0.0,
            assigned: uploads,
            seen_alive: true,
            latency: Default::default(),
        };
        run.nodes = (1..).zip(counts).map(node).collect();
        run.balance = Some(Balance {
            sigma_percent: 0.5,
            grade: "Perfect".to_owned(),
            test: None,
            views: vec![],
        });
        run
    }

    fn faults(run: &Summary) -> Vec<String> {
        judge(run, RunEnd::Complete, &[]).faults
    }

    #[test]
    fn an_even_run_passes_and_exits_with_0() {
        let verdict = judge(&run([666, 667, 667]), RunEnd::Complete, &[]);
        assert!(verdict.passed && verdict.warnings.is_empty() && verdict.remedies.is_empty());
        assert_eq!(verdict.exit_code(), 0);
    }

    #[test]
    fn a_node_without_images_is_a_fault_only_if_some_belong_to_it() {
        assert!(faults(&run([2, 1, 0])).is_empty());
        let mut idle = run([2000, 0, 0]);
        idle.nodes[1].assigned = 700;
        idle.nodes[2].seen_alive = false;
        assert_eq!(
            faults(&idle),
            [
                "Only 1 node is processing requests",
                "Node 2 is not processing requests (700 of the images belong to it)",
                "Node 3 is not processing requests (it was not alive at any time)",
                "Load balancing is NOT working!"
            ]
        );
    }

    #[test]
    fn a_poor_sigma_counts_only_when_chance_does_not_explain_it() {
        let named = [
            "Poor balance: σ = 27 %, p < 0.01",
            "Load balancing is NOT working!",
        ];
        for (p_value, expected) in [(0.5, &named[..0]), (0.001, &named[..])] {
            let mut uneven = run([5, 1, 1]);
            let balance = uneven.balance.as_mut().unwrap();
            balance.sigma_percent = 27.0;
            balance.test = Some(UniformityTest {
                sigma_mean: 15.0,
                sigma_bound: 30.0,
                chi_square: 4.0,
                freedom: 2,
                p_value,
                exact: true,
                meaning: String::new(),
            });
            assert_eq!(faults(&uneven), expected);
        }
    }

    #[test]
    fn success_must_be_over_95_percent() {
        let mut run = run([10, 10, 10]);
        for (percent, passes) in [(95.0, false), (95.01, true)] {
            run.uploads.success_percent = percent;
            assert_eq!(faults(&run).is_empty(), passes);
        }
    }

    #[test]
    fn exit_codes_tell_the_ends_apart() {
        let crossed = [Threshold::parse("rate>1").unwrap()];
        let code = |end, thresholds: &[Threshold]| judge(&run([1, 1, 1]), end, thresholds).exit_code();
        assert_eq!(code(RunEnd::Interrupted, &crossed), 130);
        assert_eq!(code(RunEnd::TimedOut, &crossed), 3);
        assert_eq!(code(RunEnd::GivenUp, &crossed), 1);
        assert_eq!(code(RunEnd::Complete, &crossed), 4);
        let mut lost = run([1, 1, 1]);
        lost.verification.missing = 1;
        assert_eq!(judge(&lost, RunEnd::Complete, &crossed).exit_code(), 1);
    }

    #[test]
    fn every_trouble_of_the_seed_gets_its_remedy() {
        let remedy = |change: &dyn Fn(&mut Summary), end| {
            let mut run = run([10, 10, 10]);
            change(&mut run);
            judge(&run, end, &[]).remedies.join("; ")
        };
        assert!(remedy(&|_| {}, RunEnd::TimedOut).contains("-n 500"));
        let full = |run: &mut Summary| {
            run.failures.causes.insert(ErrorKind::DiskFull.to_string(), 3);
        };
        assert!(remedy(&full, RunEnd::Complete).contains("make clean-images"));
        let slow = |run: &mut Summary| {
            run.uploads.per_second.value = 0.3;
            run.latency.receipt.mean.value = 900.0;
        };
        assert!(remedy(&slow, RunEnd::Complete).contains("iostat"));
    }
}
