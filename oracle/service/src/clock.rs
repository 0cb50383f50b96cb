//! The one place where the oracle looks at the clock for decisions.

use std::time::{SystemTime, UNIX_EPOCH};

use contract_interface::UtcTime;

/// The time now, to the second. A clock outside the years 1970 to 9999 reads as the nearest of
/// them, at which no certificate and no signed request is valid.
pub(crate) fn now() -> UtcTime {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| UtcTime::from_unix_seconds(seconds).ok())
        .unwrap_or(UtcTime::MAX)
}
