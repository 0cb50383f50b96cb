//! The way to the device: its subscriptions, what the router has for it, and what it acknowledges.

use rumqttd::protocol::{
    DisconnectReasonCode, Packet, Publish, QoS, RetainForwardRule, Subscribe, SubscribeReasonCode,
    matches,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, End};
use super::delivery::Outgoing;
use super::status::Mark;
use super::{outbound, reply};
use crate::ingest::topic;

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 32;

/// A subscription and those of its options that the router does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    path: String,
    granted: QoS,
    /// The session's own messages do not come back to it.
    no_local: bool,
    /// Messages keep their retain flag.
    as_published: bool,
}

/// Whether a subscription gets what is retained.
fn wants_retained(rule: &RetainForwardRule, is_new: bool) -> bool {
    match rule {
        RetainForwardRule::OnEverySubscribe => true,
        RetainForwardRule::OnNewSubscribe => is_new,
        RetainForwardRule::Never => false,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) async fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let status = topic::status(&self.peer.device);
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut retained = Vec::new();
        for filter in subscribe.filters {
            let known = self.subscriptions();
            let is_new = !known.iter().any(|known| known.path == filter.path);
            if filter.path.starts_with("$share/") {
                codes.push(SubscribeReasonCode::SharedSubscriptionsNotSupported);
                continue;
            }
            if !topic::may_subscribe(&self.peer.device, &filter.path) {
                codes.push(SubscribeReasonCode::NotAuthorized);
                continue;
            }
            if is_new && known.len() >= SUBSCRIPTIONS_MAX {
                codes.push(SubscribeReasonCode::QuotaExceeded);
                continue;
            }
            let (granted, code) = match filter.qos {
                QoS::AtMostOnce => (QoS::AtMostOnce, SubscribeReasonCode::QoS0),
                _ => (QoS::AtLeastOnce, SubscribeReasonCode::QoS1),
            };
            codes.push(code);
            if wants_retained(&filter.retain_forward_rule, is_new) && matches(&status, &filter.path)
            {
                retained.push(granted as u8);
            }
            self.subscribe(Subscription {
                path: filter.path,
                granted,
                no_local: filter.nolocal,
                as_published: filter.preserve_retain,
            })
            .await?;
        }
        self.put(reply::subscribed(self.peer.version, subscribe.pkid, codes));
        // Who subscribes again and again and takes nothing waits in vain for more.
        let room = SUBSCRIPTIONS_MAX.saturating_sub(self.retained_due.len());
        self.retained_due.extend(retained.into_iter().take(room));
        Ok(())
    }

    fn subscriptions(&self) -> &[Subscription] {
        &self.peer.lease.memory.subscriptions
    }

    async fn subscribe(&mut self, wanted: Subscription) -> Result<(), End> {
        let known = &mut self.peer.lease.memory.subscriptions;
        match known.iter_mut().find(|known| known.path == wanted.path) {
            Some(known) if known.granted == wanted.granted => {
                *known = wanted;
                return Ok(());
            }
            Some(_) => drop(self.unsubscribe(&wanted.path).await?),
            None => {}
        }
        if self.link.is_none() {
            self.open_link().await?;
        }
        let (path, granted) = (wanted.path.clone(), wanted.granted);
        self.peer.lease.memory.subscriptions.push(wanted);
        if let Some(link) = self.link.as_mut() {
            link.subscribe(path, granted).await.map_err(|_| End::Gone)?;
        }
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, path: &str) -> Result<bool, End> {
        let known = &mut self.peer.lease.memory.subscriptions;
        let before = known.len();
        known.retain(|known| known.path != path);
        let existed = known.len() < before;
        if existed && let Some(link) = self.link.as_mut() {
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

    pub(super) async fn deliver(&mut self, mut message: Outgoing) -> Result<(), End> {
        let before = self.output.len();
        if let Some(pkid) = message.pkid {
            self.outbound.sent(pkid);
        }
        let passed_on = match Mark::take(&mut message.properties) {
            Some(mark) => self.as_marked(&mut message, &mark).await?,
            None => true,
        };
        if !passed_on {
            return Ok(());
        }
        let packet = Packet::Publish(message.publish, message.properties);
        let encoded = self.peer.version.encode(packet, &mut self.output);
        let bytes = self.output.len() - before;
        if encoded.is_err() {
            return Err(End::Tell(
                DisconnectReasonCode::UnspecifiedError,
                "delivery-failed",
            ));
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

    /// Gives a status message the flags its subscriptions ask for. Whether it is for this session at all.
    async fn as_marked(&mut self, message: &mut Outgoing, mark: &Mark) -> Result<bool, End> {
        let status = topic::status(&self.peer.device);
        let known = self.subscriptions().iter();
        let mut matching = known.filter(|known| matches(&status, &known.path));
        let own = mark.origin == self.peer.lease.link_name();
        let unwanted = own && matching.clone().all(|known| known.no_local);
        let retain = mark.retain && matching.any(|known| known.as_published);
        message.publish.retain = retain;
        if unwanted || mark.qos == 0 {
            // The router asks for an acknowledgement because the subscription would.
            if let Some(pkid) = message.pkid.take() {
                self.acknowledged(pkid).await?;
            }
            let Publish { topic, payload, .. } = &message.publish;
            message.publish = Publish::new(topic.clone(), payload.clone(), retain);
        }
        Ok(!unwanted)
    }

    pub(super) async fn acknowledged(&mut self, pkid: u16) -> Result<(), End> {
        if outbound::is_own(pkid) {
            self.acknowledged_retained(pkid);
            return Ok(());
        }
        let due = self.outbound.acknowledged(pkid);
        if let Some(link) = self.link.as_mut() {
            for pkid in due {
                link.acknowledge(pkid).await.map_err(|_| End::Gone)?;
            }
        }
        Ok(())
    }
}
