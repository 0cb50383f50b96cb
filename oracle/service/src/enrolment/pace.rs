//! How often tokens may be tried: whoever has none costs a little, and guesses nothing in 2^256.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Tries of one address: one a second, and these at once.
const ADDRESS_BURST: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Tries of all addresses a second.
const ALL_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// Tries after which addresses that were quiet are forgotten.
const FORGET_EVERY: u32 = 1024;
/// Bits of an IPv6 address that one subscriber has.
const SUBSCRIBER_BITS: u32 = 64;

/// The tries of late.
pub(super) struct Pace {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    all: DefaultDirectRateLimiter,
    tries: AtomicU32,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pace(..)")
    }
}

impl Default for Pace {
    fn default() -> Self {
        let one = NonZeroU32::MIN;
        Self {
            addresses: RateLimiter::keyed(Quota::per_second(one).allow_burst(ADDRESS_BURST)),
            all: RateLimiter::direct(Quota::per_second(ALL_PER_SECOND)),
            tries: AtomicU32::new(0),
        }
    }
}

impl Pace {
    /// Whether one more try of this address may be looked at.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        if tries.is_multiple_of(FORGET_EVERY) {
            self.addresses.retain_recent();
        }
        // The address first, so that one that is too fast takes nothing from the others.
        self.addresses.check_key(&subscriber(address)).is_ok() && self.all.check().is_ok()
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> SUBSCRIBER_BITS << SUBSCRIBER_BITS).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_too_fast_does_not_shut_others_out() {
        let pace = Pace::default();
        let fast: IpAddr = "192.0.2.1".parse().unwrap();
        let taken = (0..100).filter(|_| pace.admit(fast)).count();
        assert!((10..=11).contains(&taken), "{taken}");
        assert!(!pace.admit("::ffff:192.0.2.1".parse().unwrap()), "the same");
        assert!(pace.admit("192.0.2.2".parse().unwrap()));
        for (a, b, same) in [
            ("2001:db8::1", "2001:db8::ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let of = |text: &str| subscriber(text.parse().unwrap());
            assert_eq!(of(a) == of(b), same, "{a} {b}");
        }
    }
}
