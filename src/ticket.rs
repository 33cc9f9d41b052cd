//! Signed claims: what one node says to another through a client, or asks of it directly.
//!
//! A redirect carries a ticket in its `Location`: who redirected by which view, how often the request was
//! redirected before, and whether a token for it was seen. What nodes ask each other carries one as well. Nobody without
//! the cluster's key can make one, and a ticket is good for one method, one name, one node and [`LIFETIME_MS`]: a
//! `Location` that a client kept is an ordinary request tomorrow.
//!
//! ```text
//! ticket   base64url( purpose 1 · node 4 · term 8 · leader 4 · number 8 · hops 1 · expiry 8 · version 12 · MAC 16 )
//! MAC      the first half of HMAC-SHA256(ticket key, all before · method · 0 · user · 0 · name)
//! key      HKDF-SHA256(cluster key, no salt, "pixseal ticket")
//! ```
//!
//! Numbers are big-endian; expiry is in milliseconds since 1970, by the clock that all nodes follow (see `version`). The time
//! comes in as an argument.

use base64ct::{Base64UrlUnpadded, Encoding};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::image_id::ImageId;
use crate::roster::{NodeId, ViewId};
use crate::version::{VERSION_BYTES, Version};

/// How long a ticket is good for.
pub const LIFETIME_MS: u64 = 30_000;

const CLAIMS_BYTES: usize = 1 + 4 + 8 + 4 + 8 + 1 + 8 + VERSION_BYTES;
const MAC_BYTES: usize = 16;
const TICKET_BYTES: usize = CLAIMS_BYTES + MAC_BYTES;

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A request that another node redirected.
    Redirect,
    /// The same, and its sender has shown that node a token that allows it.
    AuthorizedRedirect,
    /// A node hands over a copy: an image with PUT, a tombstone with DELETE.
    HandOver,
    /// A node hands over an upload, which is a write of the view that the ticket names.
    Upload,
    /// A node is about to write a name, in the view that the ticket names.
    Intent,
    /// A node reads what is held of a name, lists what is held of a user, or asks how another one is.
    Read,
}

impl Purpose {
    const ALL: [Purpose; 6] = [
        Purpose::Redirect,
        Purpose::AuthorizedRedirect,
        Purpose::HandOver,
        Purpose::Upload,
        Purpose::Intent,
        Purpose::Read,
    ];

    fn byte(self) -> u8 {
        match self {
            Purpose::Redirect => 0,
            Purpose::HandOver => 1,
            Purpose::Upload => 2,
            Purpose::Intent => 3,
            Purpose::Read => 4,
            Purpose::AuthorizedRedirect => 5,
        }
    }

    /// Whether a client comes with it, sent by a node.
    pub fn is_redirect(self) -> bool {
        matches!(self, Purpose::Redirect | Purpose::AuthorizedRedirect)
    }
}

/// What a ticket is good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'s> {
    method: &'s str,
    user: &'s str,
    /// Empty: the list of the user's images.
    name: &'s str,
}

impl<'s> Scope<'s> {
    /// A request for an image.
    pub fn image(method: &'s str, id: &'s ImageId) -> Scope<'s> {
        Scope {
            method,
            user: id.user(),
            name: id.name(),
        }
    }

    /// What a node says about itself: no user has no name.
    pub(crate) fn status() -> Scope<'static> {
        Scope {
            method: "GET",
            user: "",
            name: "",
        }
    }

    /// The list of a user's images.
    pub fn list(user: &'s str) -> Scope<'s> {
        Scope {
            method: "GET",
            user,
            name: "",
        }
    }
}

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// What it is for.
    pub purpose: Purpose,
    /// The node that it is for.
    pub node: NodeId,
    /// The view of the node that signed it.
    pub view: ViewId,
    /// How many nodes have redirected the request.
    pub hops: u8,
    /// When it ends, in milliseconds since 1970.
    pub expiry_ms: u64,
    /// What is handed over or about to be written; the default otherwise.
    pub version: Version,
}

/// Signs and verifies tickets. No Debug; the `hmac` crate wipes it on drop.
#[derive(Clone)]
pub struct TicketKey(Hmac<Sha256>);

impl TicketKey {
    /// Of the 32 bytes that all nodes share.
    pub fn new(cluster_key: &[u8; 32]) -> TicketKey {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, cluster_key)
            .expand(b"pixseal ticket", &mut *key)
            .expect("HKDF yields up to 255 hashes, and this is one");
        TicketKey(Hmac::new_from_slice(&*key).expect("HMAC takes keys of any length"))
    }

    /// The ticket, ready for a URL.
    pub fn sign(&self, claims: &Claims, scope: Scope<'_>) -> String {
        let mut bytes = [0; TICKET_BYTES];
        bytes[..CLAIMS_BYTES].copy_from_slice(&claims.encode());
        let tag = self.mac(&bytes[..CLAIMS_BYTES], scope).finalize().into_bytes();
        bytes[CLAIMS_BYTES..].copy_from_slice(&tag[..MAC_BYTES]);
        Base64UrlUnpadded::encode_string(&bytes)
    }

    /// What `text` says, if a node of this cluster signed it for `node` and for this request, and it has not expired.
    pub fn verify(&self, text: &str, node: NodeId, scope: Scope<'_>, now_ms: u64) -> Option<Claims> {
        let mut buf = [0; TICKET_BYTES];
        let bytes = Base64UrlUnpadded::decode(text, &mut buf).ok()?;
        let (claims, tag) = bytes.split_at_checked(CLAIMS_BYTES)?;
        if tag.len() != MAC_BYTES {
            return None;
        }
        self.mac(claims, scope).verify_truncated_left(tag).ok()?;
        let claims = Claims::decode(claims.try_into().expect("split there"))?;
        (claims.node == node && now_ms < claims.expiry_ms).then_some(claims)
    }

    fn mac(&self, claims: &[u8], scope: Scope<'_>) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(claims);
        for part in [scope.method, "\0", scope.user, "\0", scope.name] {
            mac.update(part.as_bytes());
        }
        mac
    }
}

impl Claims {
    fn encode(&self) -> [u8; CLAIMS_BYTES] {
        let mut bytes = Vec::with_capacity(CLAIMS_BYTES);
        bytes.push(self.purpose.byte());
        bytes.extend(self.node.0.to_be_bytes());
        bytes.extend(self.view.term.to_be_bytes());
        bytes.extend(self.view.leader.0.to_be_bytes());
        bytes.extend(self.view.number.to_be_bytes());
        bytes.push(self.hops);
        bytes.extend(self.expiry_ms.to_be_bytes());
        bytes.extend(self.version.encode());
        bytes.try_into().expect("the lengths add up")
    }

    fn decode(bytes: &[u8; CLAIMS_BYTES]) -> Option<Claims> {
        let mut rest = &bytes[..];
        let [purpose] = take(&mut rest)?;
        Some(Claims {
            purpose: Purpose::ALL.into_iter().find(|known| known.byte() == purpose)?,
            node: NodeId(u32::from_be_bytes(take(&mut rest)?)),
            view: ViewId {
                term: u64::from_be_bytes(take(&mut rest)?),
                leader: NodeId(u32::from_be_bytes(take(&mut rest)?)),
                number: u64::from_be_bytes(take(&mut rest)?),
            },
            hops: take::<1>(&mut rest)?[0],
            expiry_ms: u64::from_be_bytes(take(&mut rest)?),
            version: Version::decode(&take(&mut rest)?),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Time;

    const NOW: u64 = 1_790_000_000_000;

    fn claims() -> Claims {
        Claims {
            purpose: Purpose::Redirect,
            node: NodeId(2),
            view: ViewId {
                term: u64::MAX,
                leader: NodeId(3),
                number: 7,
            },
            hops: 1,
            expiry_ms: NOW + LIFETIME_MS,
            version: Version {
                time: Time(5),
                node: NodeId(1),
            },
        }
    }

    fn id(name: &str) -> ImageId {
        ImageId::new("alice", name).unwrap()
    }

    #[test]
    fn a_ticket_says_what_was_signed() {
        let key = TicketKey::new(&[7; 32]);
        let image = id("cat.png");
        let scope = Scope::image("PUT", &image);
        for purpose in Purpose::ALL {
            let claims = Claims { purpose, ..claims() };
            let ticket = key.sign(&claims, scope);
            assert_eq!(key.verify(&ticket, NodeId(2), scope, NOW), Some(claims));
            assert!(
                ticket
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
        }
    }

    #[test]
    fn a_ticket_is_good_for_one_request_at_one_node_and_a_while() {
        let key = TicketKey::new(&[7; 32]);
        let ticket = key.sign(&claims(), Scope::image("PUT", &id("cat.png")));
        let verify = |key: &TicketKey, node, method, name, now| {
            let image = id(name);
            key.verify(&ticket, NodeId(node), Scope::image(method, &image), now)
                .is_some()
        };
        assert!(verify(&key, 2, "PUT", "cat.png", NOW + LIFETIME_MS - 1));
        assert!(!verify(&key, 2, "PUT", "cat.png", NOW + LIFETIME_MS), "expired");
        assert!(!verify(&key, 1, "PUT", "cat.png", NOW), "another node");
        assert!(!verify(&key, 2, "DELETE", "cat.png", NOW), "another method");
        assert!(!verify(&key, 2, "PUT", "dog.png", NOW), "another name");
        assert!(
            !verify(&TicketKey::new(&[8; 32]), 2, "PUT", "cat.png", NOW),
            "another cluster"
        );
        let listed = key.verify(&ticket, NodeId(2), Scope::list("alice"), NOW);
        assert_eq!(listed, None, "the list of the user");
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let key = TicketKey::new(&[7; 32]);
        let image = id("cat.png");
        let scope = Scope::image("PUT", &image);
        let ticket = key.sign(&claims(), scope);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(key.verify(&changed, NodeId(2), scope, NOW), None, "{at}");
        }
        for text in [
            "",
            "A",
            "term",
            &ticket[1..],
            &format!("{ticket}A"),
            &"A".repeat(10_000),
        ] {
            assert_eq!(key.verify(text, NodeId(2), scope, NOW), None);
        }
    }
}
