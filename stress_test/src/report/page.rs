//! The report as a page: one file, drawings as inline SVG, nothing from the network, made to be printed as well.
//!
//! Pure: a [`Summary`] goes in, HTML comes out. Everything that came from a node is escaped.

use std::fmt::Write;

use super::plot::{self, Axis, Frame};
use super::{bytes, uniform_sentence};
use crate::summary::{Distribution, Summary};

const STYLE: &str = "\
:root{color-scheme:light;--ink:#1c2430;--soft:#66707f;--line:#dfe3e8;--good:#1a7f4b;--bad:#b3261e;--odd:#8a5a00}
*{box-sizing:border-box}body{margin:0 auto;padding:28px 32px;max-width:1080px;background:#fff;color:var(--ink);
font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
h1{font-size:22px;margin:0}h2{font-size:15px;margin:0 0 6px}p{margin:4px 0}small,.soft{color:var(--soft)}
header{border-bottom:1px solid var(--line);padding-bottom:14px;margin-bottom:18px}
.verdict{font-weight:600;font-size:17px;margin:8px 0}.good{color:var(--good)}.bad{color:var(--bad)}.odd{color:var(--odd)}
.tiles{display:grid;grid-template-columns:repeat(6,1fr);gap:10px;margin-bottom:18px}
.tiles div{border:1px solid var(--line);border-radius:6px;padding:8px 10px}.tiles b{display:block;font-size:19px;font-weight:600}
.grid{display:grid;grid-template-columns:1fr 1fr;gap:18px}.wide{grid-column:1/-1}
section{border:1px solid var(--line);border-radius:6px;padding:12px 14px;break-inside:avoid}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:2px 6px;border-bottom:1px solid var(--line)}th{font-weight:500;color:var(--soft)}
th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:var(--soft)}ul{margin:4px 0;padding-left:18px}
@media print{body{padding:0;max-width:none;font-size:11px}.grid{gap:10px}@page{margin:14mm}}
";

/// The whole page.
pub fn html(run: &Summary) -> String {
    let mut out = String::with_capacity(256 << 10);
    write(run, &mut out).expect("writing to memory does not fail");
    out
}

/// The most columns of the throughput over time.
const COLUMNS_MAX: usize = 60;

type Written = Result<(), std::fmt::Error>;

fn write(run: &Summary, out: &mut String) -> Written {
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>pixseal stress test</title>"
    )?;
    write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>"
    )?;
    head(run, out)?;
    tiles(run, out)?;
    write!(out, "<div class=\"grid\">")?;
    distribution(run, out)?;
    balance(run, out)?;
    timeline(run, out)?;
    histogram(run, out)?;
    percentiles(run, out)?;
    scatter(run, out)?;
    latency_table(run, out)?;
    trouble(run, out)?;
    write!(out, "</div>")?;
    write!(
        out,
        "<p><small>stress_test {} · schema {}</small></p></body></html>",
        escape(&run.version),
        escape(&run.schema)
    )
}

fn head(run: &Summary, out: &mut String) -> Written {
    let settings = &run.settings;
    write!(out, "<header><h1>pixseal stress test</h1>")?;
    write!(
        out,
        "<p class=\"soft\">{} images of {} to {} px, seed {} · {} nodes · {} · offered to {} · {} · verify {}</p>",
        settings.images,
        settings.side_min,
        settings.side_max,
        settings.seed,
        settings.cluster.len(),
        match settings.rate {
            Some(rate) => format!("open-loop at {rate} uploads/s, measured from the intended start"),
            None => format!("closed-loop, {} at a time", settings.concurrency),
        },
        match settings.offer.as_str() {
            "all" => "all nodes",
            _ => "the assigned node",
        },
        match settings.source.as_str() {
            "disk" => "images from disk",
            _ => "images painted in memory",
        },
        escape(&settings.verify)
    )?;
    if run.verdict.passed {
        write!(out, "<p class=\"verdict good\">✓✓✓ SYSTEM PASSED ALL TESTS</p>")?;
    }
    for fault in run.verdict.faults.iter().chain(&run.verdict.crossed) {
        write!(out, "<p class=\"verdict bad\">✗ {}</p>", escape(fault))?;
    }
    for warning in &run.verdict.warnings {
        write!(out, "<p class=\"odd\">⚠ {}</p>", escape(warning))?;
    }
    for remedy in &run.verdict.remedies {
        write!(out, "<p>→ {}</p>", escape(remedy))?;
    }
    write!(out, "</header>")
}

fn tiles(run: &Summary, out: &mut String) -> Written {
    let uploads = &run.uploads;
    write!(out, "<div class=\"tiles\">")?;
    for (value, name) in [
        (
            format!("{} of {}", uploads.stored, uploads.offered),
            "images stored",
        ),
        (format!("{:.1}/s", uploads.per_second.value), "uploads"),
        (
            format!("{}/s", bytes(uploads.bytes_per_second.value)),
            "throughput",
        ),
        (milliseconds(run.latency.total.p50.value), "p50"),
        (milliseconds(run.latency.total.p99.value), "p99"),
        (format!("{:.2} %", uploads.success_percent), "success"),
    ] {
        write!(out, "<div><b>{value}</b><small>{name}</small></div>")?;
    }
    write!(out, "</div>")
}

fn distribution(run: &Summary, out: &mut String) -> Written {
    write!(out, "<section><h2>Load distribution</h2>")?;
    let rows: Vec<plot::Bar> = run
        .nodes
        .iter()
        .map(|node| plot::Bar {
            name: format!("Node {}", node.id),
            value: node.percent,
            second: node.bytes_percent,
            mark: if run.uploads.stored > 0 {
                100.0 * node.expected / run.uploads.stored as f64
            } else {
                0.0
            },
            text: format!(
                "{:.1} %  {} uploads, {}",
                node.percent,
                node.uploads,
                bytes(node.bytes as f64)
            ),
        })
        .collect();
    plot::bars(out, &rows)?;
    write!(
        out,
        "<small>wide: share of the uploads; narrow: of the bytes; line: what a perfect hash gives on average</small></section>"
    )
}

fn balance(run: &Summary, out: &mut String) -> Written {
    write!(out, "<section><h2>Balance and placement</h2>")?;
    if let Some(balance) = &run.balance {
        write!(
            out,
            "<p>Standard deviation <b>{:.2} %</b>: {} balance</p>",
            balance.sigma_percent,
            escape(&balance.grade)
        )?;
        if let Some(sentence) = uniform_sentence(balance) {
            write!(out, "<p class=\"soft\">{}</p>", escape(&sentence))?;
        }
        for view in balance.views.iter().filter(|_| balance.views.len() > 1) {
            write!(
                out,
                "<p class=\"soft\">alive {:?}: {:?}</p>",
                view.alive, view.uploads
            )?;
        }
    }
    let placement = &run.placement;
    write!(
        out,
        "<p>{} of {} on the assigned node",
        placement.on_assigned, run.uploads.stored
    )?;
    write!(
        out,
        " · {} accepted twice · {} answered early (of {} tried)</p>",
        placement.accepted_twice, placement.answered_early, placement.held_back
    )?;
    let read = &run.verification;
    write!(
        out,
        "<p>{} of {} read back as they were generated</p>",
        read.equal, read.checked
    )?;
    let examples = placement
        .examples
        .iter()
        .chain(&read.examples)
        .chain(&run.failures.examples);
    list(out, "bad", examples)?;
    write!(out, "</section>")
}

fn timeline(run: &Summary, out: &mut String) -> Written {
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

fn histogram(run: &Summary, out: &mut String) -> Written {
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

fn percentiles(run: &Summary, out: &mut String) -> Written {
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

fn scatter(run: &Summary, out: &mut String) -> Written {
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

fn latency_table(run: &Summary, out: &mut String) -> Written {
    write!(
        out,
        "<section class=\"wide\"><h2>Latency in milliseconds</h2><table><tr><th></th>"
    )?;
    for column in ["uploads", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"] {
        write!(out, "<th>{column}</th>")?;
    }
    write!(out, "</tr>")?;
    let latency = &run.latency;
    table_row(out, "whole upload", &latency.total)?;
    table_row(out, "offer, until 100", &latency.offer)?;
    table_row(out, "transfer of the body", &latency.transfer)?;
    table_row(out, "from the last byte to the receipt", &latency.receipt)?;
    if run.settings.rate.is_some() {
        table_row(out, "behind schedule", &latency.late)?;
    }
    for node in &run.nodes {
        table_row(out, &format!("Node {}", node.id), &node.latency)?;
    }
    for band in &run.bands {
        table_row(
            out,
            &format!("{} ({} to {} px)", band.name, band.side_min, band.side_max),
            &band.latency,
        )?;
    }
    write!(out, "</table></section>")
}

fn table_row(out: &mut String, name: &str, of: &Distribution) -> Written {
    write!(out, "<tr><td>{}</td><td>{}</td>", escape(name), of.count)?;
    for value in [
        of.mean.value,
        of.p50.value,
        of.p90.value,
        of.p95.value,
        of.p99.value,
        of.p999.value,
        of.max,
    ] {
        write!(out, "<td>{value:.1}</td>")?;
    }
    write!(out, "</tr>")
}

fn trouble(run: &Summary, out: &mut String) -> Written {
    write!(out, "<section><h2>Setbacks and drills</h2>")?;
    if run.setbacks.is_empty() {
        write!(out, "<p class=\"soft\">no image had to be offered twice</p>")?;
    }
    for setback in &run.setbacks {
        let who = setback.node.map_or(String::new(), |id| format!("node {id}: "));
        write!(out, "<p>{} × {who}{}</p>", setback.count, escape(&setback.cause))?;
    }
    for drill in &run.drills {
        let told = |what: Option<f64>| what.map_or("not seen".to_owned(), milliseconds);
        write!(
            out,
            "<p>Drill {}: node {} out of every view after {}",
            escape(&drill.step),
            drill.node,
            told(drill.detected_ms)
        )?;
        if drill.elected_ms.is_some() {
            write!(out, ", a new leader after {}", told(drill.elected_ms))?;
        }
        write!(out, "</p>")?;
    }
    write!(out, "</section><section><h2>Processors and memory</h2>")?;
    let used = &run.resources;
    write!(
        out,
        "<p>Client: {:.1} s ({:.0} % of {} cores), at most {}</p>",
        used.client_cpu_seconds,
        used.client_cpu_percent,
        used.cores,
        bytes(used.client_rss_bytes_max as f64)
    )?;
    for server in &used.servers {
        write!(
            out,
            "<p>Node {}: {:.1} s, at most {}</p>",
            server.node,
            server.cpu_seconds,
            bytes(server.rss_bytes_max as f64)
        )?;
    }
    if used.shares_machine {
        write!(
            out,
            "<p class=\"soft\">Client and servers shared the machine's cores.</p>"
        )?;
    }
    write!(out, "</section>")
}

fn list<'a>(out: &mut String, class: &str, items: impl Iterator<Item = &'a String>) -> Written {
    write!(out, "<ul class=\"{class}\">")?;
    for item in items {
        write!(out, "<li>{}</li>", escape(item))?;
    }
    write!(out, "</ul>")
}

fn top(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.001, f64::max) * 1.08
}

fn milliseconds(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.1} ms"),
        v if v < 10_000.0 => format!("{v:.0} ms"),
        v => format!("{:.1} s", v / 1e3),
    }
}

/// Text for HTML and for attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_run_still_makes_a_page() {
        let page = html(&Summary::default());
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn a_page_needs_nothing_from_outside_and_trusts_nobody() {
        let mut run = Summary::default();
        run.failures
            .examples
            .push("<script>alert(1)</script> & \"more\"".to_owned());
        let page = html(&run);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"));
        for outside in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
