//! The drawings of the page: throughput over time, latencies, latency against size.

use std::fmt::{self, Write};

use super::html::{escape, list};
use super::plot::{self, Axis, Frame};
use crate::summary::Summary;

/// The most columns of the throughput over time.
const COLUMNS_MAX: usize = 60;

pub(crate) fn timeline(run: &Summary, out: &mut String) -> fmt::Result {
    let line = &run.timeline;
    write!(out, "<section class=\"wide\"><h2>Throughput</h2>")?;
    // Bins of a tenth of a second are mostly noise to the eye.
    let group = line.uploads.len().div_ceil(COLUMNS_MAX).max(1);
    let width = (line.bin_seconds * group as f64).max(f64::EPSILON);
    let per_second = |counts: &[u64]| -> Vec<f64> {
        counts
            .chunks(group)
            .map(|bins| bins.iter().sum::<u64>() as f64 / width)
            .collect()
    };
    let rates = per_second(&line.uploads);
    let megabytes: Vec<f64> = per_second(&line.bytes).iter().map(|rate| rate / 1e6).collect();
    let seconds = width * rates.len() as f64;
    let frame = Frame {
        width: 1000.0,
        height: 230.0,
        x: Axis::linear(0.0, seconds, "seconds"),
        y: Axis::linear(0.0, top(&rates), "uploads/s"),
    };
    frame.open(out)?;
    frame.steps(out, &rates, width, "#3b74c4")?;
    let second = Frame {
        y: Axis::linear(0.0, top(&megabytes), "MB/s"),
        ..frame
    };
    second.line(
        out,
        megabytes
            .iter()
            .enumerate()
            .map(|(i, value)| ((i as f64 + 0.5) * width, *value)),
        "#d9822b",
    )?;
    second.right_axis(out, "#d9822b")?;
    for event in run
        .events
        .iter()
        .filter(|event| event.at_seconds > 0.0 && event.at_seconds <= seconds)
    {
        frame.mark(out, event.at_seconds, &escape(&event.text))?;
    }
    frame.close(out)?;
    write!(
        out,
        "<small>blue: acknowledged uploads per second; orange: megabytes per second; dashed: the membership changed</small>"
    )?;
    if !run.events.is_empty() {
        let events: Vec<String> = run
            .events
            .iter()
            .map(|e| format!("{:.2} s  {}", e.at_seconds, e.text))
            .collect();
        list(out, "soft", events.iter())?;
    }
    write!(out, "</section>")
}

pub(crate) fn histogram(run: &Summary, out: &mut String) -> fmt::Result {
    write!(out, "<section><h2>Latency histogram</h2>")?;
    let bins = &run.latency.histogram;
    if let (Some(first), Some(last)) = (bins.first(), bins.last()) {
        let step = 10_f64.powf(0.1);
        let counts: Vec<f64> = bins.iter().map(|(_, count)| *count as f64).collect();
        let frame = Frame {
            width: 480.0,
            height: 240.0,
            x: Axis::logarithmic(first.0 / step, last.0, "ms until the receipt"),
            y: Axis::linear(0.0, top(&counts), "uploads"),
        };
        frame.open(out)?;
        for (edge, count) in bins {
            frame.column(out, edge / step, *edge, *count as f64, "#3b74c4")?;
        }
        let total = &run.latency.total;
        for (name, value) in [("p50", total.p50.value), ("p99", total.p99.value)] {
            frame.mark(out, value, name)?;
        }
        frame.close(out)?;
    }
    write!(out, "</section>")
}

pub(crate) fn percentiles(run: &Summary, out: &mut String) -> fmt::Result {
    write!(out, "<section><h2>Latency percentiles</h2>")?;
    let total = &run.latency.total;
    // The share of slower uploads, so that each nine takes the same room.
    let points = [
        (0.5, total.p50),
        (0.1, total.p90),
        (0.05, total.p95),
        (0.01, total.p99),
        (0.001, total.p999),
    ];
    let highest = total.p999.high.max(total.max).max(0.001);
    let frame = Frame {
        width: 480.0,
        height: 240.0,
        x: Axis::nines(),
        y: Axis::linear(0.0, highest * 1.05, "ms until the receipt"),
    };
    frame.open(out)?;
    frame.band(
        out,
        points.iter().map(|(slower, at)| (1.0 / slower, at.low, at.high)),
    )?;
    frame.line(
        out,
        points.iter().map(|(slower, at)| (1.0 / slower, at.value)),
        "#3b74c4",
    )?;
    frame.close(out)?;
    write!(out, "<small>shaded: 95 % interval</small></section>")
}

pub(crate) fn scatter(run: &Summary, out: &mut String) -> fmt::Result {
    write!(out, "<section class=\"wide\"><h2>Latency against size</h2>")?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let largest = run
        .scatter
        .iter()
        .map(|point| megabytes(point.0))
        .fold(0.001, f64::max);
    let slowest = run.scatter.iter().map(|point| point.1).fold(0.001, f64::max);
    let frame = Frame {
        width: 1000.0,
        height: 260.0,
        x: Axis::linear(0.0, largest * 1.02, "MB"),
        y: Axis::linear(0.0, slowest * 1.05, "ms until the receipt"),
    };
    frame.open(out)?;
    let ids: Vec<u32> = run.nodes.iter().map(|node| node.id).collect();
    for (size, latency, node) in &run.scatter {
        let index = ids.iter().position(|id| id == node).unwrap_or(0);
        frame.dot(out, megabytes(*size), *latency, plot::colour(index))?;
    }
    frame.close(out)?;
    write!(
        out,
        "<small>{} of {} uploads",
        run.scatter.len(),
        run.uploads.stored
    )?;
    for (index, id) in ids.iter().enumerate() {
        write!(
            out,
            " · <span style=\"color:{}\">●</span> node {id}",
            plot::colour(index)
        )?;
    }
    write!(out, "</small></section>")
}

fn top(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.001, f64::max) * 1.08
}
