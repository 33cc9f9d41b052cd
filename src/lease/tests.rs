//! Leases through their door, by a clock of our own.

use super::facts::{Facts, RESERVE_MS};
use super::times::Times;
use super::*;
use crate::balancer;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
/// Milliseconds since 1970 when the nodes start.
const WALL: u64 = 1_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn clock(at: u64) -> Time {
    Time::from_ms(WALL + at)
}

fn view(number: u64, ids: &[NodeId]) -> Option<(ViewId, Roster)> {
    let view = ViewId {
        term: 1,
        leader: ids[ids.len() - 1],
        number,
    };
    Some((view, Roster::new(ids[0], ids.iter().copied())))
}

/// Node 1 of three, whose members have all met.
fn node_one() -> Leases {
    Leases::new(ONE, [ONE, TWO, THREE], 1, &[TWO, THREE].into(), BTreeSet::new())
}

/// A heartbeat at `at`, which echoes what node 1 sent 10 ms before. A node lives anew after 1,750 ms.
fn heard(leases: &mut Leases, at: u64, peer: NodeId, view: &Option<(ViewId, Roster)>, is_clean: bool) {
    leases.heard(
        ms(at),
        Heard {
            peer,
            incarnation: 1 + u64::from(at > 1750),
            view: view.as_ref().map(|(view, _)| *view),
            echo: ms(at - 10),
            facts: Facts {
                clock: clock(at),
                reserve: Facts::reserve_at(clock(at), WALL + at),
                stored: clock(at - 50),
                wall_ms: WALL + at,
                is_clean,
                folder: peer.0.into(),
                ..Facts::default()
            },
        },
    );
}

/// Runs node 1 from `from` to `to` with a heartbeat of each of `peers` every 100 ms.
fn run(
    leases: &mut Leases,
    (from, to): (u64, u64),
    peers: &[NodeId],
    view: &Option<(ViewId, Roster)>,
    is_clean: bool,
) -> Standing {
    for at in (from..=to).step_by(100) {
        leases.tick(ms(at), clock(at), WALL + at);
        let _ = leases.announce(ms(at - 10), Facts::reserve_at(clock(at), WALL + at));
        for peer in peers {
            heard(leases, at, *peer, view, is_clean);
        }
    }
    leases.standing(ms(to), WALL + to)
}

fn settled() -> (Leases, Option<(ViewId, Roster)>) {
    let (mut leases, all) = (node_one(), view(1, &[ONE, TWO, THREE]));
    leases.install(all.clone(), clock(100));
    leases.set_clean(all.as_ref().map(|(view, _)| *view));
    let standing = run(&mut leases, (100, 1000), &[TWO, THREE], &all, true);
    assert!(standing.is_settled && standing.is_alone(ms(1000)));
    (leases, all)
}

/// A name that is assigned to `node` among `ids`, and to `other` among `others`.
fn name(ids: &[NodeId], node: NodeId, others: &[NodeId], other: NodeId) -> String {
    let assigned =
        |name: &str, ids: &[NodeId]| balancer::assigned("u", name, &Roster::new(ids[0], ids.iter().copied()));
    (0..1000)
        .map(|i| format!("{i}.png"))
        .find(|name| assigned(name, ids) == node && assigned(name, others) == other)
        .unwrap()
}

#[test]
fn a_node_is_ready_once_all_have_installed_the_view() {
    let (mut leases, all) = (node_one(), view(1, &[ONE, TWO, THREE]));
    leases.install(all.clone(), clock(100));
    let standing = run(&mut leases, (100, 100), &[TWO], &all, false);
    assert!(!standing.is_ready, "node 3 has not said that it has installed it");
    heard(&mut leases, 150, THREE, &view(2, &[ONE, TWO, THREE]), false);
    assert!(
        !leases.standing(ms(150), WALL).is_ready,
        "node 3 has another view"
    );
    let standing = run(&mut leases, (200, 200), &[TWO, THREE], &all, false);
    assert!(standing.is_ready && !standing.is_settled);
    assert!(standing.confirms(ms(200), clock(200)));
    assert!(
        !standing.confirms(ms(200), clock(200 + RESERVE_MS + 1)),
        "nobody has heard of that reserve"
    );
}

#[test]
fn reserves_are_remembered_for_longer_than_an_echo_takes_however_many_datagrams_are_sent() {
    let (mut leases, all) = settled();
    // As in a cluster of a hundred nodes: a datagram every millisecond, and node 2 echoes what is 300 ms old.
    for at in 1001..2000 {
        leases.tick(ms(at), clock(at), WALL + at);
        let announced = leases.announce(ms(at), Facts::reserve_at(clock(at), WALL + at));
        assert!(announced.plus_ms(RESERVE_STEP_MS) > Facts::reserve_at(clock(at), WALL + at));
    }
    for peer in [TWO, THREE] {
        heard(&mut leases, 1700 + 10, peer, &all, true);
    }
    let standing = leases.standing(ms(2000), WALL + 2000);
    assert!(standing.confirmed > clock(2000));
}

#[test]
fn a_lease_ends_before_a_silent_node_is_replaced() {
    let (mut leases, all) = settled();
    let standing = run(&mut leases, (1100, 1500), &[TWO], &all, true);
    assert!(!standing.is_alone(ms(1500)), "node 3 has been silent");
    // The same silence, as node 2 sees it: it may not be ready without node 1 before node 1's lease has ended.
    assert!(EXPIRY > LEASE);
    let lease_end = ms(1000 - 10) + LEASE;
    assert!(lease_end < ms(1000) + EXPIRY);
}

#[test]
fn nobody_writes_before_an_absent_node_has_expired() {
    let (mut leases, _) = settled();
    let two = view(2, &[ONE, TWO]);
    leases.install(two.clone(), clock(1100));
    let standing = run(&mut leases, (1100, 1500), &[TWO], &two, false);
    assert!(!standing.is_ready, "node 3 was heard 500 ms ago");
    let standing = run(&mut leases, (1600, 1600), &[TWO], &two, false);
    assert!(standing.is_ready);
    let (mut leases, _) = settled();
    leases.install(two.clone(), clock(1100));
    leases.left(THREE, clock(1050));
    let standing = run(&mut leases, (1100, 1100), &[TWO], &two, false);
    assert!(standing.is_ready, "node 3 has said that it stops");
}

/// Node 3 counts its lease and its reserve by the echo of a datagram that node 1 did not hear.
#[test]
fn what_arrived_and_was_not_heard_has_not_expired() {
    let (mut leases, _) = settled();
    let two = view(2, &[ONE, TWO]);
    leases.install(two.clone(), clock(1100));
    run(&mut leases, (1100, 1500), &[TWO], &two, false);
    let reserve = Facts::reserve_at(clock(1500), WALL + 1500);
    leases.arrived(ms(1500), THREE, reserve);
    let standing = run(&mut leases, (1600, 2000), &[TWO], &two, false);
    assert!(!standing.is_ready, "node 3 may have a lease");
    assert_eq!(leases.floor(), reserve);
    let standing = run(&mut leases, (2100, 2100), &[TWO], &two, false);
    assert!(standing.is_ready);
}

#[test]
fn a_node_that_was_paused_knows_nothing() {
    let (mut leases, all) = settled();
    leases.tick(ms(1000 + 460), clock(1460), WALL + 1460);
    let standing = leases.standing(ms(1460), WALL + 1460);
    assert!(!standing.is_ready && !standing.is_settled && standing.lease_until == Duration::ZERO);
    let standing = run(&mut leases, (1500, 1500), &[TWO, THREE], &all, true);
    assert!(standing.is_settled, "all have told it what holds now");
}

#[test]
fn an_absent_node_holds_only_what_it_was_assigned() {
    let (mut leases, _) = settled();
    let (everybody, rest) = ([ONE, TWO, THREE], [ONE, TWO]);
    let two = view(2, &rest);
    leases.install(two.clone(), clock(1100));
    let standing = run(&mut leases, (1100, 1700), &[TWO], &two, false);
    let latest = |standing: &Standing, name: &str| standing.times_on(THREE, "u", name).latest();
    let its_own = name(&everybody, THREE, &rest, ONE);
    let reserve = Facts::reserve_at(clock(1000), WALL + 1000);
    assert!(latest(&standing, &its_own).is_some_and(|latest| latest <= reserve));
    assert_eq!(latest(&standing, &name(&everybody, ONE, &rest, ONE)), None);
    // It starts again, declares a name while the cluster is not settled, and goes again.
    let four = view(3, &everybody);
    leases.install(four.clone(), clock(1800));
    let standing = run(&mut leases, (1800, 2000), &[TWO, THREE], &four, false);
    let declared = name(&everybody, THREE, &rest, TWO);
    standing.note(THREE, "u", &declared, clock(2050));
    leases.install(view(4, &rest), clock(2100));
    let standing = leases.standing(ms(2100), WALL);
    assert_eq!(latest(&standing, &declared), Some(clock(2050)));
    assert!(latest(&standing, &its_own).is_some_and(|latest| latest <= reserve));
    assert_eq!(latest(&standing, &name(&everybody, TWO, &rest, ONE)), None);
}

#[test]
fn a_node_declares_what_it_writes_to_those_that_have_not_said_that_they_are_clean() {
    let (mut leases, all) = (node_one(), view(1, &[ONE, TWO, THREE]));
    leases.install(all.clone(), clock(100));
    let standing = run(&mut leases, (100, 500), &[TWO, THREE], &all, false);
    assert_eq!(standing.declared_to, [TWO, THREE]);
    heard(&mut leases, 550, TWO, &all, true);
    assert_eq!(leases.standing(ms(550), WALL + 550).declared_to, [THREE]);
    heard(&mut leases, 560, THREE, &all, true);
    let standing = leases.standing(ms(560), WALL + 560);
    assert!(
        standing.declared_to.is_empty() && !standing.is_settled,
        "only this node is not clean"
    );
    let next = view(2, &[ONE, TWO, THREE]);
    leases.install(next, clock(750));
    let standing = leases.standing(ms(750), WALL + 750);
    assert_eq!(
        standing.declared_to,
        [TWO, THREE],
        "in the next view it begins anew"
    );
}

#[test]
fn a_node_that_is_clean_knows_of_an_absent_one_what_it_was_assigned() {
    let (everybody, rest) = ([ONE, TWO, THREE], [ONE, TWO]);
    for is_clean in [false, true] {
        let (mut leases, all) = (node_one(), view(1, &everybody));
        leases.install(all.clone(), clock(100));
        run(&mut leases, (100, 500), &[TWO, THREE], &all, false);
        if is_clean {
            leases.set_clean(all.as_ref().map(|(view, _)| *view));
        }
        run(&mut leases, (600, 1000), &[TWO, THREE], &all, false);
        let two = view(2, &rest);
        leases.install(two.clone(), clock(1100));
        let standing = run(&mut leases, (1100, 1700), &[TWO], &two, false);
        let late = |name: &str| standing.times_on(THREE, "u", name).latest() > Some(clock(900));
        assert_eq!(late(&name(&everybody, THREE, &rest, ONE)), is_clean);
        assert!(
            !late(&name(&everybody, ONE, &rest, ONE)),
            "it was not assigned that"
        );
    }
}

#[test]
fn a_node_that_was_paused_knows_what_was_declared_before_and_when_the_rest_was_written() {
    let (mut leases, _) = settled();
    let two = view(2, &[ONE, TWO]);
    leases.install(two.clone(), clock(1100));
    let standing = run(&mut leases, (1100, 1700), &[TWO], &two, false);
    let its_own = name(&[ONE, TWO, THREE], ONE, &[ONE, TWO], TWO);
    let times = |standing: &Standing| standing.times_on(TWO, "u", &its_own);
    standing.note(TWO, "u", &its_own, clock(1600));
    // Node 2 follows node 3 while this one is paused, and is away when both are with this one again.
    leases.tick(ms(3000), clock(3000), WALL + 3000);
    let three = view(4, &[ONE, TWO, THREE]);
    leases.install(three.clone(), clock(3000));
    let before = run(&mut leases, (3100, 3100), &[TWO, THREE], &three, false);
    assert_eq!(before.times_on(TWO, "u", "other.png").latest(), Some(Time::MAX));
    run(&mut leases, (3200, 3200), &[TWO, THREE], &three, false);
    let last = view(5, &[ONE, THREE]);
    leases.install(last, clock(3300));
    let standing = leases.standing(ms(3300), WALL + 3300);
    let declared = Times::up_to(clock(1600));
    assert_eq!(
        times(&standing).until(clock(1650)),
        declared,
        "and no more until then"
    );
    // Each datagram says of its node that nothing in earlier views is later than this.
    assert_eq!(times(&standing).latest(), Some(clock(3150)));
    let undeclared = standing.times_on(TWO, "u", "other.png");
    assert_eq!(
        undeclared.until(clock(1900)),
        Times::default(),
        "it had heard of a later reserve"
    );
}

#[test]
fn the_next_life_knows_what_was_known_when_this_one_left() {
    let (mut leases, _) = settled();
    let two = view(2, &[ONE, TWO]);
    leases.install(two.clone(), clock(1100));
    let standing = run(&mut leases, (1100, 1700), &[TWO], &two, false);
    let declared = name(&[ONE, TWO, THREE], ONE, &[ONE, TWO], TWO);
    standing.note(TWO, "u", &declared, clock(1600));
    leases.install(None, clock(1700));
    let known = leases
        .standing(ms(1700), WALL + 1700)
        .knowledge(clock(1700), clock(1650));
    let known: Knowledge = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
    assert_eq!(known.stored, clock(1650));

    let recalled = |wall_ms| {
        let mut leases = node_one();
        leases.recall(&known, wall_ms);
        leases.install(view(3, &[ONE]), clock(0));
        leases.standing(ms(0), WALL)
    };
    let standing = recalled(WALL + 3000);
    let from_then_on = |mut times: Times| {
        times.add(clock(1700), Time::MAX);
        times
    };
    let times = standing.times_on(TWO, "u", &declared);
    assert_eq!(times, from_then_on(Times::up_to(clock(1600))));
    let its_own = name(&[ONE, TWO, THREE], THREE, &[ONE, TWO], ONE);
    assert_eq!(
        standing.times_on(TWO, "u", &its_own),
        from_then_on(Times::default())
    );
    let settled = standing.times_on(THREE, "u", &its_own);
    assert!(
        settled.until(clock(1690)).latest() >= Some(clock(1000)),
        "{settled:?}"
    );
    // Much later, that is no longer all.
    let standing = recalled(WALL + 100_000);
    assert_eq!(standing.times_on(TWO, "u", &its_own), Times::up_to(Time::MAX));
}

#[test]
fn a_member_that_was_never_heard_holds_nothing_or_what_it_had_before() {
    let alone = view(1, &[ONE]);
    for (met, expected) in [
        (BTreeSet::new(), None),
        ([THREE].into(), Some(clock(700).plus_ms(CLOCK_LEAD_MS))),
    ] {
        let mut leases = Leases::new(ONE, [ONE, THREE], 1, &met, BTreeSet::new());
        leases.install(alone.clone(), clock(100));
        let standing = run(&mut leases, (100, 500), &[], &alone, false);
        assert!(!standing.is_ready);
        let standing = run(&mut leases, (600, 700), &[], &alone, false);
        assert!(standing.is_ready && standing.confirms(ms(700), leases.floor().plus_ms(1)));
        let latest = standing.times_on(THREE, "u", "a.png").latest();
        assert!(
            latest <= expected && latest.is_some() == expected.is_some(),
            "{latest:?}"
        );
    }
}

#[test]
fn a_node_of_the_same_folder_holds_nothing_of_its_own() {
    let mut leases = Leases::new(ONE, [ONE, THREE], 3, &[THREE].into(), BTreeSet::new());
    let both = view(1, &[ONE, THREE]);
    leases.install(both.clone(), clock(100));
    let standing = run(&mut leases, (100, 200), &[THREE], &both, false);
    assert!(standing.is_folder_of(THREE));
    leases.install(view(2, &[ONE]), clock(300));
    assert_eq!(
        leases.standing(ms(300), WALL).times_on(THREE, "u", "a.png"),
        Times::default()
    );
}

#[test]
fn the_clock_of_a_peer_is_compared_with_the_own() {
    let (mut leases, all) = settled();
    heard(&mut leases, 1100, TWO, &all, true);
    for (ahead, offset) in [(0, 0), (5000, -5000)] {
        let offsets = leases.standing(ms(1100), WALL + 1100 + ahead).clock_offsets;
        assert_eq!(
            offsets.iter().find(|(peer, _)| *peer == TWO),
            Some(&(TWO, offset))
        );
    }
}

#[test]
fn a_node_that_is_no_member_any_more_is_waited_for_until_its_lease_has_expired() {
    let (mut leases, _) = settled();
    leases.set_members([ONE, TWO]);
    let two = view(2, &[ONE, TWO]);
    leases.install(two.clone(), clock(1000));
    heard(&mut leases, 1010, TWO, &two, false);
    assert!(!leases.standing(ms(1010), WALL + 1010).is_ready);
    let standing = run(&mut leases, (1100, 1700), &[TWO], &two, true);
    assert!(standing.is_ready);
    assert_eq!(standing.away().count(), 0);
}

#[test]
fn a_node_that_said_that_it_takes_no_part_waits_until_others_know_better() {
    let (mut leases, all) = settled();
    leases.install(None, clock(1000));
    leases.stay_apart(ms(1000));
    leases.stay_apart(ms(1100));
    leases.install(all.clone(), clock(1150));
    let still = u64::try_from(EXPIRY.as_millis()).unwrap() + 1100;
    let standing = run(&mut leases, (1150, still - 50), &[TWO, THREE], &all, true);
    assert!(!standing.is_ready && standing.lease_until > ms(still - 50));
    assert!(run(&mut leases, (still, still), &[TWO, THREE], &all, true).is_ready);
}

#[test]
fn what_waited_in_the_socket_during_a_pause_tells_of_the_time_before() {
    let (mut leases, all) = settled();
    let last = leases.ticked;
    let woken = last + Duration::from_millis(700);
    let wall_ms = WALL + u64::try_from(woken.as_millis()).unwrap();
    leases.tick(woken, Time::from_ms(wall_ms), wall_ms);
    // Both said, a moment after this node had stopped, that they are clean in the view of that time.
    for peer in [TWO, THREE] {
        let (view, _) = all.as_ref().unwrap();
        leases.heard(
            woken,
            Heard {
                peer,
                incarnation: 1,
                view: Some(*view),
                echo: last,
                facts: Facts {
                    is_clean: true,
                    folder: peer.0.into(),
                    ..Facts::default()
                },
            },
        );
    }
    let standing = leases.standing(woken, wall_ms);
    assert!(!standing.is_settled && !standing.is_ready);
    let anything = |peer| {
        (0..9).all(|i| {
            let times = standing.times_on(peer, "u", &format!("{i}.png"));
            times.latest() == Some(Time::MAX)
        })
    };
    assert!(anything(TWO) && anything(THREE), "they may hold anything");
}

#[test]
fn a_node_on_which_nothing_is_placed_holds_nothing_later_than_when_that_began() {
    let (mut leases, _) = settled();
    let name = name(&[ONE, TWO, THREE], TWO, &[ONE, THREE], ONE);
    let reading = view(2, &[ONE, TWO, THREE]).map(|(id, roster)| (id, roster.placed_on(|node| node != TWO)));
    leases.install(reading.clone(), clock(1050));
    let standing = run(&mut leases, (1100, 1400), &[TWO, THREE], &reading, false);
    assert_eq!(standing.times_on(TWO, "u", &name).latest(), Some(clock(1100)));
    let all = view(3, &[ONE, TWO, THREE]);
    leases.install(all.clone(), clock(1450));
    let standing = run(&mut leases, (1500, 1700), &[TWO, THREE], &all, false);
    assert_eq!(standing.times_on(TWO, "u", &name).latest(), Some(Time::MAX));
    // The same again, and the node is away for a while and may have taken anything.
    leases.install(reading.clone(), clock(1750));
    let standing = run(&mut leases, (1800, 1800), &[TWO, THREE], &reading, false);
    standing.note(TWO, "u", &name, clock(1850));
    let standing = run(&mut leases, (1900, 2500), &[THREE], &reading, false);
    assert_eq!(standing.times_on(TWO, "u", &name).latest(), Some(clock(1800)));
    // It says when it stored the last of that.
    let standing = run(&mut leases, (2600, 2600), &[TWO, THREE], &reading, false);
    assert_eq!(standing.times_on(TWO, "u", &name).latest(), Some(clock(2550)));
}
