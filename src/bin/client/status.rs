//! `client status`: a table of the nodes, and sentences that say what is wrong and what to do.

mod findings;
mod survey;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use getopts::Matches;
use pixseal::members::Members;
use pixseal::report::Status;
use pixseal::roster::NodeId;
use pixseal::standard_output::{offer, print};

use serde_json::{Value, json};

use self::findings::AskedNode;
use super::config::Config;

/// How long all nodes together are asked, unless --timeout says otherwise: a node that answers at all takes
/// milliseconds, and a person should not have to wait.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long `--watch` waits before it asks again.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const HEAD: [&str; 8] = [
    "node", "address", "state", "leader", "term", "alive", "images", "uploads",
];
/// The columns that hold text, which begins at the left; numbers end at the right.
const TEXT: [bool; 8] = [false, true, true, false, false, true, false, false];

/// Once, or again and again until the program is ended.
pub(super) fn run(config: &Config, matches: &Matches) -> ExitCode {
    let show = match matches.opt_present("json") {
        true => print_json,
        false => status,
    };
    if !matches.opt_present("watch") {
        return show(config).unwrap_or_else(|failure| failure);
    }
    let is_drawn_over = std::io::stdout().is_terminal() && !matches.opt_present("json");
    loop {
        if is_drawn_over && print("\x1b[H\x1b[2J".to_owned()).is_err() {
            return ExitCode::FAILURE;
        }
        if let Err(failure) = show(config) {
            return failure;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// What each node says, and what keeps the others from saying anything, as one JSON object a line.
fn print_json(config: &Config) -> Result<ExitCode, ExitCode> {
    let asked = survey::ask_all(config, config.timeout.unwrap_or(PATIENCE));
    let findings = findings::judge(&asked, &config.file);
    let nodes: Vec<Value> = asked
        .iter()
        .map(|asked| match &asked.answer {
            Ok(status) => json!({"id": asked.id, "address": asked.address, "status": status}),
            Err(error) => json!({"id": asked.id, "address": asked.address, "error": error.text}),
        })
        .collect();
    let whole = json!({
        "well": findings.is_well,
        "nodes": nodes,
        "warnings": warnings(&asked),
        "findings": findings.sentences,
    });
    shown(offer(format_args!("{whole}\n")), findings.is_well)
}

/// An error if nothing could be printed, or nobody reads it: to ask again would be of no use then.
fn shown(printed: Result<bool, String>, is_well: bool) -> Result<ExitCode, ExitCode> {
    let code = if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    match printed {
        Ok(true) => Ok(code),
        Ok(false) => Err(code),
        Err(why) => {
            eprintln!("client: {why}");
            Err(ExitCode::FAILURE)
        }
    }
}

/// Prints the table. Success: every member has answered, all are ready and all agree.
fn status(config: &Config) -> Result<ExitCode, ExitCode> {
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
    shown(offer(text), findings.is_well)
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
