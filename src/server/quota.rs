//! How many of something clients may hold, in total and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// total.
    FairShare { total: usize },
}

impl Rule {
    fn allows(&self, used: &HashMap<IpAddr, usize>, address: IpAddr) -> bool {
        let in_all: usize = used.values().sum();
        let own = used.get(&address).copied().unwrap_or(0);
        match *self {
            Rule::Caps {
                total_max,
                per_address_max,
            } => in_all < total_max && own < per_address_max,
            Rule::FairShare { total } => {
                let addresses = used.len() + usize::from(own == 0);
                addresses == 1 || in_all < total / 2 || own < (total / addresses).max(1)
            }
        }
    }
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

    #[test]
    fn permits_are_capped_in_total_and_per_address() {
        let (one, two): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        let quota = Quota::capped(3, 2);
        let held = [quota.take(one).unwrap(), quota.take(one).unwrap()];
        assert!(quota.take(one).is_none());
        let last = quota.take(two).unwrap();
        assert!(quota.take(two).is_none());
        drop(held);
        assert_eq!(quota.used(), 1);
        drop(last);
        assert!(quota.used.lock().unwrap().is_empty());
    }

    #[test]
    fn one_more_address_always_gets_a_permit() {
        let address = |last: u8| IpAddr::from([127, 0, 0, last]);
        let quota = Quota::shared_fairly(100);
        let alone: Vec<Permit> = std::iter::from_fn(|| quota.take(address(1))).take(200).collect();
        assert_eq!(alone.len(), 200, "no other address wants them");
        drop(alone);
        let mut held = Vec::new();
        for round in 0..200_u8 {
            held.extend(quota.take(address(round % 20)));
        }
        assert!(held.len() >= 50 && held.len() <= 100, "{} are held", held.len());
        assert!(quota.take(address(77)).is_some());
    }
}
