//! The bytes: what goes in comes out, and nothing else ever does.

use pixseal::condition::Condition;
use pixseal::election::datagram::{ClusterKey, DATAGRAM_BYTES_MAX, Datagram, LinkState, Rejection, Stamp};
use pixseal::election::message::{Hears, Message, Rival, Stance};
use pixseal::lease::facts::Facts;
use pixseal::members::NODES_MAX;
use pixseal::roster::{NodeId, Roster};
use pixseal::version::Time;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::world::SECRET;

fn key() -> ClusterKey {
    ClusterKey::new(&SECRET)
}

fn ids(max: usize) -> impl Strategy<Value = Vec<NodeId>> {
    btree_set(any::<u32>().prop_map(NodeId), 0..max).prop_map(|ids| ids.into_iter().collect())
}

fn stances(sender: NodeId) -> impl Strategy<Value = Stance> {
    let leader = || any::<u32>().prop_map(NodeId);
    prop_oneof![
        (any::<u64>(), proptest::option::of(leader())).prop_map(|(term, last)| Stance::Seeks { term, last }),
        (any::<u64>(), leader(), any::<u64>(), any::<bool>()).prop_map(
            |(term, leader, number, established)| Stance::Follows {
                term,
                leader,
                number,
                established
            }
        ),
        (any::<u64>(), any::<u64>(), any::<bool>(), ids(40)).prop_map(
            move |(term, number, established, ids)| {
                Stance::Leads {
                    term,
                    number,
                    established,
                    // Among them are lists that leave some out, and such as leave all out.
                    roster: Roster::new(sender, ids).placed_on(|id| id.0 % 3 != 0),
                }
            }
        ),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    let hears = btree_map(any::<u32>(), any::<u16>(), 0..40).prop_map(|hears| {
        let hears = hears.into_iter().map(|(peer, silent_ms)| Hears {
            peer: NodeId(peer),
            silent_ms,
        });
        Message::Heartbeat {
            hears: hears.collect(),
        }
    });
    let short = [
        Message::Probe,
        Message::Election,
        Message::Answer,
        Message::Coordinator,
        Message::Leave,
    ];
    let rival = (any::<u64>(), any::<u32>(), any::<bool>());
    let rival = rival.prop_map(|(incarnation, silent_ms, is_receiver_counted)| {
        Message::Rival(Rival {
            incarnation,
            silent_ms,
            is_receiver_counted,
        })
    });
    prop_oneof![hears, proptest::sample::select(short.to_vec()), rival]
}

fn stamps() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u64>()).prop_map(|(incarnation, sequence)| Stamp {
        incarnation,
        sequence,
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let condition = proptest::sample::select(Condition::ALL.to_vec());
    (any::<[u64; 6]>(), any::<bool>(), condition).prop_map(
        |([clock, reserve, stored, wall_ms, folder, primary_key], is_clean, condition)| Facts {
            clock: Time(clock),
            reserve: Time(reserve),
            stored: Time(stored),
            wall_ms,
            is_clean,
            folder,
            primary_key,
            condition,
        },
    )
}

fn links() -> impl Strategy<Value = LinkState> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u16>());
    (numbers, any::<bool>(), any::<bool>()).prop_map(
        |((in_force, wanted, timeout_ms, port), counts_receiver, is_apart)| LinkState {
            in_force,
            wanted,
            timeout_ms,
            port,
            counts_receiver,
            is_apart,
        },
    )
}

fn datagrams() -> impl Strategy<Value = Datagram> {
    any::<u32>().prop_map(NodeId).prop_flat_map(|sender| {
        let receiver = any::<u32>().prop_map(NodeId);
        (
            Just(sender),
            receiver,
            stamps(),
            stamps(),
            facts(),
            links(),
            stances(sender),
            messages(),
        )
            .prop_map(
                |(sender, receiver, stamp, echo, facts, link, stance, message)| Datagram {
                    sender,
                    receiver,
                    stamp,
                    echo,
                    facts,
                    link,
                    stance,
                    message,
                },
            )
    })
}

fn an_election() -> Datagram {
    Datagram {
        sender: NodeId(1),
        receiver: NodeId(2),
        stamp: Stamp {
            incarnation: 3,
            sequence: 4,
        },
        echo: Stamp {
            incarnation: 5,
            sequence: 6,
        },
        facts: Facts {
            clock: Time(9),
            reserve: Time(10),
            stored: Time(19),
            wall_ms: 11,
            is_clean: true,
            folder: 12,
            primary_key: 14,
            condition: Condition::DiskFull,
        },
        link: LinkState {
            in_force: 15,
            wanted: 16,
            timeout_ms: 17,
            port: 18,
            counts_receiver: true,
            is_apart: false,
        },
        stance: Stance::Follows {
            term: 7,
            leader: NodeId(8),
            number: 13,
            established: true,
        },
        message: Message::Election,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(datagram in datagrams()) {
        let bytes = key().encode(&datagram);
        prop_assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(key().decode(&bytes), Ok(datagram));
    }

    #[test]
    fn every_flipped_bit_is_refused(datagram in datagrams()) {
        let mut bytes = key().encode(&datagram);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key().decode(&bytes).is_err(), "bit {} does not matter", bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn every_other_length_is_refused(datagram in datagrams(), more in vec(any::<u8>(), 1..100)) {
        let bytes = key().encode(&datagram);
        for length in 0..bytes.len() {
            prop_assert_eq!(key().decode(&bytes[..length]), Err(Rejection::Malformed));
        }
        prop_assert_eq!(key().decode(&[bytes, more].concat()), Err(Rejection::Malformed));
    }

    #[test]
    fn noise_is_refused(noise in vec(any::<u8>(), 0..DATAGRAM_BYTES_MAX + 9), keep in 0..64_usize) {
        prop_assert!(key().decode(&noise).is_err());
        let mut bytes = key().encode(&an_election());
        let keep = keep.min(bytes.len());
        bytes.truncate(keep);
        bytes.extend(noise);
        prop_assert!(key().decode(&bytes).is_err());
    }
}

#[test]
fn other_keys_are_foreign_not_forged() {
    let bytes = ClusterKey::new(&[8; 32]).encode(&an_election());
    assert_eq!(key().decode(&bytes), Err(Rejection::Foreign));
}

#[test]
fn a_changed_tag_is_forged() {
    let mut bytes = key().encode(&an_election());
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(key().decode(&bytes), Err(Rejection::Forged));
}

#[test]
fn the_largest_cluster_fits() {
    let everyone = 0..u32::try_from(NODES_MAX).unwrap();
    let hears = everyone.clone().map(|id| Hears {
        peer: NodeId(id),
        silent_ms: u16::MAX,
    });
    let datagram = Datagram {
        stance: Stance::Leads {
            term: u64::MAX,
            number: u64::MAX,
            established: true,
            roster: Roster::new(NodeId(0), everyone.map(NodeId)),
        },
        message: Message::Heartbeat {
            hears: hears.collect(),
        },
        sender: NodeId(0),
        ..an_election()
    };
    let bytes = key().encode(&datagram);
    assert_eq!(bytes.len(), DATAGRAM_BYTES_MAX);
    assert_eq!(key().decode(&bytes), Ok(datagram));
}

/// A cluster can be restarted node by node only while old and new nodes write the same bytes.
#[test]
fn the_bytes_stay_as_they_are() {
    let hex: String = key()
        .encode(&an_election())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected = concat!(
        "70787304",                         // magic and version
        "db6b7fb6f5571f4a",                 // cluster
        "00000001",                         // sender
        "00000002",                         // receiver
        "00000000000000030000000000000004", // stamp
        "00000000000000050000000000000006", // echo
        "0000000000000009000000000000000a", // clock, reserve
        "0000000000000013000000000000000b", // stored, wall clock
        "000000000000000c000000000000000e", // images folder, primary key
        "02",                               // condition
        "000000000000000f0000000000000010", // lists in force and wanted
        "00000011",                         // health timeout
        "0012",                             // port
        "03",                               // clean, counts the receiver
        "0017",                             // length
        "010000000000000007",               // follows, term
        "00000008000000000000000d01",       // leader, view number, established
        "02",                               // election
        "5948fbfdf59b03cb9d28bf268c9b9e71ac2b96f8be6484dccde9e2bd581e6a42",
    );
    assert_eq!(hex, expected);
}
