//! Packets to a device, made for either version. Pure.

use rumqttd::protocol::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Disconnect, DisconnectProperties,
    DisconnectReasonCode, Packet, PubAck, PubAckProperties, PubAckReason, PubComp, PubCompReason,
    PubRec, PubRecProperties, PubRecReason, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};

use super::RECEIVE_MAXIMUM;
use super::refusal::{self, ConnectRefusal, MessageRefusal};
use super::wire::Version;

/// CONNACK to an admitted device, saying what this server does not do.
pub(super) fn welcome(
    session_present: bool,
    assigned: Option<String>,
    expiry_seconds: u32,
    packet_bytes: usize,
) -> Packet {
    let properties = ConnAckProperties {
        session_expiry_interval: Some(expiry_seconds),
        receive_max: Some(RECEIVE_MAXIMUM),
        max_packet_size: Some(u32::try_from(packet_bytes).unwrap_or(u32::MAX)),
        assigned_client_identifier: assigned,
        topic_alias_max: Some(0),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        ..ConnAckProperties::default()
    };
    let code = ConnectReturnCode::Success;
    Packet::ConnAck(
        ConnAck {
            session_present,
            code,
        },
        Some(properties),
    )
}

/// CONNACK to a refused device.
pub(super) fn unwelcome(refusal: ConnectRefusal, version: Version) -> Packet {
    let properties = ConnAckProperties {
        reason_string: Some(refusal.name().to_owned()),
        ..ConnAckProperties::default()
    };
    let ack = ConnAck {
        session_present: false,
        code: refusal.code(version),
    };
    Packet::ConnAck(ack, Some(properties))
}

/// CONNACK to a client of another version: the one code that every version knows.
pub(super) fn wrong_version() -> Packet {
    let ack = ConnAck {
        session_present: false,
        code: ConnectReturnCode::RefusedProtocolVersion,
    };
    Packet::ConnAck(ack, None)
}

/// The acknowledgement of a kept message.
pub(super) fn kept(qos: u8, pkid: u16) -> Option<Packet> {
    match qos {
        1 => {
            let reason = PubAckReason::Success;
            Some(Packet::PubAck(PubAck { pkid, reason }, None))
        }
        2 => {
            let reason = PubRecReason::Success;
            Some(Packet::PubRec(PubRec { pkid, reason }, None))
        }
        _ => None,
    }
}

/// The refusal of a message of QoS 1 or 2, MQTT 5.
pub(super) fn refused(qos: u8, pkid: u16, error: &MessageRefusal) -> Packet {
    let reason_string = Some(format!("{}: {error}", error.name()));
    let user_properties = Vec::new();
    match qos {
        1 => Packet::PubAck(
            PubAck {
                pkid,
                reason: refusal::puback(error),
            },
            Some(PubAckProperties {
                reason_string,
                user_properties,
            }),
        ),
        _ => Packet::PubRec(
            PubRec {
                pkid,
                reason: refusal::pubrec(error),
            },
            Some(PubRecProperties {
                reason_string,
                user_properties,
            }),
        ),
    }
}

/// PUBCOMP; an identifier nobody knows is not an error, MQTT 5 says so.
pub(super) fn completed(pkid: u16, known: bool) -> Packet {
    let reason = if known {
        PubCompReason::Success
    } else {
        PubCompReason::PacketIdentifierNotFound
    };
    Packet::PubComp(PubComp { pkid, reason }, None)
}

/// DISCONNECT with a reason. rumqttd's encoder gets the length wrong when there are no properties, so there always are.
pub(super) fn goodbye(reason_code: DisconnectReasonCode, name: &str) -> Packet {
    let properties = DisconnectProperties {
        session_expiry_interval: None,
        reason_string: Some(name.to_owned()),
        user_properties: Vec::new(),
        server_reference: None,
    };
    Packet::Disconnect(Disconnect { reason_code }, Some(properties))
}

/// SUBACK. 3.1.1 knows one code for every refusal.
pub(super) fn subscribed(version: Version, pkid: u16, codes: Vec<SubscribeReasonCode>) -> Packet {
    let return_codes = codes
        .into_iter()
        .map(|code| match (version, code) {
            (_, SubscribeReasonCode::QoS0 | SubscribeReasonCode::QoS1) => code,
            (Version::V4, _) => SubscribeReasonCode::Failure,
            (Version::V5, code) => code,
        })
        .collect();
    Packet::SubAck(SubAck { pkid, return_codes }, None)
}

/// UNSUBACK.
pub(super) fn unsubscribed(pkid: u16, existed: &[bool]) -> Packet {
    let reasons = existed
        .iter()
        .map(|existed| match existed {
            true => UnsubAckReason::Success,
            false => UnsubAckReason::NoSubscriptionExisted,
        })
        .collect();
    Packet::UnsubAck(UnsubAck { pkid, reasons }, None)
}
