//! The one mapping from why a message was refused to what MQTT says. Pure.

use rumqttd::protocol::{ConnectReturnCode, DisconnectReasonCode, PubAckReason, PubRecReason};
use thiserror::Error;

use super::status::StatusError;
use super::wire::{Version, WireError};
use crate::ingest::intake::IntakeError;
use crate::ingest::topic::TopicError;
use crate::objects::ObjectError;

/// Why a message was refused.
#[derive(Debug, Error)]
pub(super) enum MessageRefusal {
    /// A reading that the intake does not take.
    #[error(transparent)]
    Reading(#[from] IntakeError),
    /// A status that cannot be kept or passed on.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// A reading that is to be retained.
    #[error("readings are kept and never retained; only the status may be")]
    Retained,
}

impl MessageRefusal {
    /// The refusal's stable name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reading(error) => error.name(),
            Self::Status(error) => error.name(),
            Self::Retained => "retain-not-allowed",
        }
    }
}

/// Reason of a PUBACK (QoS 1), MQTT 5.
pub(super) fn puback(refusal: &MessageRefusal) -> PubAckReason {
    match refusal {
        MessageRefusal::Reading(error) => reading(error),
        MessageRefusal::Status(StatusError::Malformed) => PubAckReason::PayloadFormatInvalid,
        MessageRefusal::Status(StatusError::TooLarge | StatusError::Full) => {
            PubAckReason::QuotaExceeded
        }
        MessageRefusal::Status(StatusError::NotDurable | StatusError::NotDelivered(_)) => {
            PubAckReason::ImplementationSpecificError
        }
        MessageRefusal::Retained => PubAckReason::NotAuthorized,
    }
}

fn reading(error: &IntakeError) -> PubAckReason {
    match error {
        IntakeError::Topic(TopicError::Malformed | TopicError::Bag) => {
            PubAckReason::TopicNameInvalid
        }
        IntakeError::Topic(TopicError::Sequence) | IntakeError::Payload(_) => {
            PubAckReason::PayloadFormatInvalid
        }
        IntakeError::Topic(TopicError::NotAllowed)
        | IntakeError::DeviceUnknown
        | IntakeError::DeviceInactive
        | IntakeError::Signature { .. }
        | IntakeError::NotBound => PubAckReason::NotAuthorized,
        IntakeError::Full | IntakeError::NotDurable => PubAckReason::QuotaExceeded,
        IntakeError::Object(error) if error.is_temporary() => PubAckReason::QuotaExceeded,
        IntakeError::Object(ObjectError::Differs | ObjectError::Unknown) => {
            PubAckReason::ImplementationSpecificError
        }
        IntakeError::Object(_) => PubAckReason::PayloadFormatInvalid,
        IntakeError::SequenceReused | IntakeError::SequenceTooOld | IntakeError::LookupFailed => {
            PubAckReason::ImplementationSpecificError
        }
    }
}

/// Reason of a PUBREC (QoS 2), MQTT 5.
pub(super) fn pubrec(error: &MessageRefusal) -> PubRecReason {
    match puback(error) {
        PubAckReason::TopicNameInvalid => PubRecReason::TopicNameInvalid,
        PubAckReason::PayloadFormatInvalid => PubRecReason::PayloadFormatInvalid,
        PubAckReason::NotAuthorized => PubRecReason::NotAuthorized,
        PubAckReason::QuotaExceeded => PubRecReason::QuotaExceeded,
        _ => PubRecReason::ImplementationSpecificError,
    }
}

/// Reason of a DISCONNECT where there is nothing to acknowledge (QoS 0), MQTT 5.
pub(super) fn disconnect(error: &MessageRefusal) -> DisconnectReasonCode {
    match puback(error) {
        PubAckReason::TopicNameInvalid => DisconnectReasonCode::TopicNameInvalid,
        PubAckReason::PayloadFormatInvalid => DisconnectReasonCode::PayloadFormatInvalid,
        PubAckReason::NotAuthorized => DisconnectReasonCode::NotAuthorized,
        PubAckReason::QuotaExceeded => DisconnectReasonCode::QuotaExceeded,
        _ => DisconnectReasonCode::ImplementationSpecificError,
    }
}

/// Whether sending the same message again later may help.
pub(super) fn is_temporary(refusal: &MessageRefusal) -> bool {
    let error = match refusal {
        MessageRefusal::Reading(error) => error,
        MessageRefusal::Status(error) => {
            return !matches!(error, StatusError::TooLarge | StatusError::Malformed);
        }
        MessageRefusal::Retained => return false,
    };
    match error {
        IntakeError::Full | IntakeError::NotDurable | IntakeError::LookupFailed => true,
        IntakeError::Object(error) => error.is_temporary(),
        _ => false,
    }
}

/// Reason of a DISCONNECT for a packet that cannot be taken.
pub(super) fn wire(error: WireError) -> DisconnectReasonCode {
    match error {
        WireError::TooLarge => DisconnectReasonCode::PacketTooLarge,
        WireError::Malformed => DisconnectReasonCode::MalformedPacket,
        WireError::Unexpected | WireError::Version => DisconnectReasonCode::ProtocolError,
    }
}

/// Why a CONNECT was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectRefusal {
    /// The client identifier is empty, too long or no device ID.
    ClientId,
    /// Not registered, suspended, or the certificate is another's.
    NotAuthorized,
    /// A will for another topic than the device's status.
    WillTopic,
    /// A will of too many bytes.
    WillTooLarge,
    /// A will with a property that MQTT does not allow.
    WillMalformed,
    /// Extended authentication.
    AuthenticationMethod,
    /// Too many connections.
    Busy,
    /// The ledger cannot be asked.
    Unavailable,
    /// The session is held under another certificate.
    OtherCertificate,
    /// The device has too many sessions.
    TooManySessions,
}

impl ConnectRefusal {
    /// The CONNACK's code.
    pub(super) fn code(self, version: Version) -> ConnectReturnCode {
        use ConnectReturnCode as Code;
        match (version, self) {
            (_, Self::ClientId) => Code::ClientIdentifierNotValid,
            (_, Self::NotAuthorized | Self::OtherCertificate | Self::WillTopic)
            | (Version::V4, Self::WillTooLarge | Self::WillMalformed) => Code::NotAuthorized,
            (Version::V5, Self::WillTooLarge) => Code::QuotaExceeded,
            (Version::V5, Self::WillMalformed) => Code::MalformedPacket,
            (Version::V5, Self::AuthenticationMethod) => Code::BadAuthenticationMethod,
            (Version::V4, Self::AuthenticationMethod) => Code::NotAuthorized,
            (Version::V5, Self::Busy) => Code::ServerBusy,
            (Version::V5, Self::Unavailable) => Code::ServerUnavailable,
            (Version::V5, Self::TooManySessions) => Code::QuotaExceeded,
            (Version::V4, Self::Busy | Self::Unavailable | Self::TooManySessions) => {
                Code::ServiceUnavailable
            }
        }
    }

    /// The CONNACK's reason string and the log's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClientId => "client-id-not-valid",
            Self::NotAuthorized => "device-not-authorized",
            Self::WillTopic => "will-topic-not-allowed",
            Self::WillTooLarge => "will-too-large",
            Self::WillMalformed => "will-property-malformed",
            Self::AuthenticationMethod => "authentication-method-not-supported",
            Self::Busy => "too-many-connections",
            Self::Unavailable => "device-lookup-failed",
            Self::OtherCertificate => "session-of-another-certificate",
            Self::TooManySessions => "too-many-sessions",
        }
    }
}

/// Name of a refused packet for logs and metrics.
pub(super) fn wire_name(error: WireError) -> &'static str {
    match error {
        WireError::TooLarge => "packet-too-large",
        WireError::Malformed => "packet-malformed",
        WireError::Unexpected => "packet-unexpected",
        WireError::Version => "protocol-version",
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rumqttd::protocol::{ConnAck, Packet, PubAck, PubAckProperties, PubRec, PubRecProperties};

    use super::*;
    use crate::ingest::decode::DecodeError;
    use crate::ingest::mqtt::DeliveryError;
    use crate::ingest::mqtt::reply;

    #[test]
    fn refused_messages_have_the_standards_codes() {
        let signature = IntakeError::Signature {
            reason: String::new(),
        };
        for (error, code) in [
            (IntakeError::Topic(TopicError::NotAllowed), 0x87),
            (IntakeError::Topic(TopicError::Malformed), 0x90),
            (IntakeError::Topic(TopicError::Sequence), 0x99),
            (IntakeError::Payload(DecodeError::Empty), 0x99),
            (IntakeError::Object(ObjectError::Chunk), 0x99),
            (IntakeError::Object(ObjectError::Unknown), 0x83),
            (IntakeError::Object(ObjectError::DiskFull), 0x97),
            (IntakeError::DeviceInactive, 0x87),
            (IntakeError::NotBound, 0x87),
            (signature, 0x87),
            (IntakeError::Full, 0x97),
            (IntakeError::SequenceReused, 0x83),
            (IntakeError::LookupFailed, 0x83),
        ]
        .map(|(error, code)| (MessageRefusal::from(error), code))
        .into_iter()
        .chain([
            (StatusError::TooLarge.into(), 0x97),
            (StatusError::Malformed.into(), 0x99),
            (StatusError::Full.into(), 0x97),
            (StatusError::NotDurable.into(), 0x83),
            (StatusError::NotDelivered(DeliveryError).into(), 0x83),
            (MessageRefusal::Retained, 0x87),
        ]) {
            let mut bytes = BytesMut::new();
            let ack = PubAck {
                pkid: 0x102,
                reason: puback(&error),
            };
            let properties = PubAckProperties {
                reason_string: Some(error.name().to_owned()),
                user_properties: Vec::new(),
            };
            let packet = Packet::PubAck(ack, Some(properties));
            Version::V5.encode(packet, &mut bytes).unwrap();
            assert_eq!(
                (bytes[0], &bytes[2..4], bytes[4]),
                (0x40, &[1, 2][..], code),
                "{error}"
            );
            assert!(bytes.ends_with(error.name().as_bytes()));

            let mut bytes = BytesMut::new();
            let received = PubRec {
                pkid: 1,
                reason: pubrec(&error),
            };
            let properties = PubRecProperties {
                reason_string: None,
                user_properties: Vec::new(),
            };
            let packet = Packet::PubRec(received, Some(properties));
            Version::V5.encode(packet, &mut bytes).unwrap();
            assert_eq!((bytes[0], bytes[4]), (0x50, code), "{error}");

            let mut bytes = BytesMut::new();
            let packet = reply::goodbye(disconnect(&error), "x");
            Version::V5.encode(packet, &mut bytes).unwrap();
            assert_eq!(bytes[..], [0xe0, 6, code, 4, 31, 0, 1, b'x'], "{error}");
        }
    }

    #[test]
    fn refused_packets_and_connects_have_the_standards_codes() {
        for (error, code) in [
            (WireError::TooLarge, 0x95),
            (WireError::Malformed, 0x81),
            (WireError::Unexpected, 0x82),
        ] {
            let mut bytes = BytesMut::new();
            let packet = reply::goodbye(wire(error), "x");
            Version::V5.encode(packet, &mut bytes).unwrap();
            assert_eq!(bytes[2], code);
        }
        for (refusal, v4, v5) in [
            (ConnectRefusal::ClientId, 2, 0x85),
            (ConnectRefusal::NotAuthorized, 5, 0x87),
            (ConnectRefusal::WillTopic, 5, 0x87),
            (ConnectRefusal::WillTooLarge, 5, 0x97),
            (ConnectRefusal::WillMalformed, 5, 0x81),
            (ConnectRefusal::AuthenticationMethod, 5, 0x8c),
            (ConnectRefusal::Busy, 3, 0x89),
            (ConnectRefusal::Unavailable, 3, 0x88),
            (ConnectRefusal::OtherCertificate, 5, 0x87),
            (ConnectRefusal::TooManySessions, 3, 0x97),
        ] {
            for (version, expected) in [(Version::V4, v4), (Version::V5, v5)] {
                let mut bytes = BytesMut::new();
                let ack = ConnAck {
                    session_present: false,
                    code: refusal.code(version),
                };
                version
                    .encode(Packet::ConnAck(ack, None), &mut bytes)
                    .unwrap();
                assert_eq!(bytes[3], expected, "{refusal:?} {version:?}");
            }
        }
    }
}
