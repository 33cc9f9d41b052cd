//! The report as a page: one file, drawings as inline SVG, nothing from the network, made to be printed as well.
//!
//! Pure: a [`Summary`] goes in, HTML comes out. Everything that came from a node is escaped.

use std::fmt::{self, Write};

use super::balance::uniform_sentence;
use super::charts::{histogram, percentiles, scatter, timeline};
use super::html::{escape, list};
use super::plot;
use super::units::bytes;
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
pub(crate) fn html(run: &Summary) -> String {
    let mut out = String::with_capacity(256 << 10);
    write(run, &mut out).expect("writing to memory does not fail");
    out
}

fn write(run: &Summary, out: &mut String) -> fmt::Result {
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

fn head(run: &Summary, out: &mut String) -> fmt::Result {
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

fn tiles(run: &Summary, out: &mut String) -> fmt::Result {
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

fn distribution(run: &Summary, out: &mut String) -> fmt::Result {
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

fn balance(run: &Summary, out: &mut String) -> fmt::Result {
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

fn latency_table(run: &Summary, out: &mut String) -> fmt::Result {
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

fn table_row(out: &mut String, name: &str, of: &Distribution) -> fmt::Result {
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

fn trouble(run: &Summary, out: &mut String) -> fmt::Result {
    write!(out, "<section><h2>Setbacks and drills</h2>")?;
    if run.setbacks.is_empty() {
        write!(out, "<p class=\"soft\">no image had to be offered twice</p>")?;
    }
    for setback in &run.setbacks {
        let who = setback.node.map_or(String::new(), |id| format!("node {id}: "));
        write!(out, "<p>{} × {who}{}</p>", setback.count, escape(&setback.cause))?;
    }
    for drill in &run.drills {
        let shown = |what: Option<f64>| what.map_or("not seen".to_owned(), milliseconds);
        write!(
            out,
            "<p>Drill {}: node {} out of every view after {}",
            escape(&drill.step),
            drill.node,
            shown(drill.detected_ms)
        )?;
        if drill.elected_ms.is_some() {
            write!(out, ", a new leader after {}", shown(drill.elected_ms))?;
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

fn milliseconds(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.1} ms"),
        v if v < 10_000.0 => format!("{v:.0} ms"),
        v => format!("{:.1} s", v / 1e3),
    }
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
