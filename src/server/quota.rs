//! How many of something clients may hold, in total and from each address.
//!
//! The last quarter is for addresses that hold few: whatever one address does, or three, somebody else gets in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a quota that is for addresses that hold few.
const RESERVED_PART: usize = 4;
/// So many are few.
const FEW: usize = 4;
/// How much of an IPv6 address says whose it is: a customer usually has a /64, and all addresses in it.
const V6_PREFIX_BYTES: usize = 8;

/// Whom an address stands for, when shares are counted.
pub(crate) fn client_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let mut octets = v6.octets();
    octets[V6_PREFIX_BYTES..].fill(0);
    Ipv6Addr::from(octets).into()
}

/// One unit of a quota, given back when dropped.
pub(crate) struct Permit {
    quota: Arc<Quota>,
    address: IpAddr,
}

impl Permit {
    /// The address that the unit is counted for.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }
}

/// Counts the permits in use by address.
pub(crate) struct Quota {
    used: Mutex<HashMap<IpAddr, usize>>,
    rule: Rule,
}

/// Who gets a permit.
enum Rule {
    /// Everybody, up to so many in total and so many from one address.
    Caps {
        total_max: usize,
        per_address_max: usize,
    },
    /// Everybody, until half of `total` are used. Then, if several addresses use some, each gets an equal share of the
    /// total. An address that holds few always gets one more, and waits until somebody is done, should all be in use.
    FairShare { total: usize },
}

impl Rule {
    fn allows(&self, used: &HashMap<IpAddr, usize>, address: IpAddr) -> bool {
        let in_all: usize = used.values().sum();
        let own = used.get(&address).copied().unwrap_or(0);
        let has_few = own < FEW;
        match *self {
            Rule::Caps {
                total_max,
                per_address_max,
            } => {
                let total = if has_few { total_max } else { unreserved(total_max) };
                in_all < total && own < per_address_max
            }
            Rule::FairShare { total } => {
                let addresses = used.len() + usize::from(own == 0);
                let is_in_share = addresses == 1 || in_all < total / 2 || own < total / addresses;
                has_few || in_all < unreserved(total) && is_in_share
            }
        }
    }
}

/// What anybody may have of a total.
fn unreserved(total: usize) -> usize {
    total - total / RESERVED_PART
}

impl Quota {
    pub(crate) fn capped(total_max: usize, per_address_max: usize) -> Arc<Quota> {
        Quota::with(Rule::Caps {
            total_max,
            per_address_max,
        })
    }

    /// A quota that is shared fairly once it gets scarce: clients at many addresses get many permits, but a client at
    /// one more address always gets one too.
    pub(crate) fn shared_fairly(total: usize) -> Arc<Quota> {
        Quota::with(Rule::FairShare { total })
    }

    fn with(rule: Rule) -> Arc<Quota> {
        Arc::new(Quota {
            used: Mutex::new(HashMap::new()),
            rule,
        })
    }

    /// One more permit for `address`, unless the rule is against it.
    pub(crate) fn take(self: &Arc<Quota>, address: IpAddr) -> Option<Permit> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.rule.allows(&used, address) {
            return None;
        }
        *used.entry(address).or_insert(0) += 1;
        Some(Permit {
            quota: Arc::clone(self),
            address,
        })
    }

    /// How many permits are in use.
    pub(crate) fn used(&self) -> usize {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }

    /// The address that holds most, if that is more than few, and not `newcomer`, which holds few itself.
    pub(crate) fn greediest(&self, newcomer: IpAddr) -> Option<IpAddr> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let has_few = |address: &IpAddr| used.get(address).is_none_or(|own| *own < FEW);
        let (greediest, _) = used.iter().max_by_key(|(_, own)| **own)?;
        (has_few(&newcomer) && !has_few(greediest)).then_some(*greediest)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.quota.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = used.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    /// As many as this address gets, of so many tries.
    fn take_all(quota: &Arc<Quota>, last: u8, tries: usize) -> Vec<Permit> {
        (0..tries).filter_map(|_| quota.take(address(last))).collect()
    }

    #[test]
    fn permits_are_capped_in_total_and_per_address() {
        let quota = Quota::capped(3, 2);
        let held = [quota.take(address(1)).unwrap(), quota.take(address(1)).unwrap()];
        assert!(quota.take(address(1)).is_none());
        let last = quota.take(address(2)).unwrap();
        assert!(quota.take(address(2)).is_none());
        drop(held);
        assert_eq!(quota.used(), 1);
        drop(last);
        assert!(quota.used.lock().unwrap().is_empty());
    }

    #[test]
    fn addresses_that_take_all_they_can_leave_a_quarter() {
        let quota = Quota::capped(400, 100);
        let held: Vec<Permit> = (1..=4).flat_map(|last| take_all(&quota, last, 1000)).collect();
        // The last of them holds nothing when it comes.
        assert_eq!(held.len(), 300 + FEW);
        assert_eq!(take_all(&quota, 5, 1000).len(), FEW);
        assert!(
            quota
                .greediest(address(6))
                .is_some_and(|greedy| greedy != address(4))
        );
        assert_eq!(quota.greediest(address(1)), None, "it holds many itself");
    }

    #[test]
    fn one_address_leaves_a_quarter_of_what_is_shared_and_others_get_their_share() {
        let quota = Quota::shared_fairly(100);
        let alone = take_all(&quota, 1, 200);
        assert_eq!(alone.len(), 75);
        assert_eq!(
            take_all(&quota, 2, 200).len(),
            FEW,
            "all that anybody may have is taken"
        );
        drop(alone);
        let mut held = Vec::new();
        for round in 0..200_u8 {
            held.extend(quota.take(address(round % 20)));
        }
        assert!(held.len() >= 75 && held.len() <= 100, "{} are held", held.len());
        assert!(quota.take(address(77)).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
