//! `client status`: a table of the nodes, and sentences that say what is wrong and what to do.

mod findings;
mod survey;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use pixseal::members::Members;
use pixseal::report::Status;
use pixseal::roster::NodeId;
use pixseal::standard_output::print;

use self::findings::AskedNode;
use super::config::Config;

/// How long all nodes together are asked, unless --timeout says otherwise: a node that answers at all takes
/// milliseconds, and a person should not have to wait.
const PATIENCE: Duration = Duration::from_millis(1500);
const HEAD: [&str; 8] = [
    "node", "address", "state", "leader", "term", "alive", "images", "uploads",
];
/// The columns that hold text, which begins at the left; numbers end at the right.
const TEXT: [bool; 8] = [false, true, true, false, false, true, false, false];

/// Prints the table. Success: every member has answered, all are ready and all agree.
pub(super) fn status(config: &Config) -> ExitCode {
    let patience = config.timeout.unwrap_or(PATIENCE);
    let asked = survey::ask_all(config, patience);
    let findings = findings::judge(&asked, &config.file);
    let mut lines = table(&asked);
    lines.extend(findings::legend(&asked));
    lines.extend(warnings(&asked));
    lines.extend(findings.sentences);
    if findings.is_well {
        lines.push(all_well(&asked));
    }
    let text: String = lines.iter().map(|line| printable(line) + "\n").collect();
    if let Err(why) = print(text) {
        eprintln!("client: {why}");
        return ExitCode::FAILURE;
    }
    match findings.is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The members of the cluster file, and those that they name.
pub(super) fn all_members(config: &Config) -> Members {
    let asked = survey::ask_all(config, PATIENCE);
    let lines: String = asked
        .iter()
        .map(|asked| format!("{} = \"{}\"\n", asked.id, asked.address))
        .collect();
    Members::parse(&format!("[nodes]\n{lines}")).unwrap_or_else(|_| config.members.clone())
}

fn table(asked: &[AskedNode]) -> Vec<String> {
    let head = HEAD.map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(asked.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let line = |row: &[String; 8]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or_default();
            match TEXT[column] {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(asked: &AskedNode) -> [String; 8] {
    let (id, address) = (asked.id.to_string(), asked.address.clone());
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    match &asked.answer {
        Err(error) => {
            let none = || "-".to_owned();
            [
                id,
                address,
                error.kind.to_string(),
                none(),
                none(),
                none(),
                none(),
                none(),
            ]
        }
        Ok(status) => [
            id,
            address,
            state(asked.id, status),
            or_dash(status.leader.map(|leader| leader.to_string())),
            status.term.to_string(),
            findings::list(&status.alive, &status.reading),
            or_dash(status.images_held.map(|images| images.to_string())),
            status.counter("images").to_string(),
        ],
    }
}

fn state(id: NodeId, status: &Status) -> String {
    let state = match findings::why_not(status) {
        None if status.ready => "ready".to_owned(),
        None => "not ready: it does not say why".to_owned(),
        Some(why) if status.ready && findings::reads_images(status) => format!("reads only: {why}"),
        Some(why) => format!("not ready: {why}"),
    };
    match status.node == id {
        true => state,
        false => format!("{state}, but is Node {}", status.node),
    }
}

/// What nodes warn of, each with the nodes that say it, in the order in which it was first heard.
fn warnings(asked: &[AskedNode]) -> Vec<String> {
    let mut warnings: Vec<(&str, Vec<String>)> = Vec::new();
    for status in asked.iter().filter_map(|asked| asked.answer.as_ref().ok()) {
        for text in &status.warnings {
            let node = format!("Node {}", status.node);
            match warnings.iter_mut().find(|(known, _)| known == text) {
                Some((_, nodes)) => nodes.push(node),
                None => warnings.push((text, vec![node])),
            }
        }
    }
    let line = |(text, nodes): (&str, Vec<String>)| format!("warning of {}: {text}", nodes.join(", "));
    warnings.into_iter().map(line).collect()
}

fn all_well(asked: &[AskedNode]) -> String {
    let nodes: BTreeSet<NodeId> = asked.iter().map(|asked| asked.id).collect();
    let leader = asked.iter().find_map(|asked| asked.answer.as_ref().ok()?.leader);
    let leader = leader.map_or_else(String::new, |leader| format!("; Node {leader} leads"));
    match nodes.len() {
        1 => format!("{} is ready{leader}.", findings::names(&nodes)),
        count => format!("All {count} nodes are ready and agree{leader}."),
    }
}

/// What nodes say could hold anything; nothing of it controls the terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}
