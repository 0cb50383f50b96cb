//! What is on its way to a device and not yet acknowledged. Pure.
//!
//! The router takes acknowledgements only in the order of delivery and ends a link that errs, so what a device
//! acknowledges early is held back until what came before is acknowledged too.

use std::collections::VecDeque;

/// Messages sent and not acknowledged, oldest first.
#[derive(Debug)]
pub(super) struct Outbound {
    window: VecDeque<(u16, bool)>,
    /// Those of the window that the device has not acknowledged.
    open: usize,
    receive_maximum: usize,
}

impl Outbound {
    /// With the largest number of unacknowledged messages that the device takes.
    pub(super) fn new(receive_maximum: u16) -> Self {
        Self {
            window: VecDeque::new(),
            open: 0,
            receive_maximum: usize::from(receive_maximum.max(1)),
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
    fn a_device_that_takes_none_gets_one() {
        let mut outbound = Outbound::new(0);
        assert!(outbound.has_room());
        outbound.sent(1);
        assert!(!outbound.has_room());
    }
}
