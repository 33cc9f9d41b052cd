//! How evenly uploads are spread: sigma, its grade, and what a perfect hash would give.
//!
//! Pure: counts in, judgement out. When the alive set changes during a run, each
//! set is a view of its own with its own expectation, and the views are added: chi-square and its degrees of
//! freedom are sums, since the views share no upload.
//!
//! ```text
//! sigma      population standard deviation of (taken − expected) of each node, in percent of all uploads
//!            (for one view: of the nodes' percentages)
//! E[sigma²]  = 10⁴ / (N² K) · Σ over views of n (1 − 1/k)      N uploads, K nodes; n uploads, k nodes of a view
//! sigma      ≈ √(E[sigma²] / (K−1)) · χ(K−1)                   exact in the limit for one view
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pixseal::roster::NodeId;

use crate::chi_square::{ChiSquareTest, UploadCounts, uploads};

/// The grades of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Sigma under 1 %.
    Perfect,
    /// Under 5 %.
    Excellent,
    /// Under 10 %.
    Good,
    /// Under 15 %.
    Acceptable,
    /// Everything else.
    Poor,
}

/// The judgement over all views together.
#[derive(Clone, Debug, PartialEq)]
pub struct BalanceAnalysis {
    /// Expected uploads of each node that was in a view.
    pub expected: BTreeMap<NodeId, f64>,
    /// In percent of all uploads.
    pub sigma: f64,
    /// Grade of `sigma`.
    pub grade: Grade,
    /// The comparison with a perfect hash; `None` with a single node.
    pub test: Option<ChiSquareTest>,
}

impl Grade {
    /// The grade of a sigma in percent.
    pub(crate) fn of(sigma: f64) -> Grade {
        match sigma {
            s if s < 1.0 => Grade::Perfect,
            s if s < 5.0 => Grade::Excellent,
            s if s < 10.0 => Grade::Good,
            s if s < 15.0 => Grade::Acceptable,
            _ => Grade::Poor,
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl BalanceAnalysis {
    /// Judges the views together; `None` when there was no upload.
    pub fn of(views: &[UploadCounts]) -> Option<BalanceAnalysis> {
        let views: Vec<&UploadCounts> = views.iter().filter(|view| uploads(view) > 0).collect();
        let total: u64 = views.iter().map(|view| uploads(view)).sum();
        if total == 0 {
            return None;
        }
        let nodes: BTreeSet<NodeId> = views.iter().flat_map(|view| view.keys().copied()).collect();
        let mut expected: BTreeMap<NodeId, f64> = nodes.iter().map(|id| (*id, 0.0)).collect();
        let mut surplus = expected.clone();
        for view in &views {
            let share = uploads(view) as f64 / view.len() as f64;
            for (id, taken) in *view {
                *expected.entry(*id).or_default() += share;
                *surplus.entry(*id).or_default() += *taken as f64 - share;
            }
        }
        let squares: f64 = surplus.values().map(|s| s * s).sum();
        let sigma = 100.0 / total as f64 * (squares / nodes.len() as f64).sqrt();
        Some(BalanceAnalysis {
            expected,
            sigma,
            grade: Grade::of(sigma),
            test: ChiSquareTest::of(&views, nodes.len(), total),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(uploads: &[u64]) -> UploadCounts {
        (1..).map(NodeId).zip(uploads.iter().copied()).collect()
    }

    fn balance(uploads: &[u64]) -> BalanceAnalysis {
        BalanceAnalysis::of(&[counts(uploads)]).unwrap()
    }

    fn near(left: f64, right: f64, within: f64) {
        assert!((left - right).abs() < within, "{left} is not {right}");
    }

    #[test]
    fn the_examples_of_the_seed_have_their_sigma_and_grade() {
        near(balance(&[666, 667, 667]).sigma, 0.02, 0.01);
        near(balance(&[624, 712, 664]).sigma, 1.80, 0.01);
        near(balance(&[0, 0, 2000]).sigma, 47.14, 0.005);
        assert_eq!(balance(&[0, 0, 2000]).grade, Grade::Poor);
        for (sigma, grade) in [
            (0.0, Grade::Perfect),
            (0.999, Grade::Perfect),
            (1.0, Grade::Excellent),
            (5.0, Grade::Good),
            (10.0, Grade::Acceptable),
            (15.0, Grade::Poor),
        ] {
            assert_eq!(Grade::of(sigma), grade);
        }
    }

    #[test]
    fn a_perfect_hash_over_three_nodes_gives_the_published_sigma() {
        let test = balance(&[659, 665, 676]).test.unwrap();
        near(test.sigma_mean, 0.934, 0.001);
        near(test.sigma_bound, 1.824, 0.001);
        near(test.chi_square, 0.223, 0.001);
        near(test.p_value, (-test.chi_square / 2.0).exp(), 1e-9);
        assert_eq!((test.freedom, test.meaning()), (2, "consistent with uniform"));
    }

    #[test]
    fn a_node_lost_halfway_is_no_imbalance() {
        let before = counts(&[334, 333, 333]);
        let after: UploadCounts = [(NodeId(1), 500), (NodeId(2), 500)].into();
        let judged = BalanceAnalysis::of(&[before, after]).unwrap();
        assert!(judged.sigma < 0.1, "{}", judged.sigma);
        assert_eq!(judged.test.unwrap().freedom, 3);
        near(judged.expected[&NodeId(3)], 1000.0 / 3.0, 1e-9);
        near(judged.expected[&NodeId(1)], 1000.0 / 3.0 + 500.0, 1e-9);
    }

    #[test]
    fn nothing_to_spread_is_nothing_to_judge() {
        assert_eq!(BalanceAnalysis::of(&[]), None);
        assert_eq!(BalanceAnalysis::of(&[counts(&[0, 0])]), None);
        let single = balance(&[5]);
        assert_eq!((single.sigma, single.test), (0.0, None));
    }
}
