//! The report in a terminal, in the words that its readers know.

use std::fmt::{self, Write};

use super::balance::{balance, distribution};
use super::colours::{Colours, mark_of};
use super::units::bytes;
use crate::summary::{Distribution, Summary};

/// The whole report.
pub(crate) fn text(run: &Summary, colours: Colours) -> String {
    let mut out = String::new();
    for part in [
        distribution,
        balance,
        performance,
        latency,
        nodes_and_bands,
        trouble,
        verification,
        resources,
        verdict,
    ] {
        part(run, colours, &mut out).expect("writing to memory does not fail");
    }
    out
}

fn performance(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
    let uploads = &run.uploads;
    writeln!(out, "\nPerformance Metrics:")?;
    writeln!(out, "  - Throughput: {:.1} uploads/sec", uploads.per_second.value)?;
    writeln!(
        out,
        "  - Average latency: {:.3} sec/upload",
        run.latency.total.mean.value / 1e3
    )?;
    writeln!(out, "  - Success rate: {:.2}%", uploads.success_percent)?;
    writeln!(
        out,
        "  - Volume: {} images, {} in {:.1} s, {}/s; bodies sent {}",
        uploads.stored,
        bytes(uploads.bytes as f64),
        run.phases.upload_seconds,
        bytes(uploads.bytes_per_second.value),
        bytes(uploads.body_bytes_sent as f64),
    )?;
    match run.settings.rate {
        Some(rate) => writeln!(
            out,
            "  - Load: open-loop, {rate} uploads/sec, measured from the intended start"
        ),
        None => writeln!(
            out,
            "  - Load: closed-loop, {} at a time: the next upload waits for an answer to the one before",
            run.settings.concurrency
        ),
    }?;
    match run.settings.source.as_str() {
        "disk" => writeln!(
            out,
            "  - Images: generated to disk first, in {:.1} s",
            run.phases.generate_seconds
        ),
        _ => writeln!(
            out,
            "  - Images: painted before each upload, {:.1} % of the time",
            run.phases.paint_percent
        ),
    }
}

fn latency(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
    let columns = ["p50", "p90", "p95", "p99", "p99.9", "max"];
    write!(out, "\nLatency (ms):       ")?;
    for column in columns {
        write!(out, "{column:>9}")?;
    }
    writeln!(out)?;
    let latency = &run.latency;
    row(out, "whole upload", &latency.total)?;
    row(out, "offer, to 100", &latency.offer)?;
    row(out, "transfer", &latency.transfer)?;
    row(out, "receipt", &latency.receipt)?;
    if run.settings.rate.is_some() {
        row(out, "behind schedule", &latency.late)?;
    }
    Ok(())
}

fn row(out: &mut String, name: &str, of: &Distribution) -> fmt::Result {
    write!(out, "  {name:<18}")?;
    for value in [
        of.p50.value,
        of.p90.value,
        of.p95.value,
        of.p99.value,
        of.p999.value,
        of.max,
    ] {
        write!(out, "{value:>9.1}")?;
    }
    writeln!(out)
}

fn nodes_and_bands(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
    for node in &run.nodes {
        row(out, &format!("Node {}", node.id), &node.latency)?;
    }
    for band in &run.bands {
        let name = format!("{} {}", band.name, band.uploads);
        row(out, &name, &band.latency)?;
    }
    Ok(())
}

fn trouble(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
    if !run.events.is_empty() || !run.drills.is_empty() {
        writeln!(out, "\nEvents:")?;
    }
    for event in &run.events {
        writeln!(out, "  {:>8.2} s  {}", event.at_seconds, event.text)?;
    }
    for drill in &run.drills {
        let shown = |what: Option<f64>| what.map_or("not seen".to_owned(), |ms| format!("{ms:.0} ms"));
        write!(
            out,
            "  Drill {} (node {}): out of every view after {}",
            drill.step,
            drill.node,
            shown(drill.detected_ms)
        )?;
        match drill.elected_ms {
            Some(ms) => writeln!(out, ", a new leader after {ms:.0} ms")?,
            None => writeln!(out)?,
        }
    }
    if !run.drills.is_empty() {
        let affected = run.uploads.retried;
        let read = &run.verification;
        let lost = read.missing + read.different + read.undone + read.unreadable;
        writeln!(
            out,
            "  Uploads retried: {affected}, failed: {}, lost: {lost}",
            run.uploads.failed
        )?;
    }
    if !run.setbacks.is_empty() {
        writeln!(
            out,
            "\nSetbacks ({} images were offered more than once):",
            run.uploads.retried
        )?;
    }
    for setback in &run.setbacks {
        let who = setback.node.map_or(String::new(), |id| format!("node {id}: "));
        writeln!(out, "  {:>6} × {who}{}", setback.count, setback.cause)?;
    }
    if !run.failures.causes.is_empty() {
        writeln!(out, "\nFailures:")?;
        for (cause, count) in &run.failures.causes {
            writeln!(out, "  {count:>6} × {cause}")?;
        }
        for example in &run.failures.examples {
            writeln!(out, "    {example}")?;
        }
    }
    Ok(())
}

fn verification(run: &Summary, colours: Colours, out: &mut String) -> fmt::Result {
    let read = &run.verification;
    writeln!(out, "\nVerification ({}):", run.settings.verify)?;
    if read.checked == 0 {
        return writeln!(out, "  nothing was read back");
    }
    let line = format!(
        "{} of {} read back as they were generated",
        read.equal, read.checked
    );
    let right = read.equal == read.checked;
    let line = if right {
        colours.good(&line)
    } else {
        colours.bad(&line)
    };
    writeln!(
        out,
        "  {} {line}, in {:.1} s",
        mark_of(right),
        run.phases.verify_seconds
    )?;
    for (count, what) in [
        (read.missing, "missing"),
        (read.different, "different"),
        (read.undone, "undone"),
        (read.unreadable, "unreadable"),
    ] {
        if count > 0 {
            writeln!(out, "  {} {count} {what}", colours.bad("✗"))?;
        }
    }
    for example in &read.examples {
        writeln!(out, "    {example}")?;
    }
    Ok(())
}

fn resources(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
    let used = &run.resources;
    writeln!(out, "\nResources:")?;
    writeln!(
        out,
        "  Client: {:.1} s of processor time while uploading ({:.0} % of {} cores), at most {} of memory",
        used.client_cpu_seconds,
        used.client_cpu_percent,
        used.cores,
        bytes(used.client_rss_bytes_max as f64)
    )?;
    for server in &used.servers {
        writeln!(
            out,
            "  Node {}: {:.1} s of processor time, at most {} of memory",
            server.node,
            server.cpu_seconds,
            bytes(server.rss_bytes_max as f64)
        )?;
    }
    if used.shares_machine {
        writeln!(
            out,
            "  Client and servers share this machine's cores: each is slower than it would be alone"
        )?;
    }
    Ok(())
}

fn verdict(run: &Summary, colours: Colours, out: &mut String) -> fmt::Result {
    let verdict = &run.verdict;
    writeln!(out)?;
    for warning in &verdict.warnings {
        writeln!(out, "{}", colours.odd(&format!("⚠ {warning}")))?;
    }
    if verdict.passed {
        writeln!(out, "{}", colours.good("✓✓✓ SYSTEM PASSED ALL TESTS"))?;
    }
    for fault in &verdict.faults {
        let line = match fault.as_str() {
            "Load balancing is NOT working!" => format!("✗ {fault}"),
            _ => format!("✗ FAIL: {fault}"),
        };
        writeln!(out, "{}", colours.bad(&line))?;
    }
    for crossed in &verdict.crossed {
        writeln!(out, "{}", colours.bad(&format!("✗ {crossed}")))?;
    }
    for remedy in &verdict.remedies {
        writeln!(out, "  → {remedy}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Balance, NodeSummary, UniformityTest, ViewSummary};

    fn run() -> Summary {
        let mut run = Summary::default();
        run.uploads.stored = 2000;
        run.uploads.success_percent = 100.0;
        run.placement.on_assigned = 2000;
        run.verdict.passed = true;
        let counts = [(1, 659), (2, 665), (3, 676)];
        run.nodes = counts
            .map(|(id, uploads)| NodeSummary {
                id,
                uploads,
                percent: uploads as f64 / 20.0,
                expected: 666.7,
                bytes: 1_000_000,
                bytes_percent: 33.3,
                assigned: uploads,
                seen_alive: true,
                latency: Distribution::default(),
            })
            .to_vec();
        run.balance = Some(Balance {
            sigma_percent: 0.35,
            grade: "Perfect".to_owned(),
            test: Some(UniformityTest {
                sigma_mean: 0.934,
                sigma_bound: 1.824,
                chi_square: 0.223,
                freedom: 2,
                p_value: 0.894,
                exact: false,
                meaning: "consistent with uniform".to_owned(),
            }),
            views: vec![ViewSummary {
                alive: vec![1, 2, 3],
                uploads: counts.into(),
            }],
        });
        run
    }

    #[test]
    fn the_report_speaks_the_words_of_the_seed() {
        let text = text(&run(), Colours::Off);
        for line in [
            "Load Distribution (%):",
            "Node 1:  33.0%  ████████████████ (659 uploads)",
            "Node 2:  33.2%  ████████████████ (665 uploads)",
            "  Expected per node: 33.3%",
            "  Standard deviation: 0.35%",
            "  ✓ Perfect balance (σ < 1%)",
            "  σ 0.35 % (a uniform hash gives 0.93 % on average, under 1.82 % in 95 of 100 runs); χ² = 0.22, p = 0.89: \
             consistent with uniform",
            "  ✓ 2000 of 2000 on the assigned node",
            "  - Success rate: 100.00%",
            "✓✓✓ SYSTEM PASSED ALL TESTS",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing:\n{text}");
        }
    }

    #[test]
    fn faults_and_remedies_are_the_last_lines() {
        let mut run = run();
        run.verdict.passed = false;
        run.verdict.faults = vec![
            "Only 1 node is processing requests".to_owned(),
            "Load balancing is NOT working!".to_owned(),
        ];
        run.verdict.remedies = vec!["do something".to_owned()];
        let text = text(&run, Colours::Off);
        assert!(text.ends_with(
            "✗ FAIL: Only 1 node is processing requests\n✗ Load balancing is NOT working!\n  → do something\n"
        ));
        assert!(!text.contains('\u{1b}') && super::text(&run, Colours::On).contains("\u{1b}[31m✗ FAIL"));
    }
}
