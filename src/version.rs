//! The order of writes: a version for every write, and which of several copies of a name is the newest.
//!
//! A version is the time of a hybrid logical clock and the node that wrote (Kulkarni, Demirbas, Madappa, Avva and
//! Leone 2014, "Logical Physical Clocks"): it follows the wall clock, never goes back, and is later than every
//! version that the node has heard of.
//!
//! ```text
//! time      milliseconds since 1970, 48 bits · counter, 16 bits
//! version   time 8 · node 4; big-endian, so that bytes order as versions do
//! ```
//!
//! A copy is an image or a tombstone, the trace of a delete. Knows nothing of files and of how nodes are asked: the
//! caller brings what each node holds, and what the nodes that cannot be asked may hold at most.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::roster::NodeId;

/// Bytes of an encoded version.
pub const VERSION_BYTES: usize = 12;
/// A clock is not moved further ahead of the wall clock than this by what others say: one day, in milliseconds. A
/// node whose clock is years ahead must not spoil the clocks of all others for years.
const AHEAD_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Bits of a time that count writes within a millisecond.
const COUNTER_BITS: u32 = 16;

/// A moment of the hybrid logical clock; 0 is before every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// Later than every write.
    pub const MAX: Time = Time(u64::MAX);

    /// The first moment of a millisecond since 1970.
    pub fn from_ms(ms: u64) -> Time {
        Time(ms << COUNTER_BITS)
    }

    /// The millisecond since 1970 that this moment lies in.
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// This moment, `ms` milliseconds later.
    pub fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms << COUNTER_BITS))
    }
}

/// One write of one name, in the order of all writes. The default is before every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When, by the clock of the node that wrote.
    pub time: Time,
    /// Who wrote: tells apart what two nodes wrote at the same time.
    pub node: NodeId,
}

impl Version {
    /// The bytes that a sealed file and a tombstone carry.
    pub fn encode(self) -> [u8; VERSION_BYTES] {
        let mut bytes = [0; VERSION_BYTES];
        bytes[..8].copy_from_slice(&self.time.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.node.0.to_be_bytes());
        bytes
    }

    /// The inverse of [`Version::encode`].
    pub fn decode(bytes: &[u8; VERSION_BYTES]) -> Version {
        let (time, node) = bytes.split_at(8);
        Version {
            time: Time(u64::from_be_bytes(time.try_into().expect("split there"))),
            node: NodeId(u32::from_be_bytes(node.try_into().expect("four bytes are left"))),
        }
    }
}

/// `milliseconds.counter.node`, as receipts and listings write it.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counter = self.time.0 & ((1 << COUNTER_BITS) - 1);
        write!(f, "{}.{counter}.{}", self.time.ms(), self.node)
    }
}

/// The text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is written milliseconds.counter.node")
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(NotAVersion);
        let ms: u64 = part()?.parse().map_err(|_| NotAVersion)?;
        let counter: u16 = part()?.parse().map_err(|_| NotAVersion)?;
        let node: u32 = part()?.parse().map_err(|_| NotAVersion)?;
        if parts.next().is_some() || ms >> (u64::BITS - COUNTER_BITS) != 0 {
            return Err(NotAVersion);
        }
        Ok(Version {
            time: Time(ms << COUNTER_BITS | u64::from(counter)),
            node: NodeId(node),
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A hybrid logical clock. The wall clock comes in as an argument, in milliseconds since 1970. Threads share it
/// without a lock.
#[derive(Debug, Default)]
pub struct Clock {
    last: AtomicU64,
    /// The latest time of anything that was stored.
    stored: AtomicU64,
}

impl Clock {
    /// A time later than every time before, by the wall clock if that is later still.
    pub fn next(&self, wall_ms: u64) -> Time {
        let wall = Time::from_ms(wall_ms).0;
        let later = |last: u64| wall.max(last.saturating_add(1));
        let last = self.last.update(Ordering::AcqRel, Ordering::Acquire, later);
        Time(later(last))
    }

    /// Every later [`Clock::next`] is after `last`, which its owner has used or seen in a folder, however far that is ahead
    /// of the wall clock.
    pub fn start_after(&self, last: Time) {
        self.last.fetch_max(last.0, Ordering::AcqRel);
    }

    /// The time now; no write has it.
    pub fn now(&self, wall_ms: u64) -> Time {
        Time(self.last.load(Ordering::Acquire).max(Time::from_ms(wall_ms).0))
    }

    /// Something with this time is about to be stored.
    pub fn store(&self, time: Time) {
        self.stored.fetch_max(time.0, Ordering::AcqRel);
    }

    /// Nothing that was stored is later.
    pub fn stored(&self) -> Time {
        Time(self.stored.load(Ordering::Acquire))
    }

    /// Every later [`Clock::next`] is after `heard`. `false`: that is more than a day ahead of the wall clock, and the
    /// clock stays as it is.
    pub fn observe(&self, heard: Time, wall_ms: u64) -> bool {
        let believable = heard.ms() <= wall_ms.saturating_add(AHEAD_MS_MAX);
        if believable {
            self.last.fetch_max(heard.0, Ordering::AcqRel);
        }
        believable
    }
}

/// What became of a write. Nothing older ever takes the place of something newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteOutcome {
    /// There was no image of that name.
    Created,
    /// An older image of that name is gone.
    Replaced,
    /// This very write was there already.
    Present,
    /// A newer write was there already.
    Superseded,
}

impl WriteOutcome {
    /// What becomes of a write where another one is already; `None`: it takes its place.
    pub fn beside(write: Version, held: Version) -> Option<WriteOutcome> {
        match held.cmp(&write) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(WriteOutcome::Present),
            std::cmp::Ordering::Greater => Some(WriteOutcome::Superseded),
        }
    }
}

/// What a node holds of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The write that it is of.
    pub version: Version,
    /// A tombstone: the write was a delete.
    pub deleted: bool,
}

/// Which of several copies counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// An image, and a node that holds it.
    Image {
        /// Its version.
        version: Version,
        /// Who holds it; the preferred node, if that one holds it too.
        node: NodeId,
    },
    /// The name was deleted.
    Deleted(Version),
    /// The name was never written, or so long ago deleted that no trace is left.
    Absent,
    /// These nodes cannot be asked and may hold something newer.
    Unknown(Vec<NodeId>),
}

impl Newest {
    /// The version that counts, if one is known.
    pub fn version(&self) -> Option<Version> {
        match self {
            Newest::Image { version, .. } | Newest::Deleted(version) => Some(*version),
            Newest::Absent | Newest::Unknown(_) => None,
        }
    }
}

/// The one place that decides which of several copies of a name is the image. `copies` is what the nodes that were
/// asked hold. `away` are the nodes that could not be asked, each with the latest time that a copy of this name on it
/// can have; `None`: it holds none that counts. Of nodes with the same copy, `preferred` is named.
pub fn newest(copies: &[(NodeId, Copy)], away: &[(NodeId, Option<Time>)], preferred: NodeId) -> Newest {
    let best = copies
        .iter()
        .max_by_key(|(node, copy)| (copy.version, *node == preferred));
    let known = best.map_or(Time::default(), |(_, copy)| copy.version.time);
    let unknown: Vec<NodeId> = away
        .iter()
        .filter(|(_, latest)| latest.is_some_and(|latest| latest >= known))
        .map(|(node, _)| *node)
        .collect();
    if !unknown.is_empty() {
        return Newest::Unknown(unknown);
    }
    match best {
        None => Newest::Absent,
        Some((_, copy)) if copy.deleted => Newest::Deleted(copy.version),
        Some((node, copy)) => Newest::Image {
            version: copy.version,
            node: *node,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn version(ms: u64, node: u32) -> Version {
        Version {
            time: Time::from_ms(ms),
            node: NodeId(node),
        }
    }

    fn image(ms: u64, node: u32) -> Copy {
        Copy {
            version: version(ms, node),
            deleted: false,
        }
    }

    fn tombstone(ms: u64, node: u32) -> Copy {
        Copy {
            deleted: true,
            ..image(ms, node)
        }
    }

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const THREE: NodeId = NodeId(3);

    #[test]
    fn the_newest_copy_counts_and_the_node_breaks_ties() {
        let held = |version, node| Newest::Image { version, node };
        let old_and_new = [(ONE, image(5, 1)), (TWO, image(6, 2))];
        assert_eq!(newest(&old_and_new, &[], ONE), held(version(6, 2), TWO));
        let same_time = [(ONE, image(5, 1)), (TWO, image(5, 2))];
        assert_eq!(newest(&same_time, &[], ONE), held(version(5, 2), TWO));
        let handed_over = [(ONE, image(5, 1)), (TWO, image(5, 1)), (THREE, image(5, 1))];
        assert_eq!(newest(&handed_over, &[], TWO), held(version(5, 1), TWO));
        let deleted = [(ONE, image(5, 1)), (TWO, tombstone(6, 2))];
        assert_eq!(newest(&deleted, &[], ONE), Newest::Deleted(version(6, 2)));
        let written_again = [(ONE, image(7, 1)), (TWO, tombstone(6, 2))];
        assert_eq!(newest(&written_again, &[], ONE), held(version(7, 1), ONE));
        assert_eq!(newest(&[], &[], ONE), Newest::Absent);
    }

    #[test]
    fn a_node_that_is_away_counts_only_for_what_it_can_hold() {
        let copies = [(ONE, image(5, 1))];
        let away = |latest: Option<u64>| [(THREE, latest.map(Time::from_ms))];
        let known = Newest::Image {
            version: version(5, 1),
            node: ONE,
        };
        assert_eq!(newest(&copies, &away(Some(4)), ONE), known);
        assert_eq!(newest(&copies, &away(None), ONE), known);
        for latest in [5, 6] {
            assert_eq!(
                newest(&copies, &away(Some(latest)), ONE),
                Newest::Unknown(vec![THREE])
            );
        }
        assert_eq!(newest(&[], &away(Some(1)), ONE), Newest::Unknown(vec![THREE]));
        assert_eq!(newest(&[], &away(None), ONE), Newest::Absent);
        let deleted = [(ONE, tombstone(5, 1))];
        assert_eq!(
            newest(&deleted, &away(Some(4)), ONE),
            Newest::Deleted(version(5, 1))
        );
    }

    #[test]
    fn a_clock_never_goes_back_and_follows_what_it_heard() {
        let clock = Clock::default();
        let first = clock.next(1000);
        assert_eq!(first, Time::from_ms(1000));
        let back = clock.next(10);
        assert!(back > first && back.ms() == 1000, "the wall clock went back");
        assert!(clock.observe(Time::from_ms(5000), 1000));
        assert!(clock.next(1000) > Time::from_ms(5000));
        assert_eq!(clock.next(9000), Time::from_ms(9000));
        assert!(!clock.observe(Time::from_ms(9000 + AHEAD_MS_MAX + 1), 9000));
        assert_eq!(clock.now(9000), Time::from_ms(9000));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "x.2.3",
            "1.65536.3",
            "1.2.x",
            "281474976710656.0.1",
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
        assert_eq!("1.2.3".parse::<Version>().unwrap().to_string(), "1.2.3");
    }

    proptest! {
        #[test]
        fn bytes_and_text_keep_a_version_and_bytes_its_order(a in any::<(u64, u32)>(), b in any::<(u64, u32)>()) {
            let [a, b] = [a, b].map(|(time, node)| Version { time: Time(time), node: NodeId(node) });
            prop_assert_eq!(Version::decode(&a.encode()), a);
            prop_assert_eq!(a.to_string().parse::<Version>(), Ok(a));
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        }

        #[test]
        fn threads_never_get_one_time_twice(walls in vec(0..50_u64, 1..50)) {
            let clock = Clock::default();
            let mut times: Vec<Time> = std::thread::scope(|scope| {
                let draw = || walls.iter().map(|wall| clock.next(*wall)).collect::<Vec<_>>();
                let drawing = [scope.spawn(draw), scope.spawn(draw)];
                drawing.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            times.sort_unstable();
            prop_assert!(times.is_sorted_by(|a, b| a < b));
        }

        #[test]
        fn the_order_of_the_copies_does_not_matter(times in vec((0..4_u64, 1..4_u32, any::<bool>()), 0..5)) {
            let mut copies: Vec<(NodeId, Copy)> = Vec::new();
            for (at, (ms, node, deleted)) in times.into_iter().enumerate() {
                // One write is one thing: either a delete or an image.
                let deleted = deleted && ms % 2 == 0;
                copies.push((NodeId(u32::try_from(at).unwrap()), Copy { deleted, ..image(ms * 2 + u64::from(deleted), node) }));
            }
            let forwards = newest(&copies, &[], NodeId(0));
            copies.reverse();
            prop_assert_eq!(forwards.version(), newest(&copies, &[], NodeId(0)).version());
        }
    }
}
