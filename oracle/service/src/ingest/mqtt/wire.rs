//! Packets on the wire: frames are cut by announced length before anything is allocated for them, versions told
//! apart by the CONNECT, and rumqttd's codecs called only with what they can take. Pure.
//!
//! rumqttd's decoders meet packets they do not expect with a panic. What a device may not send is refused here
//! before; a panic nevertheless ends the connection as a malformed packet, not the program.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v4::{self, V4};
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    Connect, ConnectProperties, Error, LastWill, LastWillProperties, Packet, Protocol,
    PublishProperties, Subscribe, Unsubscribe,
};
use thiserror::Error;

/// Protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// Why bytes from a device are no packet it may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum WireError {
    #[error("the packet is larger than this server takes")]
    TooLarge,
    #[error("the packet is malformed")]
    Malformed,
    #[error("this packet may not be sent by a device or not now")]
    Unexpected,
    #[error("only MQTT 3.1.1 and 5 are spoken here")]
    Version,
}

/// One whole packet, undecoded.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: BytesMut,
    header: usize,
}

/// What a CONNECT says.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) version: Version,
    pub(super) connect: Connect,
    pub(super) properties: Option<ConnectProperties>,
    pub(super) will: Option<(LastWill, Option<LastWillProperties>)>,
}

/// A PUBLISH as it came.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) qos: u8,
    pub(super) pkid: u16,
    pub(super) retain: bool,
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) properties: Option<PublishProperties>,
}

/// What a device may send after its CONNECT.
#[derive(Debug)]
pub(super) enum FromDevice {
    Publish(Box<Incoming>),
    PubAck(u16),
    PubRel(u16),
    Subscribe {
        subscribe: Subscribe,
        identified: bool,
    },
    Unsubscribe(Unsubscribe),
    Ping,
    Disconnect(Farewell),
}

/// What a DISCONNECT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Farewell {
    /// Whether the device wants its will published nevertheless.
    pub(super) with_will: bool,
    /// For how long the session is to be kept from now on, seconds.
    pub(super) session_expiry: Option<u32>,
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const DISCONNECT: u8 = 14;
/// The one reason of a DISCONNECT that discards the will; all others are failures or ask for it.
const NORMAL_DISCONNECTION: u8 = 0;
/// Bytes of any packet but a PUBLISH. Its many small parts take far more memory than bytes on the wire.
const CONTROL_BYTES_MAX: usize = 64 << 10;
/// Bytes of the properties of a PUBLISH, for the same reason.
const PROPERTIES_BYTES_MAX: usize = 64 << 10;
/// Length of the name `MQTT` with its length, at the start of a CONNECT.
const PROTOCOL_NAME: &[u8] = b"\0\x04MQTT";

/// Bytes of the packet at the start of the buffer, once its header says so; `None` before.
pub(super) fn announced(buffer: &BytesMut) -> Option<usize> {
    match v4::check(buffer.iter(), usize::MAX) {
        Ok(header) => Some(header.frame_length()),
        // Of an unfinished header one or two bytes are said to be missing, too few to matter.
        Err(Error::InsufficientBytes(missing)) => Some(buffer.len() + missing),
        Err(_) => None,
    }
}

/// Cuts the first packet off the buffer, `None` while bytes are missing.
pub(super) fn take_frame(
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<Frame>, WireError> {
    let bytes_max = match buffer.first() {
        Some(first) if first >> 4 != PUBLISH => bytes_max.min(CONTROL_BYTES_MAX),
        _ => bytes_max,
    };
    match v4::check(buffer.iter(), bytes_max) {
        Ok(header) => Ok(Some(Frame {
            bytes: buffer.split_to(header.frame_length()),
            header: header.fixed_header_len,
        })),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(Error::PayloadSizeLimitExceeded(_)) => Err(WireError::TooLarge),
        Err(_) => Err(WireError::Malformed),
    }
}

impl Frame {
    fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    fn flags(&self) -> u8 {
        self.bytes[0] & 0x0f
    }

    fn body(&self) -> &[u8] {
        &self.bytes[self.header..]
    }

    /// Decodes a connection's first packet.
    pub(super) fn greeting(self) -> Result<Greeting, WireError> {
        if self.kind() != CONNECT || self.flags() != 0 {
            return Err(WireError::Malformed);
        }
        let body = self.body();
        let (Some(level), Some(connect_flags)) = (body.get(6), body.get(7)) else {
            return Err(WireError::Malformed);
        };
        if !body.starts_with(PROTOCOL_NAME) {
            // MQTT 3.1 called itself MQIsdp.
            return Err(WireError::Version);
        }
        let version = match level {
            4 => Version::V4,
            5 => Version::V5,
            _ => return Err(WireError::Version),
        };
        if connect_flags & 1 != 0 {
            return Err(WireError::Malformed);
        }
        match version.decode(self.bytes)? {
            Packet::Connect(connect, properties, will, will_properties, _) => Ok(Greeting {
                version,
                connect,
                properties,
                will: will.map(|will| (will, will_properties)),
            }),
            _ => Err(WireError::Malformed),
        }
    }

    /// Decodes a later packet.
    pub(super) fn decode(self, version: Version) -> Result<FromDevice, WireError> {
        let flags_wrong = match self.kind() {
            PUBLISH => false,
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => self.flags() != 2,
            _ => self.flags() != 0,
        };
        if flags_wrong {
            return Err(WireError::Malformed);
        }
        match self.kind() {
            PUBLISH => self.publish(version),
            DISCONNECT => self.farewell(version).map(FromDevice::Disconnect),
            4 | PUBREL | SUBSCRIBE | UNSUBSCRIBE | 12 => match version.decode(self.bytes)? {
                Packet::PubAck(ack, _) => Ok(FromDevice::PubAck(ack.pkid)),
                Packet::PubRel(release, _) => Ok(FromDevice::PubRel(release.pkid)),
                Packet::Subscribe(subscribe, properties) => Ok(FromDevice::Subscribe {
                    identified: properties.is_some_and(|p| p.id.is_some()),
                    subscribe: nonzero(subscribe.pkid, subscribe)?,
                }),
                Packet::Unsubscribe(unsubscribe, _) => Ok(FromDevice::Unsubscribe(nonzero(
                    unsubscribe.pkid,
                    unsubscribe,
                )?)),
                Packet::PingReq(_) => Ok(FromDevice::Ping),
                _ => Err(WireError::Unexpected),
            },
            _ => Err(WireError::Unexpected),
        }
    }

    /// rumqttd's decoder does not know a DISCONNECT that ends after the reason, which MQTT 5 allows.
    fn farewell(self, version: Version) -> Result<Farewell, WireError> {
        let (reason, more) = match (version, self.body()) {
            (_, []) => (NORMAL_DISCONNECTION, false),
            (Version::V4, _) => return Err(WireError::Malformed),
            (Version::V5, [reason, rest @ ..]) => (*reason, !rest.is_empty()),
        };
        let session_expiry = match more {
            true => match version.decode(self.bytes)? {
                Packet::Disconnect(_, properties) => {
                    properties.and_then(|properties| properties.session_expiry_interval)
                }
                _ => return Err(WireError::Malformed),
            },
            false => None,
        };
        Ok(Farewell {
            with_will: reason != NORMAL_DISCONNECTION,
            session_expiry,
        })
    }

    fn publish(self, version: Version) -> Result<FromDevice, WireError> {
        let qos = (self.flags() >> 1) & 3;
        let duplicate = self.flags() & 8 != 0;
        if qos > 2 || (qos == 0 && duplicate) {
            return Err(WireError::Malformed);
        }
        let pkid = if qos == 0 { 0 } else { self.packet_id()? };
        let payload_bytes = self.payload_bytes(version, qos)?;
        match version.decode(self.bytes)? {
            // rumqttd's decoder reads properties beyond the length that they announce, into the payload.
            Packet::Publish(publish, _) if publish.payload.len() != payload_bytes => {
                Err(WireError::Malformed)
            }
            Packet::Publish(publish, properties) => Ok(FromDevice::Publish(Box::new(Incoming {
                qos,
                pkid,
                retain: publish.retain,
                topic: publish.topic,
                payload: publish.payload,
                properties,
            }))),
            _ => Err(WireError::Malformed),
        }
    }

    /// What follows the topic of a PUBLISH.
    fn after_topic(&self) -> Result<&[u8], WireError> {
        let body = self.body();
        let length = body.first_chunk::<2>().ok_or(WireError::Malformed)?;
        let after = 2 + usize::from(u16::from_be_bytes(*length));
        body.get(after..).ok_or(WireError::Malformed)
    }

    /// Bytes of a PUBLISH's payload: what is left after topic, identifier and, in MQTT 5, the properties, whose
    /// announced length has seven bits a byte and at most four bytes.
    fn payload_bytes(&self, version: Version, qos: u8) -> Result<usize, WireError> {
        let rest = self.after_topic()?.get(if qos == 0 { 0 } else { 2 }..);
        let rest = rest.ok_or(WireError::Malformed)?;
        if version == Version::V4 {
            return Ok(rest.len());
        }
        let mut properties = 0;
        for (at, byte) in rest.iter().take(4).enumerate() {
            properties |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if properties > PROPERTIES_BYTES_MAX {
                    return Err(WireError::TooLarge);
                }
                let left = rest.len().checked_sub(at + 1 + properties);
                return left.ok_or(WireError::Malformed);
            }
        }
        Err(WireError::Malformed)
    }

    /// The packet identifier of a PUBLISH, which rumqttd keeps to itself: two bytes after the topic.
    fn packet_id(&self) -> Result<u16, WireError> {
        let id = self
            .after_topic()?
            .first_chunk::<2>()
            .ok_or(WireError::Malformed)?;
        match u16::from_be_bytes(*id) {
            0 => Err(WireError::Malformed),
            id => Ok(id),
        }
    }
}

fn nonzero<T>(pkid: u16, packet: T) -> Result<T, WireError> {
    if pkid == 0 {
        Err(WireError::Malformed)
    } else {
        Ok(packet)
    }
}

impl Version {
    /// For logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        }
    }

    fn decode(self, mut bytes: BytesMut) -> Result<Packet, WireError> {
        let limit = bytes.len();
        let decoded = catch_unwind(AssertUnwindSafe(|| match self {
            Self::V4 => V4.read_mut(&mut bytes, limit),
            Self::V5 => V5.read_mut(&mut bytes, limit),
        }));
        match decoded {
            Ok(Ok(packet)) => Ok(packet),
            Ok(Err(_)) | Err(_) => Err(WireError::Malformed),
        }
    }

    /// Encodes a packet. Properties are dropped in 3.1.1, which has none.
    pub(super) fn encode(self, packet: Packet, out: &mut BytesMut) -> Result<(), WireError> {
        let written = catch_unwind(AssertUnwindSafe(|| match self {
            Self::V4 => V4.write(without_properties(packet), out),
            Self::V5 => V5.write(packet, out),
        }));
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(WireError::Malformed),
        }
    }
}

fn without_properties(packet: Packet) -> Packet {
    match packet {
        Packet::ConnAck(ack, _) => Packet::ConnAck(ack, None),
        Packet::Publish(publish, _) => Packet::Publish(publish, None),
        Packet::PubAck(ack, _) => Packet::PubAck(ack, None),
        Packet::PubRec(ack, _) => Packet::PubRec(ack, None),
        Packet::PubRel(ack, _) => Packet::PubRel(ack, None),
        Packet::PubComp(ack, _) => Packet::PubComp(ack, None),
        Packet::SubAck(ack, _) => Packet::SubAck(ack, None),
        Packet::UnsubAck(ack, _) => Packet::UnsubAck(ack, None),
        Packet::Disconnect(disconnect, _) => Packet::Disconnect(disconnect, None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 16;

    fn frame(bytes: &[u8]) -> Frame {
        take_frame(&mut BytesMut::from(bytes), LIMIT)
            .unwrap()
            .unwrap()
    }

    fn connect(name: &[u8], level: u8, flags: u8) -> Vec<u8> {
        let mut body = vec![0, u8::try_from(name.len()).unwrap()];
        body.extend_from_slice(name);
        body.extend_from_slice(&[level, flags, 0, 60]);
        if level == 5 {
            body.push(0);
        }
        body.extend_from_slice(b"\0\x04hr-1");
        let mut bytes = vec![0x10, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn versions_are_told_apart_by_the_connect() {
        let v4 = frame(&connect(b"MQTT", 4, 2)).greeting().unwrap();
        assert_eq!(
            (v4.version, v4.connect.client_id.as_str()),
            (Version::V4, "hr-1")
        );
        let v5 = frame(&connect(b"MQTT", 5, 2)).greeting().unwrap();
        assert_eq!((v5.version, v5.connect.keep_alive), (Version::V5, 60));
        for (bytes, error) in [
            (connect(b"MQTT", 3, 2), WireError::Version),
            (connect(b"MQTT", 6, 2), WireError::Version),
            (connect(b"MQIsdp", 3, 2), WireError::Version),
            (connect(b"MQTT", 4, 3), WireError::Malformed),
            (vec![0xc0, 0], WireError::Malformed),
            (vec![0x10, 2, 0, 4], WireError::Malformed),
        ] {
            assert_eq!(frame(&bytes).greeting().unwrap_err(), error, "{bytes:?}");
        }
    }

    #[test]
    fn size_is_checked_before_the_body_is_there() {
        let mut header = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
        assert_eq!(
            take_frame(&mut header, LIMIT).unwrap_err(),
            WireError::TooLarge
        );
        let mut header = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0xff, 1][..]);
        assert_eq!(
            take_frame(&mut header, LIMIT).unwrap_err(),
            WireError::Malformed
        );
        let mut partial = BytesMut::from(&[0x30, 0x05, 0][..]);
        assert!(take_frame(&mut partial, LIMIT).unwrap().is_none());
        assert_eq!(partial.len(), 3);
    }

    /// Millions of one-byte filters, or of user properties, would become gigabytes once decoded.
    #[test]
    fn many_small_parts_are_refused_by_their_announced_bytes() {
        let large = 8 << 20;
        for first in [0x82, 0xa2, 0x10, 0x40, 0xc0] {
            let mut header = BytesMut::from(&[first, 0x81, 0x80, 0x04][..]);
            let error = take_frame(&mut header, large).unwrap_err();
            assert_eq!(error, WireError::TooLarge, "{first:x}");
        }
        let mut header = BytesMut::from(&[0x32, 0x81, 0x80, 0x04][..]);
        assert!(take_frame(&mut header, large).unwrap().is_none());
        for (quality, identifier) in [(0x30, &b""[..]), (0x32, b"\0\x07")] {
            let mut body = b"\0\x01a".to_vec();
            body.extend_from_slice(identifier);
            body.extend_from_slice(&[0x81, 0x80, 0x04]);
            body.resize(body.len() + 65_537, 0);
            let mut bytes = vec![quality];
            bytes.extend_from_slice(&[
                u8::try_from(body.len() & 0x7f).unwrap() | 0x80,
                u8::try_from(body.len() >> 7 & 0x7f).unwrap() | 0x80,
                u8::try_from(body.len() >> 14).unwrap(),
            ]);
            bytes.extend_from_slice(&body);
            let frame = take_frame(&mut BytesMut::from(&bytes[..]), large);
            let error = frame.unwrap().unwrap().decode(Version::V5).unwrap_err();
            assert_eq!(error, WireError::TooLarge);
        }
        let bytes = b"\x30\x04\0\x01a\xff";
        assert!(frame(bytes).decode(Version::V5).is_err());
    }

    #[test]
    fn publishes_carry_quality_and_identifier() {
        let bytes = b"\x32\x07\0\x01a\x01\x02hi";
        let FromDevice::Publish(publish) = frame(bytes).decode(Version::V4).unwrap() else {
            panic!();
        };
        assert_eq!((publish.qos, publish.pkid), (1, 0x102));
        assert_eq!(
            (&publish.topic[..], &publish.payload[..]),
            (&b"a"[..], &b"hi"[..])
        );
        for bad in [
            &b"\x36\x07\0\x01a\x01\x02hi"[..],
            b"\x38\x05\0\x01ahi",
            b"\x32\x05\0\x01a\0\0",
            b"\x32\x03\0\x01a",
            b"\x32\x02\0\x09",
        ] {
            for version in [Version::V4, Version::V5] {
                assert!(frame(bad).decode(version).is_err(), "{bad:?}");
            }
        }
    }

    /// The codec takes the beginning of the payload for a property, or the end of the properties for payload.
    #[test]
    fn properties_end_where_they_say() {
        for bad in [
            // One byte announced, and a content type of two characters.
            &b"\x30\x0b\0\x01a\x01\x03\0\x02xyhi"[..],
            // Six bytes announced; the codec counts a subscription identifier's twice.
            b"\x30\x0c\0\x01a\x06\x0b\x05\x0b\x06\x01\x01hi",
            b"\x30\x04\0\x01a\x09",
        ] {
            let error = frame(bad).decode(Version::V5).unwrap_err();
            assert_eq!(error, WireError::Malformed, "{bad:?}");
        }
        let good = b"\x30\x0b\0\x01a\x05\x03\0\x02xyhi";
        let FromDevice::Publish(publish) = frame(good).decode(Version::V5).unwrap() else {
            panic!();
        };
        assert_eq!(&publish.payload[..], b"hi");
    }

    #[test]
    fn what_only_a_server_sends_is_refused() {
        for kind in [1_u8, 2, 5, 7, 9, 11, 13, 15] {
            for version in [Version::V4, Version::V5] {
                let bytes = [kind << 4, 3, 0, 1, 0];
                assert!(frame(&bytes).decode(version).is_err(), "{kind}");
            }
        }
        for bytes in [
            &b"\x80\x06\0\x01\0\x01a\0"[..],
            b"\xa0\x05\0\x01\0\x01a",
            b"\x60\x02\0\x01",
        ] {
            let error = frame(bytes).decode(Version::V4).unwrap_err();
            assert_eq!(error, WireError::Malformed, "reserved flags {bytes:?}");
        }
        assert!(matches!(
            frame(&[0xe0, 1, 4]).decode(Version::V5),
            Ok(FromDevice::Disconnect(Farewell {
                with_will: true,
                session_expiry: None,
            }))
        ));
    }

    #[test]
    fn random_packets_never_panic() {
        let mut state = 0xfeed_face_cafe_beef_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        for _ in 0..50_000 {
            let length = usize::from(next()[0] % 24);
            let mut bytes = vec![next()[0], u8::try_from(length).unwrap()];
            bytes.extend((0..length).map(|_| {
                let random = next();
                if random[1] < 128 {
                    random[0] % 6
                } else {
                    random[0]
                }
            }));
            for version in [Version::V4, Version::V5] {
                drop(frame(&bytes).decode(version));
            }
            drop(frame(&bytes).greeting());
        }
    }
}
