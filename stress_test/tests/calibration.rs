//! Are the p-values what they claim to be? A thousand runs of a perfect hash, at each size that matters.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use fastrand::Rng;
use pixseal::roster::NodeId;
use stress_test::balance::BalanceAnalysis;
use stress_test::chi_square::UploadCounts;

const RUNS: u64 = 1000;
/// Kolmogorov's bound for a thousand values: a right test exceeds it once in a hundred seeds.
const DISTANCE_MAX: f64 = 1.63 / 31.62;

fn perfect_run(random: &mut Rng, uploads: u64, nodes: u32) -> UploadCounts {
    let mut view: UploadCounts = (1..=nodes).map(|id| (NodeId(id), 0)).collect();
    for _ in 0..uploads {
        let id = 1 + random.u32(0..nodes);
        *view.get_mut(&NodeId(id)).unwrap() += 1;
    }
    view
}

/// The largest distance between the share of p-values up to p and p itself, at the values that occur: between
/// them a count of uploads, being whole, has no p-value to offer.
fn distance_from_uniform(mut p_values: Vec<f64>) -> f64 {
    p_values.sort_by(f64::total_cmp);
    let count = p_values.len() as f64;
    let tops =
        (1..=p_values.len()).filter(|&i| p_values.get(i).is_none_or(|next| next - p_values[i - 1] > 1e-9));
    tops.map(|i| (i as f64 / count - p_values[i - 1]).abs())
        .fold(0.0, f64::max)
}

#[test]
fn p_values_of_a_perfect_hash_are_uniform_at_every_size() {
    for nodes in [2, 3, 5] {
        for uploads in [30, 100, 500, 2000, 10_000] {
            let mut random = Rng::with_seed(uploads + u64::from(nodes));
            let p_values = (0..RUNS)
                .map(|_| {
                    BalanceAnalysis::of(&[perfect_run(&mut random, uploads, nodes)])
                        .unwrap()
                        .test
                        .unwrap()
                        .p_value
                })
                .collect();
            let distance = distance_from_uniform(p_values);
            assert!(
                distance < DISTANCE_MAX,
                "{uploads} uploads on {nodes} nodes: {distance}"
            );
        }
    }
}

#[test]
fn p_values_stay_uniform_when_a_node_is_lost_halfway() {
    let mut random = Rng::with_seed(11);
    let p_values = (0..RUNS)
        .map(|_| {
            let views = [
                perfect_run(&mut random, 1000, 3),
                perfect_run(&mut random, 1000, 2),
            ];
            BalanceAnalysis::of(&views).unwrap().test.unwrap().p_value
        })
        .collect();
    assert!(distance_from_uniform(p_values) < DISTANCE_MAX);
}

#[test]
fn the_sigma_of_a_perfect_hash_has_the_announced_mean_and_bound() {
    for uploads in [30, 100, 500, 2000, 10_000] {
        let mut random = Rng::with_seed(uploads);
        let (mut sum, mut under, mut announced) = (0.0, 0, None);
        for _ in 0..RUNS {
            let balance = BalanceAnalysis::of(&[perfect_run(&mut random, uploads, 3)]).unwrap();
            let test = balance.test.unwrap();
            sum += balance.sigma;
            under += u32::from(balance.sigma < test.sigma_bound);
            announced = Some(test.sigma_mean);
        }
        let (mean, announced) = (sum / RUNS as f64, announced.unwrap());
        assert!(
            (mean / announced - 1.0).abs() < 0.06,
            "{uploads}: {mean} instead of {announced}"
        );
        assert!(
            (930..=970).contains(&under),
            "{uploads}: {under} of 1000 under the 95 % bound"
        );
    }
}

#[test]
fn a_skewed_hash_is_found_out_at_two_thousand_uploads() {
    let mut random = Rng::with_seed(5);
    let found = (0..RUNS)
        .filter(|_| {
            let mut view: UploadCounts = (1..=3).map(|id| (NodeId(id), 0)).collect();
            for _ in 0..2000 {
                let id = if random.u32(0..20) == 0 {
                    1
                } else {
                    random.u32(1..=3)
                };
                *view.get_mut(&NodeId(id)).unwrap() += 1;
            }
            BalanceAnalysis::of(&[view]).unwrap().test.unwrap().p_value < 0.05
        })
        .count();
    assert!(found > 700, "{found} of {RUNS}");
}
