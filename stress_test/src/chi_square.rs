//! Pearson's chi-square test of counts against even shares, and its p-value. Knows nothing of uploads but their number.

use std::collections::BTreeMap;

use pixseal::roster::NodeId;
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// A p-value below this one is hardly chance.
pub(crate) const P_SUSPICIOUS: f64 = 0.01;
/// With a p-value above this one the counts are more even than those of a hash.
pub(crate) const P_TOO_EVEN: f64 = 0.999;

/// While there are at most this many ways to spread the uploads, the p-value is counted exactly, not approximated:
/// chi-square's smooth tail is off by up to 0.07 at 30 uploads.
const OUTCOMES_MAX: f64 = 50_000.0;

/// How many uploads each alive node of one view took; nodes that took none are there with 0.
pub type UploadCounts = BTreeMap<NodeId, u64>;

/// The comparison with a perfect hash, which spreads uploads evenly but for chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquareTest {
    /// The sigma of a perfect hash on average, in percent.
    pub sigma_mean: f64,
    /// The sigma that 95 of 100 perfect hashes stay under, in percent.
    pub sigma_bound: f64,
    /// Pearson's statistic.
    pub chi_square: f64,
    /// Its degrees of freedom, at least 1.
    pub freedom: u32,
    /// How often the uploads of a perfect hash are at least this uneven, 0 to 1.
    pub p_value: f64,
    /// Whether `p_value` was counted over all outcomes.
    pub exact: bool,
}

impl ChiSquareTest {
    pub(crate) fn of(views: &[&UploadCounts], nodes: usize, total: u64) -> Option<ChiSquareTest> {
        let freedom: usize = views.iter().map(|view| view.len() - 1).sum();
        if freedom == 0 {
            return None;
        }
        let freedom = u32::try_from(freedom).expect("nodes are bounded by the cluster file");
        let spread = u32::try_from(nodes - 1).expect("nodes are bounded by the cluster file");
        let scatter: f64 = views
            .iter()
            .map(|v| uploads(v) as f64 * (1.0 - 1.0 / v.len() as f64))
            .sum();
        let variance = 1e4 * scatter / (total as f64 * total as f64 * nodes as f64);
        let unit = (variance / f64::from(spread)).sqrt();
        let chi_square = views.iter().map(|view| chi_square(view)).sum();
        let counted = match views {
            [view] => exact_p(view),
            _ => None,
        };
        Some(ChiSquareTest {
            sigma_mean: unit * chi_mean(spread),
            sigma_bound: unit * chi_square_quantile(spread, 0.95).sqrt(),
            chi_square,
            freedom,
            p_value: counted.unwrap_or_else(|| chi_square_tail(freedom, chi_square)),
            exact: counted.is_some(),
        })
    }

    /// What the p-value means, in a few words.
    pub(crate) fn meaning(&self) -> &'static str {
        match self.p_value {
            p if p < 1e-6 => "no uniform hash does this",
            p if p < P_SUSPICIOUS => "a uniform hash hardly ever does this",
            p if p < 0.05 => "unusual for a uniform hash, but no proof against it",
            // An exact p-value is 1 at the most even outcome, which few uploads reach by chance often enough.
            p if p > P_TOO_EVEN && !self.exact => "more even than a hash is: taking turns looks like this",
            _ => "consistent with uniform",
        }
    }
}

/// `= 0.64`; a very small one is `< 0.0001`.
pub(crate) fn p_text(p: f64) -> String {
    match p {
        p if p < 0.0001 => "< 0.0001".to_owned(),
        p if p < 0.01 => format!("= {p:.4}"),
        p => format!("= {p:.2}"),
    }
}

pub(crate) fn uploads(view: &UploadCounts) -> u64 {
    view.values().sum()
}

fn chi_square(view: &UploadCounts) -> f64 {
    let expected = uploads(view) as f64 / view.len() as f64;
    view.values()
        .map(|taken| (*taken as f64 - expected).powi(2) / expected)
        .sum()
}

/// The chance that the sum of squared counts, which chi-square is a linear function of, comes out as large as here
/// or larger, over all outcomes; `None` when there are too many of them.
fn exact_p(view: &UploadCounts) -> Option<f64> {
    let (n, k) = (uploads(view), view.len() as u64);
    let mut outcomes = 1.0;
    for i in 1..k {
        outcomes *= (n + i) as f64 / i as f64;
        if outcomes > OUTCOMES_MAX {
            return None;
        }
    }
    let mut ln_factorials = vec![0.0];
    for i in 1..=n {
        ln_factorials.push(ln_factorials[ln_factorials.len() - 1] + (i as f64).ln());
    }
    let observed = view.values().map(|taken| taken * taken).sum();
    let whole = ln_factorials[ln_factorials.len() - 1] - n as f64 * (k as f64).ln();
    Some(weight_from(observed, k, n, 0, whole, &ln_factorials).min(1.0))
}

/// The summed chance of all outcomes that spread `left` uploads over `nodes` more nodes and end at a sum of squares
/// of at least `observed`, given the sum and the logarithm of the chance so far.
fn weight_from(
    observed: u64,
    nodes: u64,
    left: u64,
    squares: u64,
    ln_chance: f64,
    ln_factorials: &[f64],
) -> f64 {
    let ln_factorial = |i: u64| ln_factorials[usize::try_from(i).expect("bounded by OUTCOMES_MAX")];
    if nodes == 1 {
        let enough = squares + left * left >= observed;
        return if enough {
            (ln_chance - ln_factorial(left)).exp()
        } else {
            0.0
        };
    }
    (0..=left)
        .map(|take| {
            let chance = ln_chance - ln_factorial(take);
            weight_from(
                observed,
                nodes - 1,
                left - take,
                squares + take * take,
                chance,
                ln_factorials,
            )
        })
        .sum()
}

/// The chance that a chi-square variable is at least `x`.
pub(crate) fn chi_square_tail(freedom: u32, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    gamma_ur(f64::from(freedom) / 2.0, x / 2.0)
}

/// The `x` that a chi-square variable stays under with chance `below`, by bisection.
pub(crate) fn chi_square_quantile(freedom: u32, below: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0 * f64::from(freedom) + 100.0);
    while high - low > 1e-9 * high {
        let middle = (low + high) / 2.0;
        if chi_square_tail(freedom, middle) > 1.0 - below {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The mean of the square root of a chi-square variable: √2 Γ((f+1)/2) / Γ(f/2).
fn chi_mean(freedom: u32) -> f64 {
    2.0_f64.sqrt() * (ln_gamma(f64::from(freedom + 1) / 2.0) - ln_gamma(f64::from(freedom) / 2.0)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(uploads: &[u64]) -> UploadCounts {
        (1..).map(NodeId).zip(uploads.iter().copied()).collect()
    }

    fn test_of(uploads: &[u64]) -> ChiSquareTest {
        ChiSquareTest::of(&[&counts(uploads)], uploads.len(), uploads.iter().sum()).unwrap()
    }

    fn near(left: f64, right: f64, within: f64) {
        assert!((left - right).abs() < within, "{left} is not {right}");
    }

    #[test]
    fn tails_agree_with_published_tables() {
        for (freedom, x, tail) in [
            (1, 3.841_459, 0.05),
            (1, 10.827_566, 0.001),
            (2, 5.991_465, 0.05),
            (3, 0.351_846, 0.95),
            (4, 9.487_729, 0.05),
            (10, 18.307_038, 0.05),
            (100, 124.342_113, 0.05),
            (255, 293.247_835, 0.05),
        ] {
            near(chi_square_tail(freedom, x), tail, 1e-6);
            near(chi_square_quantile(freedom, 1.0 - tail), x, 1e-4);
        }
        assert_eq!(chi_square_tail(3, 0.0), 1.0);
        assert!(chi_square_tail(2, 4000.0) < 1e-300);
    }

    #[test]
    fn few_uploads_are_counted_out() {
        let test = test_of(&[2, 0]);
        assert!(test.exact);
        near(test.p_value, 0.5, 1e-12);
        near(test_of(&[3, 0, 0]).p_value, 1.0 / 9.0, 1e-12);
        near(test_of(&[10, 10, 10]).p_value, 1.0, 1e-9);
        assert!(!test_of(&[500, 500, 500]).exact);
    }

    #[test]
    fn extreme_counts_are_named_for_what_they_are() {
        assert_eq!(test_of(&[0, 0, 2000]).meaning(), "no uniform hash does this");
        assert!(test_of(&[1000, 1000, 1000]).meaning().starts_with("more even"));
        assert_eq!(
            (p_text(1e-9), p_text(0.0012), p_text(0.64)),
            ("< 0.0001".into(), "= 0.0012".into(), "= 0.64".into())
        );
    }
}
