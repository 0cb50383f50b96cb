//! Fuzz target: the bytes of a connection.

use bytes::BytesMut;
use rumqttd::protocol::{Packet, Publish};

use super::status::Message;
use super::wire::{self, FromDevice, Greeting, Incoming, Version};
use crate::fuzzing::{Input, device};
use crate::ingest::topic;

/// Bytes of a packet.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// Bytes that say how the stream is cut into pieces.
const CUTS: usize = 8;

/// What a device sends, however it is cut into pieces, is the same packets, and no packet is more than its bytes.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let version = match input.byte() {
        0 => None,
        1 => Some(Version::V4),
        _ => Some(Version::V5),
    };
    let cuts = input.bytes(CUTS);
    let stream = input.rest();
    let whole = packets(version, [stream].into_iter());
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let length = cuts.next().map_or(rest.len(), |cut| 1 + usize::from(*cut));
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(packets(version, pieces), whole);
}

/// What the packets say, up to the first that is refused. Without a version the first is the CONNECT.
fn packets<'a>(
    mut version: Option<Version>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<String> {
    let mut said = Vec::new();
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let announced = wire::announced(&buffer);
            let before = buffer.clone();
            let frame = match wire::take_frame(&mut buffer, PACKET_BYTES_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    said.push(error.to_string());
                    return said;
                }
            };
            let bytes = &before[..before.len() - buffer.len()];
            assert_eq!(announced, Some(bytes.len()));
            let read = match version {
                None => frame.greeting().map(|greeting| {
                    version = Some(greeting.version);
                    let text = format!("{greeting:?}");
                    greeted(greeting, bytes);
                    text
                }),
                Some(version) => frame.decode(version).map(|packet| {
                    let text = format!("{packet:?}");
                    received(version, packet, bytes);
                    text
                }),
            };
            match read {
                Ok(text) => said.push(text),
                Err(error) => {
                    said.push(error.to_string());
                    return said;
                }
            }
        }
    }
    said
}

fn greeted(greeting: Greeting, bytes: &[u8]) {
    assert!(greeting.connect.client_id.len() < bytes.len());
    if let Some((will, properties)) = greeting.will
        && let Ok(message) = Message::of_will(will, properties)
    {
        passed_on(&message);
    }
}

fn received(version: Version, packet: FromDevice, bytes: &[u8]) {
    match packet {
        FromDevice::Publish(publish) => {
            assert!(publish.qos <= 2 && (publish.qos == 0) == (publish.pkid == 0));
            assert_eq!(
                Some(&publish.payload[..]),
                payload(version, publish.qos, bytes)
            );
            drop(topic::target(&device(), &publish.topic));
            if let Ok(message) = Message::of(Incoming::clone(&publish)) {
                passed_on(&message);
            }
        }
        FromDevice::Subscribe { subscribe, .. } => {
            assert!(subscribe.pkid != 0 && subscribe.filters.len() < bytes.len());
            for filter in &subscribe.filters {
                let own = filter.path.starts_with("v1/devices/hr-1/");
                assert!(own || !topic::may_subscribe(&device(), &filter.path));
            }
        }
        FromDevice::Unsubscribe(unsubscribe) => {
            assert!(unsubscribe.pkid != 0 && unsubscribe.filters.len() < bytes.len());
        }
        _ => {}
    }
}

/// The payload of a PUBLISH: what follows header, topic, identifier and properties, by their announced lengths.
fn payload(version: Version, qos: u8, packet: &[u8]) -> Option<&[u8]> {
    let (_, rest) = variable(packet.get(1..)?)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    let rest = rest.get(if qos == 0 { 0 } else { 2 }..)?;
    match version {
        Version::V4 => Some(rest),
        Version::V5 => variable(rest).and_then(|(properties, rest)| rest.get(properties..)),
    }
}

/// A Variable Byte Integer and what follows it.
fn variable(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// A device's status reaches its subscribers as it was sent.
fn passed_on(message: &Message) {
    let publish = Publish::new(
        topic::status(&device()).into_bytes(),
        message.payload.to_vec(),
        false,
    );
    let mut bytes = BytesMut::new();
    let properties = message.properties.clone();
    let encoded = Version::V5.encode(Packet::Publish(publish, properties), &mut bytes);
    assert!(encoded.is_ok(), "{message:?} cannot be sent");
    let frame = wire::take_frame(&mut bytes, PACKET_BYTES_MAX);
    let frame = frame.expect("what was encoded is a packet");
    let frame = frame.expect("what was encoded is whole");
    let Ok(FromDevice::Publish(again)) = frame.decode(Version::V5) else {
        panic!("{message:?} cannot be read again");
    };
    assert_eq!(again.payload, message.payload);
    assert_eq!(
        again.properties.unwrap_or_default(),
        message.properties.clone().unwrap_or_default()
    );
    assert!(bytes.is_empty());
}
