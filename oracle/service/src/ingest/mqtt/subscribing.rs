//! The way to the device: its subscriptions, what the router has for it, and what it acknowledges.

use rumqttd::protocol::{DisconnectReasonCode, Packet, QoS, Subscribe, SubscribeReasonCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, End};
use super::delivery::Outgoing;
use super::reply;
use crate::ingest::topic;

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 32;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) async fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut allowed = Vec::new();
        for filter in subscribe.filters {
            let code = if filter.path.starts_with("$share/") {
                SubscribeReasonCode::SharedSubscriptionsNotSupported
            } else if !topic::may_subscribe(&self.peer.device, &filter.path) {
                SubscribeReasonCode::NotAuthorized
            } else if self.subscriptions.len() + allowed.len() >= SUBSCRIPTIONS_MAX {
                SubscribeReasonCode::QuotaExceeded
            } else if filter.qos == QoS::AtMostOnce {
                allowed.push((filter.path, QoS::AtMostOnce));
                SubscribeReasonCode::QoS0
            } else {
                allowed.push((filter.path, QoS::AtLeastOnce));
                SubscribeReasonCode::QoS1
            };
            codes.push(code);
        }
        self.put(reply::subscribed(self.peer.version, subscribe.pkid, codes));
        for (path, qos) in allowed {
            self.subscribe(path, qos).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, path: String, qos: QoS) -> Result<(), End> {
        match self.subscriptions.iter().find(|(known, _)| *known == path) {
            Some((_, granted)) if *granted == qos as u8 => return Ok(()),
            Some(_) => drop(self.unsubscribe(&path).await?),
            None => {}
        }
        if self.link.is_none() {
            self.open_link().await?;
        }
        self.subscriptions.push((path.clone(), qos as u8));
        if let Some(link) = self.link.as_mut() {
            link.subscribe(path, qos).await.map_err(|_| End::Gone)?;
        }
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, path: &str) -> Result<bool, End> {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|(known, _)| known != path);
        let existed = self.subscriptions.len() < before;
        if topic::may_subscribe(&self.peer.device, path)
            && let Some(link) = self.link.as_mut()
        {
            let gone = link.unsubscribe(path.to_owned()).await;
            gone.map_err(|_| End::Gone)?;
        }
        Ok(existed)
    }

    pub(super) async fn open_link(&mut self) -> Result<(), End> {
        let failed = |_| End::Tell(DisconnectReasonCode::UnspecifiedError, "delivery-failed");
        let delivery = &self.front.delivery;
        let lease = &self.peer.lease;
        let name = lease.link_name();
        if lease.is_kept() && !lease.resumed {
            // Whatever the router remembers under this name belonged to another session.
            let (old, _) = delivery.link(name.clone(), true).await.map_err(failed)?;
            old.close().await;
        }
        let (link, _) = delivery
            .link(name, !lease.is_kept())
            .await
            .map_err(failed)?;
        self.link = Some(link);
        Ok(())
    }

    pub(super) async fn deliver(&mut self, message: Outgoing) -> Result<(), End> {
        let before = self.output.len();
        let packet = Packet::Publish(message.publish, message.properties);
        let encoded = self.peer.version.encode(packet, &mut self.output);
        let bytes = self.output.len() - before;
        if encoded.is_err() {
            return Err(End::Tell(
                DisconnectReasonCode::UnspecifiedError,
                "delivery-failed",
            ));
        }
        if let Some(pkid) = message.pkid {
            self.outbound.sent(pkid);
        }
        if self.peer.packet_bytes_max.is_some_and(|max| bytes > max) {
            // MQTT 5, 3.1.2.11.4: a message the client cannot take is passed over as if it were delivered.
            self.output.truncate(before);
            tracing::warn!(device = %self.peer.device, bytes, "message larger than the device takes");
            if let Some(pkid) = message.pkid {
                self.acknowledged(pkid).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn acknowledged(&mut self, pkid: u16) -> Result<(), End> {
        let due = self.outbound.acknowledged(pkid);
        if let Some(link) = self.link.as_mut() {
            for pkid in due {
                link.acknowledge(pkid).await.map_err(|_| End::Gone)?;
            }
        }
        Ok(())
    }
}
