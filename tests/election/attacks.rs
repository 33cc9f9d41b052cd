//! An attacker who hears everything, sends anything from anywhere, but does not have the key.

use std::time::Duration;

use pixseal::election::datagram::{ClusterKey, Datagram, LinkState, Rejections, Stamp};
use pixseal::election::event::View;
use pixseal::election::message::{Message, Stance};
use pixseal::lease::facts::Facts;
use pixseal::roster::NodeId;

use crate::world::{PORT, SECRET, World};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

fn three_agreed() -> World {
    let mut world = World::new(1, &[ONE, TWO, THREE]);
    for node in [ONE, TWO, THREE] {
        world.start(node, 100);
    }
    world.run_until(Duration::from_secs(5));
    world
}

fn views(world: &mut World) -> Vec<View> {
    [ONE, TWO, THREE]
        .into_iter()
        .filter_map(|id| Some(world.process(id)?.election.view().clone()))
        .collect()
}

fn rejections(world: &mut World, node: NodeId) -> Rejections {
    world.process(node).unwrap().election.rejections()
}

/// What one has overheard that was said by `sender` to `receiver`.
fn recording(world: &World, sender: NodeId, receiver: NodeId) -> Vec<Vec<u8>> {
    let key = ClusterKey::new(&SECRET);
    let said = world
        .overheard
        .iter()
        .filter(|(to, _)| *to == receiver)
        .map(|(_, bytes)| bytes.clone());
    said.filter(|bytes| key.decode(bytes).unwrap().sender == sender)
        .collect()
}

/// A datagram of somebody who has the key, which answers nothing.
fn said(sender: NodeId, receiver: NodeId, incarnation: u64, (term, message): (u64, Message)) -> Vec<u8> {
    ClusterKey::new(&SECRET).encode(&Datagram {
        sender,
        receiver,
        stamp: Stamp {
            incarnation,
            sequence: 1,
        },
        echo: Stamp::default(),
        facts: Facts::default(),
        link: LinkState {
            counts_receiver: true,
            port: PORT,
            ..LinkState::default()
        },
        stance: Stance::Seeks { term, last: None },
        message,
    })
}

/// The word of a node that has the key and is no member, or pretends to be one.
fn a_leader_says(sender: NodeId, receiver: NodeId) -> Vec<u8> {
    said(sender, receiver, 9, (99, Message::Election))
}

#[test]
fn a_replay_changes_only_a_counter() {
    let mut world = three_agreed();
    let before = views(&mut world);
    let recorded = recording(&world, THREE, ONE);
    assert!(recorded.len() > 10);
    let replayed = rejections(&mut world, ONE).replayed;
    for bytes in &recorded {
        world.inject(ONE, bytes.clone());
    }
    assert_eq!(
        rejections(&mut world, ONE).replayed,
        replayed + recorded.len() as u64
    );
    world.run_for(Duration::from_secs(3));
    assert_eq!(views(&mut world), before);
}

#[test]
fn what_was_said_to_one_node_cannot_be_played_to_another() {
    let mut world = three_agreed();
    let before = views(&mut world);
    let recorded = recording(&world, THREE, ONE);
    for bytes in &recorded {
        world.inject(TWO, bytes.clone());
        world.inject(THREE, bytes.clone());
    }
    assert_eq!(rejections(&mut world, TWO).misdirected, recorded.len() as u64);
    assert_eq!(rejections(&mut world, THREE).misdirected, recorded.len() as u64);
    assert_eq!(views(&mut world), before);
}

/// Its memory of what it has heard is empty, but the recording does not know its new life.
#[test]
fn a_recording_does_not_raise_the_dead_for_a_restarted_node() {
    let mut world = three_agreed();
    let recorded = recording(&world, THREE, ONE);
    world.crash(THREE);
    world.crash(ONE);
    world.run_for(Duration::from_secs(2));
    world.start(ONE, 100);
    for bytes in &recorded {
        world.inject(ONE, bytes.clone());
        world.run_for(Duration::from_millis(20));
        assert!(!world.process(ONE).unwrap().election.view().roster.contains(THREE));
    }
    assert_eq!(rejections(&mut world, ONE).unproven, recorded.len() as u64);
}

/// What the network lost, an attacker may still deliver: while it is fresh, that is all the network does; later it
/// is too old to count.
#[test]
fn a_held_back_datagram_goes_stale() {
    let mut world = three_agreed();
    world.network.refuses = false;
    world.split(&[THREE], &[ONE]);
    world.run_for(Duration::from_millis(90));
    world.crash(THREE);
    let held = recording(&world, THREE, ONE).pop().unwrap();
    world.run_for(Duration::from_secs(3));
    let stale = rejections(&mut world, ONE).unproven;
    world.inject(ONE, held);
    assert_eq!(rejections(&mut world, ONE).unproven, stale + 1);
    assert!(!world.process(ONE).unwrap().election.view().roster.contains(THREE));
}

/// A node had a later life, of which one datagram was lost, and then lost its incarnation.
fn said_in_a_lost_life(sender: NodeId, receiver: NodeId) -> Vec<u8> {
    said(sender, receiver, 1_000_000, (0, Message::Probe))
}

#[test]
fn a_life_that_has_ended_does_not_take_the_place_of_one_that_is_heard() {
    let mut world = three_agreed();
    let before = views(&mut world);
    world.split(&[THREE], &[ONE]);
    world.run_for(Duration::from_millis(110));
    world.network.blocked.clear();
    let held = recording(&world, THREE, ONE).pop().unwrap();
    // Newer than all that has arrived, so that the node seems to be where the attacker is.
    world.inject(ONE, held);
    let unproven = rejections(&mut world, ONE).unproven;
    for _ in 0..2 {
        world.inject(ONE, said_in_a_lost_life(THREE, ONE));
        assert_eq!(views(&mut world), before);
    }
    assert_eq!(
        rejections(&mut world, ONE).unproven,
        unproven + 1,
        "answered once"
    );
    world.run_for(Duration::from_secs(3));
    assert_eq!(views(&mut world), before);
}

#[test]
fn forged_refusals_do_not_kill_a_node_that_talks() {
    let mut world = three_agreed();
    let before = views(&mut world);
    for _ in 0..3_000 {
        for (node, peer) in [(ONE, THREE), (TWO, THREE), (THREE, ONE), (THREE, TWO)] {
            world.inject_refusal(node, peer);
        }
        world.run_for(Duration::from_millis(1));
    }
    assert_eq!(views(&mut world), before);
}

#[test]
fn strangers_and_mirrors_are_counted_and_dropped() {
    let mut world = three_agreed();
    let before = views(&mut world);
    world.inject(ONE, a_leader_says(NodeId(4), ONE));
    world.inject(ONE, a_leader_says(ONE, ONE));
    world.inject(ONE, b"GET / HTTP/1.1".to_vec());
    world.inject(ONE, Vec::new());
    let counted = rejections(&mut world, ONE);
    assert_eq!((counted.stranger, counted.malformed), (2, 2));
    world.run_for(Duration::from_secs(1));
    assert_eq!(views(&mut world), before);
}
