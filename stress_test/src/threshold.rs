//! `--fail-if`: bounds that a script sets on the figures of a run, such as `p99>500ms` or `rate<100`.

use std::fmt;

use crate::summary::Summary;

/// One bound. The run fails when the figure is on the named side of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    figure: Figure,
    above: bool,
    bound: f64,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Mean,
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    Rate,
    Throughput,
    Success,
    Sigma,
    PValue,
    Failed,
    Retried,
}

/// What a unit is in the figure's own measure.
type Units = &'static [(&'static str, f64)];

const FIGURES: [(&str, Figure, Units); 14] = [
    ("mean", Figure::Mean, DURATIONS),
    ("p50", Figure::P50, DURATIONS),
    ("p90", Figure::P90, DURATIONS),
    ("p95", Figure::P95, DURATIONS),
    ("p99", Figure::P99, DURATIONS),
    ("p99.9", Figure::P999, DURATIONS),
    ("max", Figure::Max, DURATIONS),
    ("rate", Figure::Rate, PLAIN),
    ("throughput", Figure::Throughput, SIZES),
    ("success", Figure::Success, PERCENT),
    ("sigma", Figure::Sigma, PERCENT),
    ("p", Figure::PValue, PLAIN),
    ("failed", Figure::Failed, PLAIN),
    ("retried", Figure::Retried, PLAIN),
];
/// Units and what they are in milliseconds; the first is meant when none is given.
const DURATIONS: Units = &[("ms", 1.0), ("", 1.0), ("us", 1e-3), ("s", 1e3)];
/// In bytes per second.
const SIZES: Units = &[("MB/s", 1e6), ("", 1e6), ("kB/s", 1e3), ("GB/s", 1e9)];
const PERCENT: Units = &[("%", 1.0), ("", 1.0)];
const PLAIN: Units = &[("", 1.0), ("/s", 1.0)];

impl Threshold {
    /// Reads `FIGURE>VALUE` or `FIGURE<VALUE`, with a unit behind the value where the figure has one.
    pub(crate) fn parse(text: &str) -> Result<Threshold, String> {
        let wrong = || {
            let names: Vec<&str> = FIGURES.iter().map(|(name, ..)| *name).collect();
            format!(
                "{text:?} is not FIGURE>VALUE or FIGURE<VALUE with a figure of: {}",
                names.join(", ")
            )
        };
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, value) = (text[..at].trim(), text[at + 1..].trim());
        let (_, figure, units) = FIGURES
            .iter()
            .find(|(known, ..)| *known == name)
            .ok_or_else(wrong)?;
        let end = value
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(value.len());
        let (number, unit) = (&value[..end], value[end..].trim());
        let (_, factor) = units.iter().find(|(known, _)| *known == unit).ok_or_else(|| {
            let known: Vec<&str> = units
                .iter()
                .map(|(unit, _)| *unit)
                .filter(|unit| !unit.is_empty())
                .collect();
            format!("{text:?}: {name} has the unit {}", known.join(" or "))
        })?;
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?}: {value:?} is not a number"))?;
        Ok(Threshold {
            figure: *figure,
            above: text[at..].starts_with('>'),
            bound: number * factor,
            text: text.to_owned(),
        })
    }

    /// A sentence if the run is on the wrong side. A figure that a run does not have crosses nothing.
    pub(crate) fn crossed(&self, run: &Summary) -> Option<String> {
        let total = &run.latency.total;
        let value = match self.figure {
            Figure::Mean => total.mean.value,
            Figure::P50 => total.p50.value,
            Figure::P90 => total.p90.value,
            Figure::P95 => total.p95.value,
            Figure::P99 => total.p99.value,
            Figure::P999 => total.p999.value,
            Figure::Max => total.max,
            Figure::Rate => run.uploads.per_second.value,
            Figure::Throughput => run.uploads.bytes_per_second.value,
            Figure::Success => run.uploads.success_percent,
            Figure::Sigma => run.balance.as_ref()?.sigma_percent,
            Figure::PValue => run.balance.as_ref()?.test.as_ref()?.p_value,
            Figure::Failed => run.uploads.failed as f64,
            Figure::Retried => run.uploads.retried as f64,
        };
        let wrong = if self.above {
            value > self.bound
        } else {
            value < self.bound
        };
        wrong.then(|| format!("threshold {self} crossed: it is {}", Shown(self.figure, value)))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Shown(Figure, f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.1;
        match self.0 {
            Figure::Rate => write!(f, "{value:.1} uploads/s"),
            Figure::Throughput => write!(f, "{:.1} MB/s", value / 1e6),
            Figure::Success | Figure::Sigma => write!(f, "{value:.2} %"),
            Figure::PValue => write!(f, "{value:.4}"),
            Figure::Failed | Figure::Retried => write!(f, "{value}"),
            _ => write!(f, "{value:.1} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_bounds_and_units_are_read() {
        for (text, above, bound) in [
            ("p99>500ms", true, 500.0),
            ("p99.9 > 1.5 s", true, 1500.0),
            ("max>250", true, 250.0),
            ("rate<100", false, 100.0),
            ("throughput<200MB/s", false, 2e8),
            ("success<100%", false, 100.0),
            ("p<0.01", false, 0.01),
        ] {
            let threshold = Threshold::parse(text).unwrap();
            assert_eq!((threshold.above, threshold.bound), (above, bound), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_known() {
        for (text, reason) in [
            ("p98>1", "figure of"),
            ("p99=5", "figure of"),
            ("p99>5kg", "unit ms"),
            ("p99>", "not a number"),
            ("", "figure of"),
        ] {
            let refusal = Threshold::parse(text).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
