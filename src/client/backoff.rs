//! The pause before a request is repeated.

use std::time::Duration;

/// The shortest pause; the longest is twice this.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Between [`PAUSE_MIN`] and twice that, by `salt`, so that clients do not repeat at the same moment.
pub(super) fn pause(salt: u64) -> Duration {
    let scattered = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    PAUSE_MIN + PAUSE_MIN.mul_f64(scattered as f64 / 256.0)
}
