//! One node alone; the test writes every datagram of its peer.

use super::message::Stance;
use super::*;

const PEER: NodeId = NodeId(1);

fn alone(health_timeout: Duration) -> Election {
    let own = NodeId(2);
    let key = ClusterKey::new(&[7; 32]);
    let mut node = Election::new(Settings {
        own,
        members: vec![PEER, own],
        key,
        incarnation: 1,
        health_timeout,
        port: 0,
    });
    let started = node.step(Duration::ZERO, Input::Tick);
    assert!(
        matches!(started[..], [Output::Send { to: PEER, .. }]),
        "{started:?}"
    );
    let mut last = Vec::new();
    while node.view().leader.is_none() {
        last = node.step(node.deadline(), Input::Tick);
    }
    assert!(matches!(&last[..], [.., Output::Publish(view)] if view == node.view()));
    node
}

/// Node 1 tells its stance, with an echo of what node 2 sent last.
fn hear(node: &mut Election, stance: Stance) -> Vec<Output> {
    hear_at(node, node.clock + Duration::from_millis(1), node.stamp, stance)
}

/// The same at `now`, with an echo of what node 2 sent with the stamp `echo`.
fn hear_at(node: &mut Election, now: Duration, echo: Stamp, stance: Stance) -> Vec<Output> {
    let datagram = of_peer(now, echo, stance);
    receive(node, now, &datagram, None)
}

/// What node 1 sends node 2 at `now`.
fn of_peer(now: Duration, echo: Stamp, stance: Stance) -> Datagram {
    Datagram {
        sender: PEER,
        receiver: NodeId(2),
        stamp: Stamp {
            incarnation: 1,
            sequence: u64::try_from(now.as_micros()).unwrap(),
        },
        echo,
        facts: Facts::default(),
        link: LinkState {
            counts_receiver: true,
            ..LinkState::default()
        },
        stance,
        message: Message::Probe,
    }
}

fn receive(
    node: &mut Election,
    now: Duration,
    datagram: &Datagram,
    source: Option<SocketAddr>,
) -> Vec<Output> {
    let bytes = node.key.encode(datagram);
    node.step(
        now,
        Input::Datagram {
            bytes: &bytes,
            source,
        },
    )
}

#[test]
fn a_lone_node_listens_for_half_the_timeout_and_serves_alone() {
    let node = alone(HEALTH_TIMEOUT);
    let View {
        term,
        leader,
        roster,
        since,
        ..
    } = node.view();
    assert_eq!(
        (*term, *leader, roster.ids()),
        (1, Some(node.own), &[node.own][..])
    );
    assert_eq!(*since, HEALTH_TIMEOUT / 2);
}

#[test]
fn a_leader_that_meets_a_later_term_goes_beyond_it_at_once() {
    let mut node = alone(HEALTH_TIMEOUT);
    hear(
        &mut node,
        Stance::Seeks {
            term: 1_000,
            last: Some(PEER),
        },
    );
    assert_eq!((node.view().term, node.view().leader), (1_001, Some(node.own)));
}

#[test]
fn the_last_term_of_all_breaks_nothing() {
    let mut node = alone(HEALTH_TIMEOUT);
    hear(
        &mut node,
        Stance::Seeks {
            term: u64::MAX,
            last: Some(PEER),
        },
    );
    assert_eq!(node.view().term, u64::MAX);
}

#[test]
fn a_leader_of_the_last_term_can_still_be_succeeded() {
    let mut node = alone(HEALTH_TIMEOUT);
    let roster = Roster::new(PEER, [node.own]);
    hear(
        &mut node,
        Stance::Leads {
            term: u64::MAX,
            number: 1,
            established: true,
            roster,
        },
    );
    assert_eq!((node.view().term, node.view().leader), (u64::MAX, Some(PEER)));
    while node.view().leader != Some(node.own) {
        node.step(node.deadline(), Input::Tick);
    }
    assert_eq!(node.view().term, u64::MAX);
}

/// What waited in its socket was sent to the leader that it was.
#[test]
fn a_leader_that_wakes_leads_only_after_peers_have_heard_it_again() {
    let mut node = alone(HEALTH_TIMEOUT);
    hear(&mut node, Stance::Seeks { term: 0, last: None });
    let (echo, term) = (node.stamp, node.view().term);
    let follows = Stance::Follows {
        term,
        leader: node.own,
        number: node.view().number,
        established: true,
    };
    hear(&mut node, follows.clone());
    let woke = node.clock + Duration::from_millis(900);
    for late in 0..3 {
        hear_at(
            &mut node,
            woke + Duration::from_micros(late),
            echo,
            follows.clone(),
        );
        assert_eq!(node.view().leader, None, "by a datagram from before it slept");
    }
    let leads = Stance::Leads {
        term: term + 1,
        number: 1,
        established: true,
        roster: Roster::new(PEER, [node.own]),
    };
    hear_at(&mut node, woke + Duration::from_micros(3), echo, leads);
    assert_eq!(node.view().leader, Some(PEER));
    // If nobody else leads, it need not wait longer than for one answer.
    let mut node = alone(HEALTH_TIMEOUT);
    hear(&mut node, Stance::Seeks { term: 0, last: None });
    let woke = node.clock + Duration::from_millis(900);
    node.step(woke, Input::Tick);
    assert_eq!(node.view().leader, None);
    hear(
        &mut node,
        Stance::Seeks {
            term,
            last: Some(NodeId(2)),
        },
    );
    assert_eq!(node.view().leader, Some(NodeId(2)));
}

#[test]
fn who_leaves_does_not_come_back() {
    let mut node = alone(HEALTH_TIMEOUT);
    let roster = Roster::new(PEER, [node.own]);
    node.step(node.clock, Input::Leave);
    hear(
        &mut node,
        Stance::Leads {
            term: 9,
            number: 1,
            established: true,
            roster,
        },
    );
    for _ in 0..50 {
        let said = node.step(node.deadline(), Input::Tick);
        assert_eq!(node.view().leader, None, "{said:?}");
    }
}

#[test]
fn every_time_follows_from_the_timeout() {
    for (timeout, taken) in [
        (60, 60),
        (100, 100),
        (1, 60),
        (0, 60),
        (600, 600),
        (60_000, 60_000),
    ] {
        let mut node = alone(Duration::from_millis(timeout));
        hear(&mut node, Stance::Seeks { term: 0, last: None });
        let heard = node.clock;
        let mut steps = 0;
        while node.view().roster.contains(PEER) {
            node.step(node.deadline(), Input::Tick);
            steps += 1;
        }
        let dead_after = node.clock - heard;
        assert_eq!(
            dead_after,
            Duration::from_millis(taken),
            "--health-timeout {timeout}"
        );
        assert!(steps <= 2 + taken / 10, "{steps} ticks");
    }
}

/// Whoever waited for its lease to expire would wait for as long as the lists differ.
#[test]
fn a_peer_that_takes_no_part_holds_nobody_up() {
    let mut node = alone(HEALTH_TIMEOUT);
    let now = node.clock + Duration::from_millis(1);
    let mut datagram = of_peer(now, node.stamp, Stance::Seeks { term: 1, last: None });
    datagram.link.is_apart = true;
    let told = receive(&mut node, now, &datagram, None);
    let told: Vec<&Output> = told
        .iter()
        .filter(|output| matches!(output, Output::Arrived { .. } | Output::Left { .. }))
        .collect();
    assert!(
        matches!(
            told[..],
            [Output::Arrived { .. }, Output::Left { peer: PEER, .. }]
        ),
        "{told:?}"
    );
}

/// A double ends at the first word, so its first answer has to do.
#[test]
fn a_double_is_told_of_by_its_first_proof() {
    let mut node = alone(HEALTH_TIMEOUT);
    let [counted, other] = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
    let now = node.clock + Duration::from_millis(1);
    let seeks = || Stance::Seeks { term: 1, last: None };
    let datagram = of_peer(now, node.stamp, seeks());
    receive(&mut node, now, &datagram, Some(counted));
    assert!(node.view().roster.contains(PEER));
    let mut datagram = of_peer(now, Stamp::default(), seeks());
    datagram.stamp.incarnation = 2;
    let told = receive(&mut node, now, &datagram, Some(other));
    assert!(
        matches!(told[..], [Output::SendTo { address, .. }] if address == other),
        "{told:?}"
    );
    datagram.stamp.sequence += 1;
    datagram.echo = node.stamp;
    let told = receive(&mut node, now, &datagram, Some(other));
    let double = Output::Double {
        peer: PEER,
        counted,
        other,
    };
    assert!(
        matches!(&told[..], [Output::SendTo { address, .. }, said] if *address == counted && *said == double),
        "{told:?}"
    );
    assert!(node.view().roster.contains(PEER));
    let again = receive(&mut node, now, &datagram, Some(other));
    assert_eq!(again, []);
}
