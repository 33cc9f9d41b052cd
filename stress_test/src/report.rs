//! The report for people, in the words that its readers know. Pure: a [`Summary`] goes in, text comes out.

pub mod compare;
pub mod page;
pub mod plot;

use std::fmt::Write;

use crate::chance::p_text;
use crate::summary::{Balance, Distribution, Summary};

/// One block of a bar is worth so much, in percent.
const BAR_PERCENT: f64 = 2.0;
const RULE: &str = "-----------------------------------------------------------";

/// Colours for a terminal, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Plain text.
    Off,
    /// ANSI colours.
    On,
}

impl Colours {
    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Colours::Off => text.to_owned(),
            Colours::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The whole report.
pub fn text(run: &Summary, colours: Colours) -> String {
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

type Written = Result<(), std::fmt::Error>;

fn distribution(run: &Summary, _: Colours, out: &mut String) -> Written {
    writeln!(out, "\nLoad Distribution (%):\n{RULE}")?;
    for node in &run.nodes {
        let bar = "█".repeat(blocks(node.percent));
        writeln!(
            out,
            "Node {}: {:>5.1}%  {bar} ({} uploads)",
            node.id, node.percent, node.uploads
        )?;
    }
    writeln!(out, "\nBy bytes:")?;
    for node in &run.nodes {
        writeln!(
            out,
            "Node {}: {:>5.1}%  {}",
            node.id,
            node.bytes_percent,
            bytes(node.bytes as f64)
        )?;
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 50")]
fn blocks(percent: f64) -> usize {
    (percent.clamp(0.0, 100.0) / BAR_PERCENT).floor() as usize
}

fn balance(run: &Summary, colours: Colours, out: &mut String) -> Written {
    writeln!(out, "\nBalance Analysis:")?;
    let Some(balance) = &run.balance else {
        return writeln!(out, "  nothing was stored");
    };
    match balance.views.as_slice() {
        [view] => writeln!(
            out,
            "  Expected per node: {:.1}%",
            100.0 / view.alive.len() as f64
        )?,
        views => {
            writeln!(out, "  Expected per node: by {} views", views.len())?;
            for view in views {
                let counts: Vec<String> = view
                    .uploads
                    .iter()
                    .map(|(id, n)| format!("node {id}: {n}"))
                    .collect();
                writeln!(out, "    alive {:?}: {}", view.alive, counts.join(", "))?;
            }
        }
    }
    writeln!(out, "  Standard deviation: {:.2}%", balance.sigma_percent)?;
    let (mark, bound) = grade(&balance.grade);
    let line = format!("{mark} {} balance (σ {bound})", balance.grade);
    writeln!(
        out,
        "  {}",
        if mark == "✓" {
            colours.good(&line)
        } else {
            colours.bad(&line)
        }
    )?;
    if let Some(sentence) = uniform_sentence(balance) {
        writeln!(out, "  {sentence}")?;
    }
    let placement = &run.placement;
    let line = format!(
        "{} of {} on the assigned node",
        placement.on_assigned, run.uploads.stored
    );
    let right = placement.on_assigned == run.uploads.stored;
    writeln!(
        out,
        "  {} {}",
        mark_of(right),
        if right {
            colours.good(&line)
        } else {
            colours.bad(&line)
        }
    )?;
    for example in &placement.examples {
        writeln!(out, "    {example}")?;
    }
    Ok(())
}

/// `σ 0.71 % (a uniform hash gives 0.93 % on average, …): consistent with uniform`.
pub fn uniform_sentence(balance: &Balance) -> Option<String> {
    let test = balance.test.as_ref()?;
    Some(format!(
        "σ {:.2} % (a uniform hash gives {:.2} % on average, under {:.2} % in 95 of 100 runs); χ² = {:.2}, p {}{}: {}",
        balance.sigma_percent,
        test.sigma_mean,
        test.sigma_bound,
        test.chi_square,
        p_text(test.p_value),
        if test.exact { " (exact)" } else { "" },
        test.meaning
    ))
}

fn grade(name: &str) -> (&'static str, &'static str) {
    match name {
        "Perfect" => ("✓", "< 1%"),
        "Excellent" => ("✓", "< 5%"),
        "Good" => ("✓", "< 10%"),
        "Acceptable" => ("✓", "< 15%"),
        _ => ("✗", ">= 15%"),
    }
}

fn performance(run: &Summary, _: Colours, out: &mut String) -> Written {
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

fn latency(run: &Summary, _: Colours, out: &mut String) -> Written {
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

fn row(out: &mut String, name: &str, of: &Distribution) -> Written {
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

fn nodes_and_bands(run: &Summary, _: Colours, out: &mut String) -> Written {
    for node in &run.nodes {
        row(out, &format!("Node {}", node.id), &node.latency)?;
    }
    for band in &run.bands {
        let name = format!("{} {}", band.name, band.uploads);
        row(out, &name, &band.latency)?;
    }
    Ok(())
}

fn trouble(run: &Summary, _: Colours, out: &mut String) -> Written {
    if !run.events.is_empty() || !run.drills.is_empty() {
        writeln!(out, "\nEvents:")?;
    }
    for event in &run.events {
        writeln!(out, "  {:>8.2} s  {}", event.at_seconds, event.text)?;
    }
    for drill in &run.drills {
        let told = |what: Option<f64>| what.map_or("not seen".to_owned(), |ms| format!("{ms:.0} ms"));
        write!(
            out,
            "  Drill {} (node {}): out of every view after {}",
            drill.step,
            drill.node,
            told(drill.detected_ms)
        )?;
        match drill.elected_ms {
            Some(ms) => writeln!(out, ", a new leader after {ms:.0} ms")?,
            None => writeln!(out)?,
        }
    }
    if !run.drills.is_empty() {
        let affected = run.uploads.retried;
        let lost = run.verification.missing + run.verification.different + run.verification.unreadable;
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

fn verification(run: &Summary, colours: Colours, out: &mut String) -> Written {
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

fn resources(run: &Summary, _: Colours, out: &mut String) -> Written {
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

fn verdict(run: &Summary, colours: Colours, out: &mut String) -> Written {
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

fn mark_of(right: bool) -> &'static str {
    if right { "✓" } else { "✗" }
}

/// `11.2 GB`, `40.3 kB`: three digits are enough for people.
pub fn bytes(count: f64) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if count >= size {
            return format!("{:.1} {unit}", count / size);
        }
    }
    format!("{count:.0} B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{NodeSummary, UniformityTest, ViewSummary};

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

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 40_300.0, 11.2e9].map(bytes),
            ["0 B", "999 B", "1.0 kB", "40.3 kB", "11.2 GB"]
        );
    }
}
