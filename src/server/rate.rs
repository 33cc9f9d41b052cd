//! How many requests a second a token may make: a bucket for each, which holds a second's worth and fills steadily.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Thousandths of a request, so that a bucket fills by whole numbers each millisecond.
const PARTS: u64 = 1000;

pub(crate) struct Rate {
    per_second: u64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    parts: u64,
    at_ms: u64,
}

impl Rate {
    pub(crate) fn new(per_second: u64) -> Rate {
        Rate {
            per_second,
            buckets: Mutex::default(),
        }
    }

    /// Whether one more request of the token with this id is in its rate. The time never goes back.
    pub(crate) fn allows(&self, id: &str, now_ms: u64) -> bool {
        let full = self.per_second.saturating_mul(PARTS);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(id.to_owned()).or_insert(Bucket {
            parts: full,
            at_ms: now_ms,
        });
        let gained = now_ms
            .saturating_sub(bucket.at_ms)
            .saturating_mul(self.per_second);
        bucket.parts = bucket.parts.saturating_add(gained).min(full);
        bucket.at_ms = bucket.at_ms.max(now_ms);
        let left = bucket.parts.checked_sub(PARTS);
        bucket.parts = left.unwrap_or(bucket.parts);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_second_s_worth_at_once_and_fills_steadily() {
        let rate = Rate::new(10);
        let taken = |id: &str, now_ms| (0..100).filter(|_| rate.allows(id, now_ms)).count();
        assert_eq!(taken("a", 5000), 10);
        assert_eq!(taken("a", 5099), 0);
        assert_eq!(taken("b", 5099), 10, "another token");
        assert_eq!(taken("a", 5100), 1);
        assert_eq!(taken("a", 5000), 0, "a clock that went back gives nothing");
        assert_eq!(taken("a", 5600), 5);
        assert_eq!(taken("a", 60_000), 10);
        assert!(Rate::new(u64::MAX).allows("a", 0), "as good as none");
    }
}
