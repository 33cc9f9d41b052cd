//! Who takes an upload: a pure function of the user, the name and the alive ids.
//!
//! Alive, for placement, means alive and able to take images: [`Roster::placed`].
//!
//! Every node computes it alone and comes to the same answer, so no node needs to ask another. The rule,
//! with the field separator that keeps `("ab", "c")` and `("a", "bc")` apart:
//!
//! ```text
//! index = u64::from_be_bytes(SHA-256(user ‖ 0x00 ‖ name)[0..8]) mod number of alive ids
//! owner = alive ids in rising order [index]
//! ```
//!
//! Published vectors, over the alive ids `1, 2, 3` (more in `tests/vectors/placement.json`):
//!
//! | user | name | first 8 bytes | node |
//! |---|---|---|---|
//! | alice | cat.png | 12364284236658140171 | 3 |
//! | stresstest | stress_image_1.png | 4978666931909603133 | 1 |
//! | stresstest | stress_image_2.png | 4331614531881366574 | 2 |
//!
//! `mod` moves most keys when the alive set changes. That is accepted: the rule is fixed by the people who
//! use it. Unless the cluster is settled, a node asks all others before it answers ([`crate::lease`]), and images are
//! handed over to their node once all members are back.

use sha2::{Digest, Sha256};

use crate::roster::{NodeId, Roster};

/// The first eight bytes of SHA-256(user ‖ 0x00 ‖ name), big-endian.
pub fn hash(user: &str, name: &str) -> u64 {
    let mut sha = Sha256::new();
    sha.update(user);
    sha.update([0]);
    sha.update(name);
    let digest: [u8; 32] = sha.finalize().into();
    u64::from_be_bytes(
        digest
            .first_chunk()
            .copied()
            .expect("a SHA-256 digest has 32 bytes"),
    )
}

/// The node that takes `user`'s image `name` while exactly those of `alive` are alive that take images.
pub fn assigned(user: &str, name: &str, alive: &Roster) -> NodeId {
    let ids = alive.placed();
    let index = hash(user, name) % ids.len() as u64;
    ids[usize::try_from(index).expect("an index below a slice length fits usize")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn roster(list: &str) -> Roster {
        let ids: Vec<NodeId> = list.split(',').map(|id| NodeId(id.parse().unwrap())).collect();
        Roster::new(ids[0], ids)
    }

    #[test]
    fn every_published_vector_holds() {
        let vectors: Value = serde_json::from_str(include_str!("../tests/vectors/placement.json")).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let (user, name) = (case["user"].as_str().unwrap(), case["name"].as_str().unwrap());
            assert_eq!(hash(user, name).to_string(), case["first8_be"].as_str().unwrap());
            for (alive, node) in case["node_of"].as_object().unwrap() {
                assert_eq!(
                    u64::from(assigned(user, name, &roster(alive)).0),
                    node.as_u64().unwrap()
                );
            }
        }
    }

    #[test]
    fn the_stress_images_fall_as_published() {
        let alive = roster("1,2,3");
        let mut counts = [0; 3];
        for i in 1..=2000 {
            counts[assigned("stresstest", &format!("stress_image_{i}.png"), &alive).0 as usize - 1] += 1;
        }
        assert_eq!(counts, [659, 665, 676]);
    }

    #[test]
    fn exactly_one_node_calls_an_image_its_own() {
        let seen_by =
            [(2, "2,7,30"), (7, "7,30,2"), (30, "30,2,7")].map(|(own, ids)| (NodeId(own), roster(ids)));
        for i in 0..500 {
            let name = format!("{i}.png");
            let takers = seen_by
                .iter()
                .filter(|(own, alive)| assigned("u", &name, alive) == *own)
                .count();
            assert_eq!(takers, 1);
        }
    }

    #[test]
    fn the_separator_keeps_user_and_name_apart() {
        assert_ne!(hash("ab", "c.png"), hash("a", "bc.png"));
    }
}
