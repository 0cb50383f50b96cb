//! What is on its way to a device and not yet acknowledged. Pure.
//!
//! The router takes acknowledgements only in the order of delivery and ends a link that errs, so what a device
//! acknowledges early is held back until what came before is acknowledged too. Messages that the router does not know
//! have identifiers from a range that it never uses.

use std::collections::VecDeque;

/// The first identifier that is not the router's, which has but 100.
const OWN_FIRST: u16 = 0x8000;

/// Messages sent and not acknowledged, oldest first.
#[derive(Debug)]
pub(super) struct Outbound {
    window: VecDeque<(u16, bool)>,
    /// Those of the window that the device has not acknowledged, and those that are not the router's.
    open: usize,
    receive_maximum: usize,
    last_own: u16,
}

/// Whether the router knows nothing of this identifier.
pub(super) fn is_own(pkid: u16) -> bool {
    pkid >= OWN_FIRST
}

impl Outbound {
    /// With the largest number of unacknowledged messages that the device takes.
    pub(super) fn new(receive_maximum: u16) -> Self {
        Self {
            window: VecDeque::new(),
            open: 0,
            receive_maximum: usize::from(receive_maximum.max(1)),
            last_own: 0,
        }
    }

    /// Whether another message may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.open < self.receive_maximum
    }

    /// A message with this identifier was sent.
    pub(super) fn sent(&mut self, pkid: u16) {
        self.window.push_back((pkid, false));
        self.open += 1;
    }

    /// A message that the router does not know is sent, again under its old identifier or under a new one, which is
    /// none of `taken`. These are few.
    pub(super) fn sent_own(&mut self, again: Option<u16>, taken: impl Fn(u16) -> bool) -> u16 {
        self.open += 1;
        again.unwrap_or_else(|| {
            loop {
                self.last_own = self.last_own.wrapping_add(1) | OWN_FIRST;
                if !taken(self.last_own) {
                    return self.last_own;
                }
            }
        })
    }

    /// The device acknowledged a message that the router does not know.
    pub(super) fn acknowledged_own(&mut self) {
        self.open -= 1;
    }

    /// The device acknowledged an identifier; the answer is what the router may be told now, in order.
    pub(super) fn acknowledged(&mut self, pkid: u16) -> Vec<u16> {
        if let Some((_, done)) = self
            .window
            .iter_mut()
            .find(|(id, done)| *id == pkid && !done)
        {
            *done = true;
            self.open -= 1;
        }
        let mut due = Vec::new();
        while let Some((pkid, true)) = self.window.front().copied() {
            self.window.pop_front();
            due.push(pkid);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_go_on_in_order_and_only_once() {
        let mut outbound = Outbound::new(3);
        for pkid in [5, 6, 7] {
            assert!(outbound.has_room());
            outbound.sent(pkid);
        }
        assert!(!outbound.has_room());
        assert!(outbound.acknowledged(6).is_empty());
        assert!(outbound.has_room(), "an answer out of turn makes room, too");
        assert!(outbound.acknowledged(9).is_empty());
        assert_eq!(outbound.acknowledged(5), [5, 6]);
        assert!(outbound.acknowledged(5).is_empty());
        assert!(outbound.has_room());
        assert_eq!(outbound.acknowledged(7), [7]);
    }

    #[test]
    fn identifiers_of_its_own_make_room_and_never_meet() {
        let mut outbound = Outbound::new(2);
        let first = outbound.sent_own(None, |_| false);
        let second = outbound.sent_own(None, |pkid| pkid == first + 1);
        assert_eq!((first, second), (OWN_FIRST + 1, OWN_FIRST + 3));
        assert!(is_own(first) && !is_own(100));
        assert!(!outbound.has_room());
        outbound.acknowledged_own();
        assert!(outbound.has_room());
        assert_eq!(outbound.sent_own(Some(first), |_| true), first);
        for _ in 0..=u16::MAX {
            let pkid = outbound.sent_own(None, |pkid| pkid == first);
            assert!(is_own(pkid) && pkid != first);
        }
    }

    #[test]
    fn a_device_that_takes_none_gets_one() {
        let mut outbound = Outbound::new(0);
        assert!(outbound.has_room());
        outbound.sent(1);
        assert!(!outbound.has_room());
    }
}
