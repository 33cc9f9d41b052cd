//! Durations by the million in bounded memory, and what can be said about them.
//!
//! An HDR histogram: every value is known to three digits, from a microsecond to an hour. Intervals are those of
//! independent samples: normal for the mean, order statistics for the percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::summary::{Distribution, Estimate};

const MICROSECONDS_MAX: u64 = 3_600_000_000;
const DIGITS: u8 = 3;
/// Of the normal distribution, for 95 %.
const Z: f64 = 1.96;
/// Bins of [`LatencyHistogram::bins`] for a factor of ten.
const BINS_PER_DECADE: f64 = 10.0;

/// A growing set of durations.
#[derive(Clone)]
pub(crate) struct LatencyHistogram(Histogram<u32>);

impl Default for LatencyHistogram {
    fn default() -> LatencyHistogram {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS);
        LatencyHistogram(histogram.expect("the bounds are constants that fit each other"))
    }
}

impl LatencyHistogram {
    /// Adds one; under a microsecond counts as one, over an hour as an hour.
    pub(crate) fn record(&mut self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(MICROSECONDS_MAX);
        self.0.saturating_record(microseconds.max(1));
    }

    /// The percentiles, mean and extremes, in milliseconds.
    pub(crate) fn distribution(&self) -> Distribution {
        let count = self.0.len();
        if count == 0 {
            return Distribution::default();
        }
        let (mean, deviation) = (self.0.mean() / 1e3, self.0.stdev() / 1e3);
        Distribution {
            count,
            mean: around(mean, Z * deviation / (count as f64).sqrt()),
            deviation,
            min: milliseconds(self.0.min()),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: milliseconds(self.0.max()),
        }
    }

    /// Upper edges in milliseconds, growing by a tenth of a decade, and counts, from the first filled bin to the
    /// last.
    pub(crate) fn bins(&self) -> Vec<(f64, u64)> {
        let bin_of = |value: u64| (milliseconds(value).log10() * BINS_PER_DECADE).ceil();
        let mut bins: Vec<(f64, u64)> = Vec::new();
        for step in self.0.iter_recorded() {
            let bin = bin_of(step.value_iterated_to());
            while bins.last().is_some_and(|(last, _)| *last < bin - 0.5) {
                bins.push((bins[bins.len() - 1].0 + 1.0, 0));
            }
            if bins.is_empty() {
                bins.push((bin, 0));
            }
            let last = bins.len() - 1;
            bins[last].1 += step.count_since_last_iteration();
        }
        bins.into_iter()
            .map(|(bin, count)| (10_f64.powf(bin / BINS_PER_DECADE), count))
            .collect()
    }

    fn quantile(&self, q: f64) -> Estimate {
        let count = self.0.len() as f64;
        let spread = Z * (q * (1.0 - q) / count).sqrt();
        let at = |q: f64| milliseconds(self.0.value_at_quantile(q.clamp(0.0, 1.0)));
        Estimate {
            value: at(q),
            low: at(q - spread),
            high: at(q + spread),
        }
    }
}

/// The mean of some values with its interval.
pub(crate) fn estimate(values: impl Iterator<Item = f64> + Clone) -> Estimate {
    let count = values.clone().count() as f64;
    if count == 0.0 {
        return Estimate::default();
    }
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    around(mean, Z * (variance / count).sqrt())
}

fn around(value: f64, margin: f64) -> Estimate {
    Estimate {
        value,
        low: (value - margin).max(0.0),
        high: value + margin,
    }
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_known_to_three_digits() {
        let mut histogram = LatencyHistogram::default();
        for i in 1..=10_000 {
            histogram.record(Duration::from_micros(i * 10));
        }
        let found = histogram.distribution();
        for (got, want) in [
            (found.p50.value, 50.0),
            (found.p99.value, 99.0),
            (found.max, 100.0),
            (found.mean.value, 50.0),
        ] {
            assert!((got / want - 1.0).abs() < 0.002, "{got} is not {want}");
        }
        assert!(found.p50.low < 50.0 && found.p50.high > 50.0 && found.p50.low > 48.0);
        assert_eq!(found.count, 10_000);
    }

    #[test]
    fn bins_hold_everything_without_gaps() {
        let mut histogram = LatencyHistogram::default();
        for milliseconds in [1, 1, 5, 900] {
            histogram.record(Duration::from_millis(milliseconds));
        }
        let bins = histogram.bins();
        assert_eq!(bins.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(
            bins.windows(2)
                .all(|pair| (pair[1].0 / pair[0].0 - 1.2589).abs() < 0.001)
        );
        assert_eq!(bins[0].1, 2);
        assert_eq!(LatencyHistogram::default().bins(), []);
    }

    #[test]
    fn what_is_out_of_range_is_kept_at_the_edge() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(1_000_000));
        assert_eq!(histogram.distribution().count, 2);
        assert_eq!(LatencyHistogram::default().distribution().count, 0);
    }
}
