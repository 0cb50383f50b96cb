//! A device's status: the one topic on which it may have a message retained, and where its will goes.
//!
//! One message is retained for each device. It is durable before it is acknowledged and before anybody hears of it,
//! and survives restarts until its expiry or until an empty one comes. rumqttd's router only passes messages on: it
//! would lose retained ones at a restart and on the way to a session that breaks off.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract_interface::DeviceId;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rumqttd::protocol::{LastWill, LastWillProperties, PublishProperties};
use thiserror::Error;

use super::delivery::{Delivery, DeliveryError};
use super::wire::Incoming;
use crate::ingest::topic;
use crate::journal::{JournalError, LastValues};

/// Bytes of a status message, properties included.
pub(super) const STATUS_BYTES_MAX: usize = 8 << 10;
/// Name of the last property of a message in the router, which says what the router does not. No device can send it:
/// MQTT forbids the character.
const MARK: &str = "\0";

/// Why a status message was refused.
#[derive(Debug, Error)]
pub(super) enum StatusError {
    /// More than [`STATUS_BYTES_MAX`].
    #[error("a status has at most 8192 bytes, properties included")]
    TooLarge,
    /// A property that MQTT does not allow.
    #[error("a property of the status is malformed")]
    Malformed,
    /// No room to retain it.
    #[error("no room is left, try again later")]
    Full,
    /// It could not be made durable.
    #[error("the status could not be made durable")]
    NotDurable,
    /// The router is gone; the process ends.
    #[error(transparent)]
    NotDelivered(#[from] DeliveryError),
}

impl StatusError {
    /// The error's stable name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TooLarge => "status-too-large",
            Self::Malformed => "status-property-malformed",
            Self::Full => "status-no-room",
            Self::NotDurable => "status-not-durable",
            Self::NotDelivered(_) => "delivery-failed",
        }
    }
}

impl From<JournalError> for StatusError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full | JournalError::DiskRefused { .. } => Self::Full,
            _ => Self::NotDurable,
        }
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Those that travel with a message: no alias, no subscription, no mark.
    pub(super) properties: Option<PublishProperties>,
}

impl Message {
    /// Of a PUBLISH.
    pub(super) fn of(publish: Incoming) -> Result<Self, StatusError> {
        let properties = publish.properties.map(|properties| PublishProperties {
            topic_alias: None,
            subscription_identifiers: Vec::new(),
            ..properties
        });
        Self {
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties,
        }
        .checked()
    }

    /// Of a will.
    pub(super) fn of_will(
        will: LastWill,
        properties: Option<LastWillProperties>,
    ) -> Result<Self, StatusError> {
        let properties = properties.map(|properties| PublishProperties {
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
            content_type: properties.content_type,
            ..PublishProperties::default()
        });
        Self {
            payload: will.message,
            qos: will.qos as u8,
            retain: will.retain,
            properties,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, StatusError> {
        let mut bytes = self.payload.len();
        if let Some(properties) = &self.properties {
            let texts = properties.user_properties.iter();
            let texts = texts.flat_map(|(name, value)| [name, value]);
            let texts = texts
                .chain(&properties.response_topic)
                .chain(&properties.content_type);
            for text in texts {
                if text.contains('\0') {
                    return Err(StatusError::Malformed);
                }
                bytes += text.len();
            }
            bytes += properties.correlation_data.as_ref().map_or(0, Bytes::len);
        }
        if bytes > STATUS_BYTES_MAX {
            return Err(StatusError::TooLarge);
        }
        Ok(self)
    }
}

/// A retained message on the disk, as CBOR.
#[derive(Debug, Encode, Decode)]
struct Kept {
    #[n(0)]
    payload: ByteVec,
    #[n(1)]
    qos: u8,
    /// Milliseconds since 1970 after which it is gone.
    #[n(2)]
    expires_ms: Option<u64>,
    #[n(3)]
    format: Option<u8>,
    #[n(4)]
    content_type: Option<String>,
    #[n(5)]
    response_topic: Option<String>,
    #[n(6)]
    correlation_data: Option<ByteVec>,
    #[n(7)]
    user_properties: Vec<(String, String)>,
    /// Whether it came with properties.
    #[n(8)]
    version_5: bool,
}

impl Kept {
    fn of(message: &Message, now_ms: u64) -> Self {
        let properties = message.properties.clone().unwrap_or_default();
        let expiry = properties.message_expiry_interval;
        Self {
            payload: message.payload.to_vec().into(),
            qos: message.qos,
            expires_ms: expiry.map(|seconds| now_ms.saturating_add(u64::from(seconds) * 1000)),
            format: properties.payload_format_indicator,
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data.map(|data| data.to_vec().into()),
            user_properties: properties.user_properties,
            version_5: message.properties.is_some(),
        }
    }

    /// The message as it is delivered now; none if it has expired.
    fn message(self, now_ms: u64) -> Option<Message> {
        let expiry = match self.expires_ms {
            Some(expires_ms) => {
                let left = expires_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
                Some(u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX))
            }
            None => None,
        };
        let properties = self.version_5.then(|| PublishProperties {
            payload_format_indicator: self.format,
            message_expiry_interval: expiry,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data.map(|data| Vec::from(data).into()),
            user_properties: self.user_properties,
            content_type: self.content_type,
            ..PublishProperties::default()
        });
        Some(Message {
            payload: Vec::from(self.payload).into(),
            qos: self.qos,
            retain: true,
            properties,
        })
    }
}

/// All devices' status.
#[derive(Debug)]
pub(super) struct Statuses {
    retained: LastValues,
    delivery: Delivery,
}

impl Statuses {
    pub(super) fn new(retained: LastValues, delivery: Delivery) -> Self {
        let statuses = Self { retained, delivery };
        statuses.count();
        statuses
    }

    /// Retains the message, if it wants to be, and hands it to the device's sessions. `origin` is the name of the
    /// session it came from.
    pub(super) async fn publish(
        &self,
        device: &DeviceId,
        message: Message,
        origin: &str,
    ) -> Result<(), StatusError> {
        if message.retain {
            let kept = (!message.payload.is_empty()).then(|| Kept::of(&message, now_ms()));
            let kept = kept.map(|kept| minicbor::to_vec(kept).expect("memory takes all"));
            self.retained.put(device.as_str(), kept).await?;
            self.count();
        }
        metrics::counter!("salus_mqtt_status_total").increment(1);
        let mark = Mark {
            qos: message.qos,
            retain: message.retain,
            origin: origin.to_owned(),
        };
        let mut properties = message.properties.unwrap_or_default();
        properties.user_properties.push(mark.to_property());
        let topic = topic::status(device);
        self.delivery
            .publish_with(topic, message.payload, Some(properties))?;
        Ok(())
    }

    /// What is retained for a device.
    pub(super) fn retained(&self, device: &DeviceId) -> Option<Message> {
        let bytes = self.retained.get(device.as_str())?;
        let kept: Kept = minicbor::decode(&bytes)
            .inspect_err(
                |error| tracing::error!(%error, %device, "a retained message is unreadable"),
            )
            .ok()?;
        kept.message(now_ms())
    }

    fn count(&self) {
        metrics::gauge!("salus_mqtt_retained").set(self.retained.len() as f64);
    }
}

/// What the router does not know of a status message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Name of the session it came from.
    pub(super) origin: String,
}

impl Mark {
    fn to_property(&self) -> (String, String) {
        let value = format!("{}{}{}", self.qos, u8::from(self.retain), self.origin);
        (MARK.to_owned(), value)
    }

    /// Takes the mark off a message that came from the router; receipts have none.
    pub(super) fn take(properties: &mut Option<PublishProperties>) -> Option<Self> {
        let all = &mut properties.as_mut()?.user_properties;
        let (_, value) = all.pop_if(|(name, _)| name == MARK)?;
        if properties.as_ref() == Some(&PublishProperties::default()) {
            *properties = None;
        }
        let (flags, origin) = value.split_at_checked(2)?;
        let &[qos, retain] = flags.as_bytes() else {
            return None;
        };
        Some(Self {
            qos: qos - b'0',
            retain: retain == b'1',
            origin: origin.to_owned(),
        })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8], properties: Option<PublishProperties>) -> Message {
        Message {
            payload: Bytes::copy_from_slice(payload),
            qos: 1,
            retain: true,
            properties,
        }
    }

    fn full() -> PublishProperties {
        PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(10),
            response_topic: Some("answer".to_owned()),
            correlation_data: Some(Bytes::from_static(b"\x01\x02")),
            user_properties: vec![("a".to_owned(), "b".to_owned()); 2],
            content_type: Some("text/plain".to_owned()),
            ..PublishProperties::default()
        }
    }

    #[test]
    fn what_is_kept_comes_back_with_the_time_that_is_left() {
        for properties in [None, Some(PublishProperties::default()), Some(full())] {
            let sent = message(b"online", properties);
            let bytes = minicbor::to_vec(Kept::of(&sent, 1_000)).unwrap();
            let kept = |now| {
                let kept: Kept = minicbor::decode(&bytes).unwrap();
                kept.message(now)
            };
            assert_eq!(kept(1_000), Some(sent.clone()));
            match sent
                .properties
                .as_ref()
                .and_then(|p| p.message_expiry_interval)
            {
                Some(_) => {
                    let later = kept(8_500).unwrap().properties.unwrap();
                    assert_eq!(later.message_expiry_interval, Some(3));
                    assert_eq!(kept(11_000), None);
                }
                None => assert_eq!(kept(u64::MAX), Some(sent)),
            }
        }
    }

    #[test]
    fn a_status_is_bounded_with_its_properties() {
        assert!(message(&[0; STATUS_BYTES_MAX], None).checked().is_ok());
        let large = message(&[0; STATUS_BYTES_MAX + 1], None).checked();
        assert!(matches!(large, Err(StatusError::TooLarge)));
        let large = message(&[0; STATUS_BYTES_MAX], Some(full())).checked();
        assert!(matches!(large, Err(StatusError::TooLarge)));
        let forged = PublishProperties {
            user_properties: vec![(MARK.to_owned(), "11other".to_owned())],
            ..PublishProperties::default()
        };
        let forged = message(b"", Some(forged)).checked();
        assert!(matches!(forged, Err(StatusError::Malformed)));
    }

    #[test]
    fn marks_are_taken_off_and_leave_the_rest() {
        let mark = Mark {
            qos: 2,
            retain: true,
            origin: "hr-1:0".to_owned(),
        };
        for before in [None, Some(full())] {
            let mut properties = before.clone();
            let all = properties.get_or_insert_default();
            all.user_properties.push(mark.to_property());
            assert_eq!(Mark::take(&mut properties), Some(mark.clone()));
            assert_eq!(properties, before);
            assert_eq!(Mark::take(&mut properties), None);
            assert_eq!(properties, before);
        }
    }
}
