//! Stories to read: what three nodes do, line by line, compared with the text files in `stories/`.
//!
//! `WRITE_STORIES=1` writes the files anew; read the difference before you keep it.

use std::time::Duration;

use pixseal::roster::NodeId;

use crate::world::{Transcript, World};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

fn three_machines() -> World {
    let mut world = World::new(1, &[ONE, TWO, THREE]);
    world.transcript = Transcript::Kept(String::new());
    world
}

/// Three nodes that have agreed for some seconds; what led there is not told.
fn three_agreed() -> World {
    let mut world = three_machines();
    for node in [ONE, TWO, THREE] {
        world.start(node, 100);
    }
    world.run_until(Duration::from_secs(5));
    world.transcript = Transcript::Kept(String::new());
    world
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn compare(world: &World, name: &str) {
    let Transcript::Kept(told) = &world.transcript else {
        panic!("a story is kept")
    };
    let path = format!("{}/tests/election/stories/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("WRITE_STORIES").is_some() {
        std::fs::write(&path, told).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let other = told
        .lines()
        .zip(expected.lines())
        .find(|(told, expected)| told != expected);
    assert!(
        *told == expected,
        "{path} tells another story, first here (told, expected): {other:#?}"
    );
}

#[test]
fn first_start_the_highest_wins() {
    let mut world = three_machines();
    for node in [ONE, TWO, THREE] {
        world.start(node, 100);
        world.run_for(millis(20));
    }
    world.run_until(millis(5_000));
    compare(&world, "first_start");
}

#[test]
fn leader_crash_elects_the_next_highest() {
    let mut world = three_agreed();
    world.crash(THREE);
    world.run_for(millis(3_000));
    compare(&world, "leader_crash");
}

/// Nobody says that its port is closed: only silence tells.
#[test]
fn leader_host_lost_elects_the_next_highest() {
    let mut world = three_agreed();
    world.network.refuses = false;
    world.crash(THREE);
    world.run_for(millis(3_000));
    compare(&world, "leader_host_lost");
}

#[test]
fn leader_returns_and_waits_before_it_takes_over() {
    let mut world = three_agreed();
    world.crash(THREE);
    world.run_for(millis(3_000));
    world.start(THREE, 100);
    world.run_for(millis(4_000));
    compare(&world, "leader_returns");
}

#[test]
fn flapping_top_id_never_takes_over() {
    let mut world = three_agreed();
    for _ in 0..3 {
        world.crash(THREE);
        world.run_for(millis(1_000));
        world.start(THREE, 100);
        world.run_for(millis(1_500));
    }
    compare(&world, "flapping_top_id");
}

#[test]
fn split_and_heal_ends_with_one_leader() {
    let mut world = three_agreed();
    world.say("-- node 3 is cut off");
    world.split(&[THREE], &[ONE, TWO]);
    world.split(&[ONE, TWO], &[THREE]);
    world.run_for(millis(3_000));
    world.say("-- the network heals");
    world.network.blocked.clear();
    world.run_for(millis(4_000));
    compare(&world, "split_and_heal");
}

/// One hears three, two does not: the word of the first keeps both in.
#[test]
fn broken_link_is_bridged_by_hearsay() {
    let mut world = three_agreed();
    world.say("-- nodes 2 and 3 no longer hear each other");
    world.split(&[THREE], &[TWO]);
    world.split(&[TWO], &[THREE]);
    world.run_for(millis(3_000));
    world.say("-- they hear each other again");
    world.network.blocked.clear();
    world.run_for(millis(2_000));
    compare(&world, "broken_link");
}

#[test]
fn stopped_leader_continues_and_judges_nobody() {
    let mut world = three_agreed();
    world.pause(THREE);
    world.run_for(millis(10_000));
    world.resume(THREE);
    world.run_for(millis(3_000));
    compare(&world, "stopped_leader");
}

/// What waited in its socket is not from those that it led.
#[test]
fn briefly_stopped_leader_follows_its_successor() {
    let mut world = three_agreed();
    world.pause(THREE);
    world.run_for(millis(1_000));
    world.resume(THREE);
    world.run_for(millis(3_000));
    compare(&world, "briefly_stopped_leader");
}

#[test]
fn leader_leaves_and_nobody_waits() {
    let mut world = three_agreed();
    world.leave(THREE);
    world.run_for(millis(300));
    world.crash(THREE);
    world.run_for(millis(2_000));
    compare(&world, "leader_leaves");
}

/// Node 4 takes over from node 3, which node 1 follows; node 1 and node 4 do not hear each other.
#[test]
fn follower_of_a_former_leader_goes_by_what_it_hears() {
    let four = NodeId(4);
    let mut world = World::new(1, &[ONE, TWO, THREE, four]);
    world.split(&[ONE], &[four]);
    world.split(&[four], &[ONE]);
    for node in [ONE, TWO, THREE] {
        world.start(node, 100);
    }
    world.run_until(millis(5_000));
    world.transcript = Transcript::Kept(String::new());
    world.start(four, 100);
    world.run_for(millis(2_300));
    compare(&world, "former_leader");
}

#[test]
fn a_node_is_added_and_taken_out_again() {
    let four = NodeId(4);
    let (before, after) = ([ONE, TWO, THREE], [ONE, TWO, THREE, four]);
    let mut world = World::new(1, &after);
    world.list_members(&before);
    for node in before {
        world.start(node, 100);
    }
    world.run_until(Duration::from_secs(5));
    world.transcript = Transcript::Kept(String::new());
    world.list_members(&after);
    world.start(four, 100);
    world.run_for(millis(1_000));
    for node in before {
        world.reload(node, &after);
        world.run_for(millis(500));
    }
    world.run_for(millis(3_000));
    for node in before {
        world.reload(node, &before);
        world.run_for(millis(500));
    }
    world.run_for(millis(1_000));
    world.leave(four);
    world.run_for(millis(1_000));
    compare(&world, "members");
}

/// By mistake, elsewhere, with another folder: the others know which one they have heard all the time.
#[test]
fn a_second_process_with_the_same_id_gives_way() {
    let mut world = three_agreed();
    world.start_double(ONE, true);
    world.run_for(millis(2_000));
    compare(&world, "double");
}

#[test]
fn a_node_that_has_lost_its_incarnation_takes_a_higher_one() {
    let mut world = three_agreed();
    for _ in 0..2 {
        world.crash(ONE);
        world.run_for(millis(1_000));
        world.start(ONE, 100);
        world.run_for(millis(2_000));
    }
    world.transcript = Transcript::Kept(String::new());
    world.crash(ONE);
    world.lose_incarnation(ONE);
    world.run_for(millis(1_000));
    world.start(ONE, 100);
    world.run_for(millis(2_000));
    compare(&world, "lost_incarnation");
}
