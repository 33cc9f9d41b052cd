//! Two runs side by side: what differs, and whether the difference exceeds the noise.
//!
//! Each figure has a 95 % interval from its own run. Only intervals that do not overlap are called a difference, which is
//! cautious. Noise between runs (another day, another machine) is in no single run: repeat a run unchanged and compare
//! to see it.

use std::fmt::Write;
use std::path::Path;

use crate::summary::{Estimate, SCHEMA, Summary};

/// The comparison of two JSON files, for people.
pub fn files(a: &Path, b: &Path) -> Result<String, String> {
    let read = |path: &Path| -> Result<Summary, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let run: Summary =
            serde_json::from_str(&text).map_err(|e| format!("{}: not a run: {e}", path.display()))?;
        match run.schema == SCHEMA {
            true => Ok(run),
            false => Err(format!(
                "{}: schema {:?}, this program reads {SCHEMA:?}",
                path.display(),
                run.schema
            )),
        }
    };
    let (first, second) = (read(a)?, read(b)?);
    Ok(text(&first, &second))
}

/// The comparison of two runs, for people.
pub(crate) fn text(a: &Summary, b: &Summary) -> String {
    let mut out = String::new();
    write_all(a, b, &mut out).expect("writing to memory does not fail");
    out
}

fn write_all(a: &Summary, b: &Summary, out: &mut String) -> std::fmt::Result {
    for difference in settings(a, b) {
        writeln!(out, "note: not the same {difference}")?;
    }
    writeln!(out, "{:<28}{:>12}{:>12}{:>10}", "", "A", "B", "B to A")?;
    let (la, lb) = (&a.latency, &b.latency);
    let rate = |run: &Summary| run.uploads.per_second;
    let volume = |run: &Summary| scaled(run.uploads.bytes_per_second, 1e-6);
    row(out, "uploads/s", rate(a), rate(b), true)?;
    row(out, "MB/s", volume(a), volume(b), true)?;
    for (name, x, y) in [
        ("latency mean, ms", la.total.mean, lb.total.mean),
        ("latency p50, ms", la.total.p50, lb.total.p50),
        ("latency p90, ms", la.total.p90, lb.total.p90),
        ("latency p99, ms", la.total.p99, lb.total.p99),
        ("latency p99.9, ms", la.total.p999, lb.total.p999),
        ("offer p50, ms", la.offer.p50, lb.offer.p50),
        ("transfer p50, ms", la.transfer.p50, lb.transfer.p50),
        ("receipt p50, ms", la.receipt.p50, lb.receipt.p50),
    ] {
        row(out, name, x, y, false)?;
    }
    for (name, x, y) in [
        ("images stored", a.uploads.stored, b.uploads.stored),
        ("images failed", a.uploads.failed, b.uploads.failed),
        ("images offered again", a.uploads.retried, b.uploads.retried),
    ] {
        writeln!(out, "{name:<28}{x:>12}{y:>12}")?;
    }
    let verdict = |run: &Summary| if run.verdict.passed { "passed" } else { "failed" };
    writeln!(out, "{:<28}{:>12}{:>12}", "verdict", verdict(a), verdict(b))?;
    writeln!(
        out,
        "\nNoise is that within each run: intervals of 95 %. Repeat a run unchanged to see that between runs."
    )
}

fn row(out: &mut String, name: &str, a: Estimate, b: Estimate, more_is_better: bool) -> std::fmt::Result {
    let change = if a.value > 0.0 {
        format!("{:+.1} %", 100.0 * (b.value / a.value - 1.0))
    } else {
        "-".to_owned()
    };
    let apart = a.high < b.low || b.high < a.low;
    let judgement = match (apart, (b.value > a.value) == more_is_better) {
        (false, _) => "within the noise",
        (true, true) => "better, beyond the noise",
        (true, false) => "WORSE, beyond the noise",
    };
    writeln!(
        out,
        "{name:<28}{:>12.1}{:>12.1}{change:>10}  {judgement}",
        a.value, b.value
    )
}

fn scaled(of: Estimate, factor: f64) -> Estimate {
    Estimate {
        value: of.value * factor,
        low: of.low * factor,
        high: of.high * factor,
    }
}

/// Settings that differ, which makes the comparison less fair.
fn settings(a: &Summary, b: &Summary) -> Vec<String> {
    let (x, y) = (&a.settings, &b.settings);
    let rate = |rate: Option<f64>| rate.map_or("closed-loop".to_owned(), |rate| rate.to_string());
    let pairs = [
        ("number of images", x.images.to_string(), y.images.to_string()),
        (
            "sizes",
            format!("{} to {}", x.side_min, x.side_max),
            format!("{} to {}", y.side_min, y.side_max),
        ),
        (
            "concurrency",
            x.concurrency.to_string(),
            y.concurrency.to_string(),
        ),
        ("rate", rate(x.rate), rate(y.rate)),
        (
            "number of nodes",
            x.cluster.len().to_string(),
            y.cluster.len().to_string(),
        ),
        ("offer", x.offer.clone(), y.offer.clone()),
        ("source", x.source.clone(), y.source.clone()),
    ];
    let different = pairs.into_iter().filter(|(_, x, y)| x != y);
    different
        .map(|(name, x, y)| format!("{name}: {x} and {y}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, p99: f64) -> Summary {
        let around = |value: f64| Estimate {
            value,
            low: value * 0.95,
            high: value * 1.05,
        };
        let mut run = Summary::default();
        run.uploads.per_second = around(rate);
        run.latency.total.p99 = around(p99);
        run
    }

    fn line(text: &str, name: &str) -> String {
        text.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    }

    #[test]
    fn only_intervals_that_do_not_meet_are_a_difference() {
        let report = text(&run(100.0, 50.0), &run(104.0, 80.0));
        assert!(
            line(&report, "uploads/s").ends_with("+4.0 %  within the noise"),
            "{report}"
        );
        assert!(
            line(&report, "latency p99, ms").ends_with("+60.0 %  WORSE, beyond the noise"),
            "{report}"
        );
        let report = text(&run(100.0, 80.0), &run(150.0, 50.0));
        assert!(
            line(&report, "uploads/s").contains("better")
                && line(&report, "latency p99, ms").contains("better"),
            "{report}"
        );
    }

    #[test]
    fn unequal_settings_are_pointed_out() {
        let mut other = run(1.0, 1.0);
        other.settings.concurrency = 16;
        assert!(text(&run(1.0, 1.0), &other).starts_with("note: not the same concurrency: 0 and 16\n"));
    }
}
