//! Delivery to devices through rumqttd's router, and how its known defects are kept away.
//!
//! The router knows subscriptions, queues and packet identifiers. Its listeners are not used. It is given only what
//! it can take: link names made here (never a client's), no shared subscriptions, no wills, no QoS 2,
//! acknowledgements in order and only those that are due, `ready` only once per `Unschedule`, and nothing at all
//! after a link was closed. A router that dies nevertheless is noticed by [`RouterWatch`]; the process then ends.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PubAck, PubAckReason, Publish,
    PublishProperties, QoS, RetainForwardRule, Subscribe, Unsubscribe,
};
use rumqttd::{Notification, Router, RouterConfig};
use thiserror::Error;

/// Links at the same time.
const LINKS_MAX: usize = 20_000;
/// Bytes of a log segment of one filter; a device that does not read loses the oldest beyond two of them.
const SEGMENT_BYTES: usize = 64 << 10;
const SEGMENTS: usize = 4;
/// Messages the router hands to a link at once.
const OUTGOING_MAX: u64 = 100;
/// Name of the publishing link. Devices' links have a colon in their name, device IDs have none.
const PUBLISHER: &str = "oracle";

/// The router is gone or refuses a link.
#[derive(Debug, Error)]
#[error("the router does not answer")]
pub struct DeliveryError;

type Build =
    dyn Fn(&str, bool) -> Result<(LinkTx, LinkRx, Notification), DeliveryError> + Send + Sync;

/// Publishes to devices and connects them; cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    build: Arc<Build>,
    /// Held while one message is handed over.
    publisher: Arc<Mutex<LinkTx>>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery(..)")
    }
}

/// Ends when the router has died.
#[derive(Debug)]
pub struct RouterWatch(LinkRx);

impl Delivery {
    /// Starts the router.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`] if it does not answer.
    pub fn start() -> Result<(Self, RouterWatch), DeliveryError> {
        let config = RouterConfig {
            max_connections: LINKS_MAX,
            max_outgoing_packet_count: OUTGOING_MAX,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        };
        let router = Router::new(0, config).spawn();
        let build: Arc<Build> = Arc::new(move |name, clean| {
            LinkBuilder::new(name, router.clone())
                .clean_session(clean)
                .build()
                .map_err(|_| DeliveryError)
        });
        let (publisher, watch, _) = build(PUBLISHER, true)?;
        let delivery = Self {
            build,
            publisher: Arc::new(Mutex::new(publisher)),
        };
        Ok((delivery, RouterWatch(watch)))
    }

    /// Hands a message to the router, which delivers it to the links that subscribed to its topic.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`] if the router is gone.
    pub fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), DeliveryError> {
        self.publish_with(topic, Bytes::from(payload), None)
    }

    /// The same with properties, which MUST name no topic alias and no subscription: the router would end the link
    /// that everything is published over.
    pub(super) fn publish_with(
        &self,
        topic: String,
        payload: Bytes,
        properties: Option<PublishProperties>,
    ) -> Result<(), DeliveryError> {
        // Never retained in the router: it forgets at a restart, at an empty message that is not retained, and too
        // early what expires, and it knows nothing of MQTT 5's options (`status` keeps what is retained).
        let publish = Publish::new(Bytes::from(topic), payload, false);
        let mut publisher = self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Said to be asynchronous, it never waits.
        let sent = publisher.send(Packet::Publish(publish, properties));
        match sent.now_or_never() {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(DeliveryError),
        }
    }

    /// Connects a device under a name nobody else has now. Whether subscriptions of before are still there.
    pub(super) async fn link(
        &self,
        name: String,
        clean: bool,
    ) -> Result<(DeviceLink, bool), DeliveryError> {
        let build = Arc::clone(&self.build);
        let built = tokio::task::spawn_blocking(move || build(&name, clean)).await;
        let (tx, rx, notification) = built.map_err(|_| DeliveryError)??;
        // Made for 200 packets, of which a device sends two or three. The others of its buffers cannot be reached.
        *tx.buffer() = VecDeque::new();
        let present = match Option::<Packet>::from(notification) {
            Some(Packet::ConnAck(ack, _)) => ack.session_present,
            _ => return Err(DeliveryError),
        };
        Ok((DeviceLink { tx, rx }, present))
    }
}

impl RouterWatch {
    /// Returns when the router has died.
    pub async fn died(mut self) {
        while self.0.next().await.is_ok() {}
    }
}

/// A message on its way to a device.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) publish: Publish,
    pub(super) properties: Option<PublishProperties>,
    /// The router's packet identifier if the message wants an acknowledgement.
    pub(super) pkid: Option<u16>,
}

/// One device's link to the router.
pub(super) struct DeviceLink {
    tx: LinkTx,
    rx: LinkRx,
}

impl DeviceLink {
    /// The next message for the device. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Result<Outgoing, DeliveryError> {
        loop {
            match self.rx.next().await.map_err(|_| DeliveryError)? {
                Some(Notification::Forward(forward)) => {
                    return Ok(outgoing(forward.publish, forward.properties));
                }
                Some(Notification::Unschedule) => {
                    self.rx.ready().map_err(|_| DeliveryError)?;
                }
                Some(Notification::Disconnect(..)) => return Err(DeliveryError),
                // The router's own acknowledgements: the front has sent its own.
                Some(_) | None => {}
            }
        }
    }

    /// Tells the router that the oldest unacknowledged message arrived. MUST be called in the order of delivery.
    pub(super) async fn acknowledge(&mut self, pkid: u16) -> Result<(), DeliveryError> {
        let reason = PubAckReason::Success;
        self.send(Packet::PubAck(PubAck { pkid, reason }, None))
            .await
    }

    pub(super) async fn subscribe(&mut self, path: String, qos: QoS) -> Result<(), DeliveryError> {
        let filters = vec![Filter {
            path,
            qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnEverySubscribe,
        }];
        self.send(Packet::Subscribe(Subscribe { pkid: 1, filters }, None))
            .await
    }

    pub(super) async fn unsubscribe(&mut self, path: String) -> Result<(), DeliveryError> {
        let filters = vec![path];
        self.send(Packet::Unsubscribe(Unsubscribe { pkid: 1, filters }, None))
            .await
    }

    /// Closes the link; the router forgets it, or keeps its subscriptions if it was not clean.
    pub(super) async fn close(mut self) {
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        let disconnect = Packet::Disconnect(Disconnect { reason_code }, None);
        if self.send(disconnect).await.is_ok() {
            // The router has let go of the name when it drops its end.
            while self.rx.next().await.is_ok() {}
        }
    }

    async fn send(&mut self, packet: Packet) -> Result<(), DeliveryError> {
        self.tx
            .send(packet)
            .await
            .map(drop)
            .map_err(|_| DeliveryError)
    }
}

fn outgoing(publish: Publish, properties: Option<PublishProperties>) -> Outgoing {
    // rumqttd keeps quality and identifier to itself, but serialises them: flags, then two bytes.
    let mut head = publish.clone();
    head.topic = Bytes::new();
    head.payload = Bytes::new();
    let head = head.serialize();
    let qos = (head[0] >> 1) & 3;
    let pkid = u16::from_be_bytes([head[1], head[2]]);
    Outgoing {
        publish,
        properties,
        pkid: (qos > 0).then_some(pkid),
    }
}

/// What a device hears, for tests of others.
#[cfg(test)]
pub(crate) struct Listener(DeviceLink);

#[cfg(test)]
impl Listener {
    pub(crate) async fn open(delivery: &Delivery, device: &str) -> Self {
        Self::on(delivery, device, crate::ingest::topic::receipts(device)).await
    }

    pub(crate) async fn on(delivery: &Delivery, device: &str, filter: String) -> Self {
        let (mut link, _) = delivery.link(format!("{device}:0"), true).await.unwrap();
        link.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        Self(link)
    }

    pub(crate) async fn next(&mut self) -> Bytes {
        self.0.next().await.unwrap().publish.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn link(delivery: &Delivery, name: &str, clean: bool) -> (DeviceLink, bool) {
        delivery.link(name.to_owned(), clean).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn thousands_of_messages_arrive_in_order_with_and_without_acknowledgement() {
        let (delivery, _watch) = Delivery::start().unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let (mut device, present) = link(&delivery, "d:0", true).await;
            assert!(!present);
            let topic = format!("v1/devices/d/{}", qos as u8);
            device.subscribe(topic.clone(), qos).await.unwrap();
            // A second subscription is in place once its retained-message sweep has been answered.
            tokio::task::yield_now().await;
            let count = 1500_u32;
            for number in 0..count {
                delivery
                    .publish(topic.clone(), number.to_be_bytes().to_vec())
                    .unwrap();
            }
            for number in 0..count {
                let message = device.next().await.unwrap();
                assert_eq!(message.publish.payload[..], number.to_be_bytes());
                assert_eq!(message.pkid.is_some(), qos == QoS::AtLeastOnce);
                if let Some(pkid) = message.pkid {
                    device.acknowledge(pkid).await.unwrap();
                }
            }
            device.close().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kept_session_gets_what_it_missed_and_what_it_did_not_acknowledge() {
        let (delivery, _watch) = Delivery::start().unwrap();
        let (mut device, _) = link(&delivery, "d:0", false).await;
        device
            .subscribe("v1/devices/d/receipts".to_owned(), QoS::AtLeastOnce)
            .await
            .unwrap();
        let publish = |text: &str| {
            delivery
                .publish("v1/devices/d/receipts".to_owned(), text.as_bytes().to_vec())
                .unwrap();
        };
        publish("one");
        publish("two");
        let one = device.next().await.unwrap();
        device.acknowledge(one.pkid.unwrap()).await.unwrap();
        assert_eq!(&device.next().await.unwrap().publish.payload[..], b"two");
        device.close().await;
        publish("three");
        let (mut device, present) = link(&delivery, "d:0", false).await;
        assert!(present);
        for expected in [&b"two"[..], b"three"] {
            let message = device.next().await.unwrap();
            assert_eq!(&message.publish.payload[..], expected);
            device.acknowledge(message.pkid.unwrap()).await.unwrap();
        }
        device.close().await;
        let (device, present) = link(&delivery, "d:0", true).await;
        assert!(!present);
        device.close().await;
    }

    /// The last member of a shared subscription leaves with a message unacknowledged: the router's thread dies of it.
    /// Devices cannot subscribe so; here it stands for any death of the router.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_dead_router_is_noticed_and_answers_errors() {
        let (delivery, watch) = Delivery::start().unwrap();
        let (mut device, _) = link(&delivery, "d:0", false).await;
        let topic = "v1/devices/d/receipts".to_owned();
        let shared = format!("$share/g/{topic}");
        device.subscribe(shared, QoS::AtLeastOnce).await.unwrap();
        delivery.publish(topic.clone(), vec![1]).unwrap();
        device.next().await.unwrap();
        device.close().await;
        let died = tokio::time::timeout(std::time::Duration::from_secs(20), watch.died());
        died.await.unwrap();
        // The watch ends while the rest of the router is still being dropped.
        while delivery.publish(topic.clone(), vec![2]).is_ok() {
            std::thread::yield_now();
        }
        assert!(delivery.link("d:1".to_owned(), true).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_are_free_again_after_closing_and_the_router_lives() {
        let (delivery, watch) = Delivery::start().unwrap();
        for round in 0..200_u32 {
            let (mut device, _) = link(&delivery, "d:0", true).await;
            device
                .subscribe("v1/devices/d/receipts".to_owned(), QoS::AtMostOnce)
                .await
                .unwrap();
            delivery
                .publish("v1/devices/d/receipts".to_owned(), vec![1])
                .unwrap();
            if round % 2 == 0 {
                device.next().await.unwrap();
            }
            device.close().await;
        }
        tokio::select! {
            biased;
            () = watch.died() => panic!("the router died"),
            () = std::future::ready(()) => {}
        }
    }
}
