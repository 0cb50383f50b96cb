//! The retained status on its way to the device: to a subscription that asks for it, and again after a connection that
//! broke off before the acknowledgement.

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::{Packet, Publish};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::ingest::mqtt::status::Message;
use crate::ingest::topic;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Sends what is retained to the subscriptions that wait for it, as far as the device takes more.
    pub(super) fn send_retained(&mut self) {
        while self.outbound.has_room() {
            let Some(granted) = self.retained_due.pop_front() else {
                return;
            };
            let Some(mut message) = self.front.statuses.retained(&self.peer.device) else {
                continue;
            };
            message.qos = message.qos.min(granted);
            self.send_status(message, None);
        }
    }

    /// Sends what the last connection of this session did not acknowledge, under the same identifiers.
    pub(super) fn send_unacknowledged(&mut self) {
        for (pkid, message) in std::mem::take(&mut self.peer.lease.memory.unacknowledged) {
            self.send_status(message, Some(pkid));
        }
    }

    /// The device acknowledged a message that the router knows nothing of.
    pub(in crate::ingest::mqtt) fn acknowledged_retained(&mut self, pkid: u16) {
        let unacknowledged = &mut self.peer.lease.memory.unacknowledged;
        let before = unacknowledged.len();
        unacknowledged.retain(|(known, _)| *known != pkid);
        if unacknowledged.len() < before {
            self.outbound.acknowledged_own();
        }
    }

    fn send_status(&mut self, message: Message, again: Option<u16>) {
        let topic = topic::status(&self.peer.device);
        let before = self.output.len();
        let publish = match message.qos {
            0 => Publish::new(topic.into_bytes(), message.payload.to_vec(), true),
            _ => {
                let unacknowledged = &self.peer.lease.memory.unacknowledged;
                let taken = |pkid| unacknowledged.iter().any(|(known, _)| *known == pkid);
                let pkid = self.outbound.sent_own(again, taken);
                let publish = acknowledged_publish(&topic, &message.payload, pkid, again.is_some());
                let unacknowledged = &mut self.peer.lease.memory.unacknowledged;
                unacknowledged.push((pkid, message.clone()));
                publish
            }
        };
        self.put(Packet::Publish(publish, message.properties));
        let bytes = self.output.len() - before;
        if self.peer.packet_bytes_max.is_some_and(|max| bytes > max) {
            // As with every message the client cannot take: passed over as if it were delivered.
            self.output.truncate(before);
            tracing::warn!(device = %self.peer.device, bytes, "message larger than the device takes");
            if let Some((pkid, _)) = self.peer.lease.memory.unacknowledged.last()
                && message.qos > 0
            {
                self.acknowledged_retained(*pkid);
            }
        }
    }
}

/// A retained PUBLISH of QoS 1. rumqttd makes those with an identifier only from bytes.
fn acknowledged_publish(topic: &str, payload: &[u8], pkid: u16, again: bool) -> Publish {
    const RETAINED_AT_LEAST_ONCE: u8 = 0x33;
    const DUPLICATE: u8 = 0x08;
    let mut bytes = BytesMut::with_capacity(5 + topic.len() + payload.len());
    bytes.put_u8(RETAINED_AT_LEAST_ONCE | if again { DUPLICATE } else { 0 });
    bytes.put_u16(pkid);
    bytes.put_u16(u16::try_from(topic.len()).expect("a status topic is short"));
    bytes.put_slice(topic.as_bytes());
    bytes.put_slice(payload);
    Publish::deserialize(bytes.freeze())
}
