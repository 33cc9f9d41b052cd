//! The sections about balance: how much each node took, and whether that is what a hash does.

use std::fmt::{self, Write};

use super::colours::{Colours, mark_of};
use super::units::bytes;
use crate::chi_square::p_text;
use crate::summary::{Balance, Summary};

/// One block of a bar is worth so much, in percent.
const BAR_PERCENT: f64 = 2.0;
const RULE: &str = "-----------------------------------------------------------";

pub(crate) fn distribution(run: &Summary, _: Colours, out: &mut String) -> fmt::Result {
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

pub(crate) fn balance(run: &Summary, colours: Colours, out: &mut String) -> fmt::Result {
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
pub(crate) fn uniform_sentence(balance: &Balance) -> Option<String> {
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
