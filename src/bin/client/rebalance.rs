//! `client rebalance`: every image to the node that it is assigned to now, also away from nodes that are draining.
//!
//! The nodes move the images; this program only asks them to, again and again, until nothing is left. It may be stopped
//! and started at any time: an image is removed from a node only once it is durable on the other.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::error::{Error, ErrorKind};
use pixseal::report::Rebalance;
use pixseal::roster::{NodeId, ViewId};
use pixseal::standard_output::say;

use super::config::Config;
use super::status::all_members;

/// How often the nodes are asked: more often than they stop.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long to go on while nothing moves, unless --timeout says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Success: nothing lies where it does not belong.
pub(super) fn rebalance(config: &Config) -> ExitCode {
    let patience = config.timeout.unwrap_or(PATIENCE);
    let mut client = config.client(&all_members(config));
    let ids: Vec<NodeId> = client.members().map(|(id, _)| id).collect();
    let mut best = None;
    let mut moved_at = Instant::now();
    let mut told = String::new();
    loop {
        let (round, line) = match ask_all(&mut client, &ids) {
            Ok(round) => round,
            Err(refused) => {
                eprintln!("client: {refused}");
                return ExitCode::FAILURE;
            }
        };
        if line != told {
            if let Err(why) = say(&line) {
                eprintln!("client: {why}");
                return ExitCode::FAILURE;
            }
            told = line;
        }
        if round == Round::Left(0) {
            return ExitCode::SUCCESS;
        }
        if let Round::Left(left) = round
            && best.is_none_or(|best| left < best)
        {
            best = Some(left);
            moved_at = Instant::now();
        }
        if moved_at.elapsed() >= patience {
            eprintln!(
                "client: nothing has moved for {} s; client status says what is wrong with the nodes",
                patience.as_secs()
            );
            return ExitCode::FAILURE;
        }
        thread::sleep(ASK_EVERY);
    }
}

/// What all nodes together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// All nodes go by one view, and so many images are to be moved in it.
    Left(u64),
    /// Not all nodes have answered, or have counted, or go by one view.
    Unknown,
}

/// An error if a node refuses: asking again would not help.
fn ask_all(client: &mut Client, ids: &[NodeId]) -> Result<(Round, String), Error> {
    let mut answers = Vec::new();
    for id in ids {
        match client.rebalance(*id) {
            Ok(answer) => answers.push(answer),
            Err(error) if error.kind == ErrorKind::Refused => return Err(error),
            Err(error) => return Ok((Round::Unknown, error.text)),
        }
    }
    let round = judge(&answers);
    Ok((round, sentence(round, &answers)))
}

fn judge(answers: &[Rebalance]) -> Round {
    let views: BTreeSet<ViewId> = answers.iter().map(|answer| answer.view).collect();
    let counts: Option<Vec<u64>> = answers.iter().map(|answer| answer.misplaced).collect();
    match counts {
        Some(counts) if views.len() == 1 => Round::Left(counts.iter().sum()),
        Some(_) | None => Round::Unknown,
    }
}

fn sentence(round: Round, answers: &[Rebalance]) -> String {
    let holders = answers.iter().filter(|answer| answer.misplaced != Some(0));
    let parts: Vec<String> = holders
        .map(|answer| match answer.misplaced {
            Some(count) => format!("{count} on Node {}", answer.node),
            None => format!("Node {} is counting", answer.node),
        })
        .collect();
    match round {
        Round::Left(0) => "Every image is on the node that it is assigned to.".to_owned(),
        Round::Left(left) => format!("{left} to be moved: {}", parts.join(", ")),
        Round::Unknown if parts.is_empty() => "The nodes are changing their view.".to_owned(),
        Round::Unknown => format!("Not known yet: {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(node: u32, number: u64, misplaced: Option<u64>) -> Rebalance {
        let view = ViewId {
            term: 1,
            leader: NodeId(3),
            number,
        };
        Rebalance {
            node: NodeId(node),
            view,
            misplaced,
        }
    }

    #[test]
    fn all_is_done_once_all_nodes_have_nothing_left_in_one_view() {
        for (answers, expected) in [
            ([answer(1, 1, Some(0)), answer(2, 1, Some(0))], Round::Left(0)),
            ([answer(1, 1, Some(2)), answer(2, 1, Some(3))], Round::Left(5)),
            ([answer(1, 1, Some(0)), answer(2, 1, None)], Round::Unknown),
            ([answer(1, 1, Some(0)), answer(2, 2, Some(0))], Round::Unknown),
        ] {
            assert_eq!(judge(&answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn people_read_where_images_are() {
        let answers = [
            answer(1, 1, Some(0)),
            answer(2, 1, Some(7)),
            answer(3, 1, Some(1)),
        ];
        assert_eq!(
            sentence(judge(&answers), &answers),
            "8 to be moved: 7 on Node 2, 1 on Node 3"
        );
    }
}
