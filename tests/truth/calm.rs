//! After the faults: every name is right through every node, the lists agree, and each image is on exactly one node.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use pixseal::image_id::ImageId;

use crate::judge::{Condition, Content, Effect};
use crate::ledger::List;
use crate::load::{PATIENCE, World};
use crate::request::Outcome;

const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long it has to hold: what a client sent and gave up has happened by then, or never will.
const HOLDS_FOR: Duration = Duration::from_secs(2);

/// What each name held in the end, and what was wrong until the time was up.
pub(crate) struct Calm {
    pub(crate) contents: Vec<Option<Content>>,
    pub(crate) wrong: Vec<String>,
    pub(crate) took: Duration,
}

/// Waits until everything holds, at most for `patience`, and looks once more a little later.
pub(crate) fn await_calm(world: &World, folders: &[PathBuf], patience: Duration) -> Calm {
    let start = Instant::now();
    let mut holds_since: Option<Instant> = None;
    loop {
        let (contents, wrong) = look(world, folders);
        let now = Instant::now();
        if wrong.is_empty() {
            let since = *holds_since.get_or_insert(now);
            if now.duration_since(since) >= HOLDS_FOR {
                return Calm {
                    contents,
                    wrong,
                    took: since.duration_since(start),
                };
            }
        } else {
            holds_since = None;
            if start.elapsed() >= patience {
                return Calm {
                    contents,
                    wrong,
                    took: start.elapsed(),
                };
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn look(world: &World, folders: &[PathBuf]) -> (Vec<Option<Content>>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut contents = Vec::new();
    for name in 0..world.ledger.names() {
        contents.push(content(world, name, &mut wrong));
    }
    for user in world.ledger.users() {
        check_lists(world, &user, &contents, &mut wrong);
    }
    check_folders(world, folders, &contents, &mut wrong);
    (contents, wrong)
}

/// What every node says that `name` holds, if they agree.
fn content(world: &World, name: usize, wrong: &mut Vec<String>) -> Option<Content> {
    let mut said = Vec::new();
    for node in nodes(world) {
        let (outcome, effect) = world.get(name, node, PATIENCE);
        let content = match effect {
            Some(Effect::Saw(Condition::Is(write))) => Content::Bytes(write),
            Some(Effect::Saw(Condition::Absent)) => Content::Absent,
            _ => {
                let path = world.ledger.page(name).path();
                wrong.push(format!(
                    "{path} through node {node}: {}",
                    crate::ledger::in_words(&outcome)
                ));
                return None;
            }
        };
        said.push(content);
    }
    if said.iter().any(|content| *content != said[0]) {
        wrong.push(format!(
            "{} through node 1, 2, 3 …: {said:?}",
            world.ledger.page(name).path()
        ));
        return None;
    }
    Some(said[0])
}

fn check_lists(world: &World, user: &str, contents: &[Option<Content>], wrong: &mut Vec<String>) {
    for node in nodes(world) {
        let outcome = world.list(user, node, ("", None), PATIENCE);
        let list = match &outcome {
            Outcome::Answered { answer, .. } if answer.status == 200 => List::parse(&answer.body),
            _ => None,
        };
        let Some(list) = list.filter(|list| !list.is_missing && list.next.is_none()) else {
            wrong.push(format!("the list of {user} by node {node} is not whole"));
            continue;
        };
        for (name, content) in contents.iter().enumerate() {
            let page = world.ledger.page(name);
            let length = match content {
                Some(Content::Bytes(write)) => Some(crate::specimen::length(*write)),
                Some(_) => None,
                None => continue,
            };
            let listed = list.images.get(&page.name).copied();
            if page.user == user && listed != length {
                wrong.push(format!(
                    "{} in the list by node {node}: {listed:?} bytes, not {length:?}",
                    page.path()
                ));
            }
        }
    }
}

fn check_folders(world: &World, folders: &[PathBuf], contents: &[Option<Content>], wrong: &mut Vec<String>) {
    let mut distinct = folders.to_vec();
    distinct.dedup();
    let files: Vec<Vec<String>> = distinct.iter().map(files_in).collect();
    for (name, content) in contents.iter().enumerate() {
        let page = world.ledger.page(name);
        let file = ImageId::new(&page.user, &page.name).unwrap().file_name();
        let holders: Vec<usize> = (1..)
            .zip(&files)
            .filter(|(_, files)| files.contains(&file))
            .map(|(at, _)| at)
            .collect();
        let right = match content {
            Some(Content::Absent) => holders.is_empty(),
            Some(_) => holders.len() == 1,
            None => true,
        };
        if !right {
            wrong.push(format!(
                "{} holds {content:?} and lies in folders {holders:?}",
                page.path()
            ));
        }
    }
}

fn files_in(folder: &PathBuf) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn nodes(world: &World) -> impl Iterator<Item = u32> {
    1..=u32::try_from(world.addresses.len()).unwrap()
}
