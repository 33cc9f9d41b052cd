//! Reads images of its own, over and over, of which it knows where the newest copy is: nobody else writes them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pixseal::image_id::ImageId;

use crate::judge::Condition;
use crate::ledger::in_words;
use crate::load::{PATIENCE, World};
use crate::request::Outcome;
use crate::support::random::Random;

/// In so many of a hundred cases the image is written anew before it is read.
const REWRITTEN_PERCENT: u64 = 5;

/// Probes until `over`. `folders` are those of the images of node 1, 2, 3 …
pub(crate) fn probe(world: &World, mut random: Random, folders: &[PathBuf], over: &AtomicBool) {
    // Who sent or took each image last.
    let mut holders: HashMap<usize, u32> = HashMap::new();
    for name in (world.load_names..world.ledger.names()).cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        if !holders.contains_key(&name) || random.chance(REWRITTEN_PERCENT) {
            write(world, &mut random, name, &mut holders);
        } else {
            read(world, &mut random, name, &mut holders, folders);
        }
        thread::sleep(random.millis(5..15));
    }
}

fn write(world: &World, random: &mut Random, name: usize, holders: &mut HashMap<usize, u32>) {
    let asked = world.any_node(random);
    world.availability.excused(name);
    let condition = (String::new(), Condition::Anything);
    let (outcome, _) = world.put(name, asked, condition, true, PATIENCE);
    match outcome {
        Outcome::Answered { answer, .. } if matches!(answer.status, 200 | 201) => {
            holders.insert(name, answer.node);
        }
        // Nothing can have changed.
        Outcome::NotSent(_) | Outcome::Answered { complete: false, .. } => {}
        Outcome::Answered { .. } | Outcome::Unknown(_) => {
            holders.remove(&name);
        }
    }
}

fn read(
    world: &World,
    random: &mut Random,
    name: usize,
    holders: &mut HashMap<usize, u32>,
    folders: &[PathBuf],
) {
    let asked = world.any_node(random);
    let holder = holders[&name];
    if world.weather.is_away(asked) || world.weather.is_away(holder) {
        world.availability.excused(name);
        return;
    }
    let begin = world.ledger.now();
    let (outcome, _) = world.get(name, asked, Duration::from_secs(2));
    let end = world.ledger.now();
    let refused = match &outcome {
        Outcome::Answered { answer, .. } if answer.status == 200 => {
            holders.insert(name, answer.node);
            None
        }
        Outcome::Answered { answer, .. } if answer.status == 503 => {
            Some(String::from_utf8_lossy(&answer.body).into_owned())
        }
        Outcome::Answered { .. } => None,
        Outcome::NotSent(_) | Outcome::Unknown(_) => Some(in_words(&outcome)),
    }
    .map(|why| format!("node {asked}, while node {holder} has it: {}", why.trim_end()));
    let stayed = ![asked, holder].iter().any(|node| world.weather.is_away(*node));
    // It may have been handed over just before its new node went away.
    let file = {
        let page = world.ledger.page(name);
        ImageId::new(&page.user, &page.name).unwrap().file_name()
    };
    if stayed && (refused.is_none() || folders[holder as usize - 1].join(file).exists()) {
        world
            .availability
            .probed(&world.weather, name, (begin, end), refused.as_deref());
    } else {
        world.availability.excused(name);
    }
}
