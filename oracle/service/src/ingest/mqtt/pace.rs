//! How many messages devices may publish in a time. What is above is not refused but read later, so that TCP slows
//! the device down; who stays above for long is sent away.

use std::fmt;
use std::time::Duration;

use contract_interface::DeviceId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::MessageRate;

/// The limits of the configuration, counted over all connections.
#[derive(Default)]
pub(super) struct Pace {
    clock: DefaultClock,
    device: Option<DefaultKeyedRateLimiter<DeviceId>>,
    organization: Option<DefaultDirectRateLimiter>,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pace(..)")
    }
}

/// Whose limit a message waits for, and how long until it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The device's own.
    Device(Duration),
    /// That of all devices together.
    Organization(Duration),
}

impl Wait {
    pub(super) fn time(self) -> Duration {
        match self {
            Self::Device(time) | Self::Organization(time) => time,
        }
    }
}

/// How far one message has come. A message that waits has paid once and does not pay again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paid {
    device: bool,
}

fn quota(rate: MessageRate) -> Quota {
    Quota::per_second(rate.per_second).allow_burst(rate.burst)
}

impl Pace {
    pub(super) fn new(device: Option<MessageRate>, organization: Option<MessageRate>) -> Self {
        Self {
            clock: DefaultClock::default(),
            device: device.map(|rate| RateLimiter::keyed(quota(rate))),
            organization: organization.map(|rate| RateLimiter::direct(quota(rate))),
        }
    }

    /// Lets a message of the device pass, or says for what it waits.
    pub(super) fn pass(&self, device: &DeviceId, paid: &mut Paid) -> Result<(), Wait> {
        if let Some(limiter) = self.device.as_ref().filter(|_| !paid.device) {
            limiter
                .check_key(device)
                .map_err(|early| Wait::Device(early.wait_time_from(self.clock.now())))?;
            paid.device = true;
        }
        if let Some(limiter) = &self.organization {
            limiter
                .check()
                .map_err(|early| Wait::Organization(early.wait_time_from(self.clock.now())))?;
        }
        *paid = Paid::default();
        Ok(())
    }

    /// Forgets devices that have been quiet.
    pub(super) fn forget_quiet(&self) {
        if let Some(limiter) = &self.device {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(per_second: u32, burst: u32) -> Option<MessageRate> {
        Some(MessageRate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    fn id(id: &str) -> DeviceId {
        id.parse().unwrap()
    }

    /// Messages that pass until the first waits, and what it waits for.
    fn passed(pace: &Pace, device: &str) -> (u32, Wait) {
        let (device, mut paid) = (id(device), Paid::default());
        let mut count = 0;
        loop {
            match pace.pass(&device, &mut paid) {
                Ok(()) => count += 1,
                Err(wait) => return (count, wait),
            }
            assert!(count < 10_000, "nothing holds it back");
        }
    }

    #[test]
    fn a_device_has_its_own_burst() {
        let pace = Pace::new(rate(1, 5), None);
        for device in ["a", "b"] {
            let (count, wait) = passed(&pace, device);
            assert!(
                matches!((count, wait), (5, Wait::Device(_))),
                "{count} {wait:?}"
            );
            assert!(wait.time() > Duration::ZERO && wait.time() <= Duration::from_secs(1));
        }
    }

    #[test]
    fn all_devices_share_the_organizations() {
        let pace = Pace::new(rate(1, 3), rate(1, 4));
        assert_eq!(passed(&pace, "a").0, 3);
        let (count, wait) = passed(&pace, "b");
        assert!(
            matches!((count, wait), (1, Wait::Organization(_))),
            "{count} {wait:?}"
        );
    }

    #[test]
    fn a_message_that_waits_for_the_organization_pays_its_device_once() {
        let pace = Pace::new(rate(1, 3), rate(1, 1));
        let (device, mut paid) = (id("a"), Paid::default());
        pace.pass(&device, &mut paid).unwrap();
        for _ in 0..10 {
            let wait = pace.pass(&device, &mut paid).unwrap_err();
            assert!(matches!(wait, Wait::Organization(_)), "{wait:?}");
        }
        assert!(paid.device);
    }

    #[test]
    fn without_limits_everything_passes() {
        let (device, mut paid) = (id("a"), Paid::default());
        for _ in 0..1000 {
            Pace::default().pass(&device, &mut paid).unwrap();
        }
        Pace::default().forget_quiet();
    }
}
