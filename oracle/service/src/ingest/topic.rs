//! The topics of a device, and who may use which. Pure.
//!
//! | topic | who | what |
//! |---|---|---|
//! | `v1/devices/{id}/observations` | device `{id}` publishes | readings |
//! | `v1/devices/{id}/observations/?name=value&…` | the same, MQTT 3.1.1 | readings with a property bag |
//! | `v1/devices/{id}/objects/{objectId}/manifest` | device `{id}` publishes | what a large object is |
//! | `v1/devices/{id}/objects/{objectId}/chunks/{n}` | the same | chunk `n` of it, from 0 |
//! | `v1/devices/{id}/objects/{objectId}/status/get` | the same | asks how far it is |
//! | `v1/devices/{id}/objects/{objectId}/status` | the oracle publishes | how far it is |
//! | `v1/devices/{id}/receipts` | the oracle publishes | receipts |
//! | `v1/devices/{id}/status` | device `{id}` publishes, its will too | what it says of itself; may be retained |
//!
//! A device subscribes to what lies below its own name only.
//!
//! The property bag is Eclipse Hono's: the last level begins with `?`, names and values are percent-encoded.

use contract_interface::DeviceId;
use rumqttd::protocol::valid_filter;
use thiserror::Error;

use super::decode::Hints;
use crate::objects::ObjectId;

/// Bytes of a topic or filter; longer ones are refused before they are looked at.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Properties in a bag or in a message; the rest is refused.
const PROPERTIES_MAX: usize = 16;

/// Why a topic or filter was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Not a topic: empty, too long, a wildcard or a null character in it.
    #[error("not a topic name")]
    Malformed,
    /// The device may not use it.
    #[error("this device may publish only to its own observations, objects and status")]
    NotAllowed,
    /// The property bag cannot be read.
    #[error("the property bag is malformed")]
    Bag,
    /// A sequence number that is not one.
    #[error("the sequence number must be an integer from 0 to 2^64-1")]
    Sequence,
}

/// The topic on which a device gets its receipts.
#[must_use]
pub fn receipts(device: &str) -> String {
    format!("v1/devices/{device}/receipts")
}

/// The topic on which a device says how it is.
#[must_use]
pub fn status(device: &DeviceId) -> String {
    format!("v1/devices/{device}/status")
}

/// Whether this is the device's own [`status`] topic.
#[must_use]
pub fn is_status(device: &DeviceId, topic: &[u8]) -> bool {
    topic
        .strip_prefix(b"v1/devices/")
        .and_then(|rest| rest.strip_prefix(device.as_str().as_bytes()))
        == Some(b"/status")
}

/// The topic on which a device is told how far one of its objects is.
#[must_use]
pub fn object_status(device: &str, object: &str) -> String {
    format!("v1/devices/{device}/objects/{object}/status")
}

/// What a PUBLISH is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A reading, with its property bag.
    Reading(Hints),
    /// A piece of a large object.
    Object(ObjectId, Piece),
}

/// Which piece of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// What it is.
    Manifest,
    /// One chunk of its content, from 0.
    Chunk(u32),
    /// None; the device asks how far it is.
    Inquiry,
}

/// Checks the topic of a PUBLISH and reads its property bag.
///
/// # Errors
///
/// [`TopicError`].
pub fn target(device: &DeviceId, topic: &[u8]) -> Result<Target, TopicError> {
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::Malformed);
    }
    let topic = std::str::from_utf8(topic).map_err(|_| TopicError::Malformed)?;
    let (name, bag) = match topic.split_once("/?") {
        Some((name, bag)) => (name, Some(bag)),
        None => (topic, None),
    };
    if name.contains(['+', '#', '\0']) || bag.is_some_and(|bag| bag.contains(['#', '\0'])) {
        return Err(TopicError::Malformed);
    }
    let rest = name
        .strip_prefix("v1/devices/")
        .and_then(|rest| rest.strip_prefix(device.as_str()));
    let rest = rest.ok_or(TopicError::NotAllowed)?;
    if let Some(piece) = rest.strip_prefix("/objects/") {
        let (object, piece) = object(piece).ok_or(TopicError::NotAllowed)?;
        return Ok(Target::Object(object, piece));
    }
    if rest != "/observations" {
        return Err(TopicError::NotAllowed);
    }
    let mut hints = Hints::default();
    for (count, pair) in bag.unwrap_or("").split('&').enumerate() {
        if pair.is_empty() {
            continue;
        }
        if count >= PROPERTIES_MAX {
            return Err(TopicError::Bag);
        }
        let (name, value) = pair.split_once('=').ok_or(TopicError::Bag)?;
        let name = percent_decoded(name).ok_or(TopicError::Bag)?;
        let value = percent_decoded(value).ok_or(TopicError::Bag)?;
        apply_property(&mut hints, &name, &value)?;
    }
    Ok(Target::Reading(hints))
}

/// `{objectId}/manifest`, `{objectId}/chunks/{n}` or `{objectId}/status/get`.
fn object(rest: &str) -> Option<(ObjectId, Piece)> {
    let (object, rest) = rest.split_once('/')?;
    let piece = match rest {
        "manifest" => Piece::Manifest,
        "status/get" => Piece::Inquiry,
        _ => {
            let number = rest.strip_prefix("chunks/")?;
            // One way to write a number, so that a chunk has one topic.
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && (number == "0" || !number.starts_with('0'));
            Piece::Chunk(number.parse().ok().filter(|_| plain)?)
        }
    };
    Some((object.parse().ok()?, piece))
}

/// Takes in one named property, of a bag or of an MQTT 5 message. Names nobody knows are passed over.
///
/// # Errors
///
/// [`TopicError::Sequence`] for a sequence number that is not one.
pub fn apply_property(hints: &mut Hints, name: &str, value: &str) -> Result<(), TopicError> {
    match name {
        "seq" => {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let number = digits.then(|| value.parse().ok()).flatten();
            hints.sequence = Some(number.ok_or(TopicError::Sequence)?);
        }
        "content-type" => hints.content_type = Some(value.to_owned()),
        "type" => hints.code = Some(value.to_owned()),
        "time" => hints.time = Some(value.to_owned()),
        _ => {}
    }
    Ok(())
}

/// Whether a device may subscribe to a filter: only what lies below its own name.
#[must_use]
pub fn may_subscribe(device: &DeviceId, filter: &str) -> bool {
    let below = filter
        .strip_prefix("v1/devices/")
        .and_then(|rest| rest.strip_prefix(device.as_str()))
        .and_then(|rest| rest.strip_prefix('/'));
    filter.len() <= TOPIC_BYTES_MAX
        && !filter.contains('\0')
        && valid_filter(filter)
        && below.is_some_and(|below| !below.is_empty())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&hex).ok()?;
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        "hr-1".parse().unwrap()
    }

    #[test]
    fn publishing() {
        let hints = |sequence, content_type: Option<&str>| Hints {
            sequence,
            content_type: content_type.map(str::to_owned),
            ..Hints::default()
        };
        let long = format!("v1/devices/hr-1/observations/?a={}", "x".repeat(2000));
        for (topic, expected) in [
            ("v1/devices/hr-1/observations", Ok(hints(None, None))),
            ("v1/devices/hr-1/observations/?", Ok(hints(None, None))),
            (
                "v1/devices/hr-1/observations/?seq=17&content-type=application%2Ffhir%2Bjson",
                Ok(hints(Some(17), Some("application/fhir+json"))),
            ),
            (
                "v1/devices/hr-1/observations/?content-type=a/b+c&other=1",
                Ok(hints(None, Some("a/b+c"))),
            ),
            ("v1/devices/hr-2/observations", Err(TopicError::NotAllowed)),
            ("v1/devices/hr-11/observations", Err(TopicError::NotAllowed)),
            ("v1/devices/hr-1/observations/", Err(TopicError::NotAllowed)),
            ("v1/devices/hr-1/receipts", Err(TopicError::NotAllowed)),
            ("v2/devices/hr-1/observations", Err(TopicError::NotAllowed)),
            ("$SYS/x", Err(TopicError::NotAllowed)),
            ("v1/devices/+/observations", Err(TopicError::Malformed)),
            ("v1/devices/hr-1/#", Err(TopicError::Malformed)),
            ("v1/devices/hr-1/observations\0", Err(TopicError::Malformed)),
            ("", Err(TopicError::Malformed)),
            ("v1/devices/hr-1/observations/?seq", Err(TopicError::Bag)),
            ("v1/devices/hr-1/observations/?seq=%3", Err(TopicError::Bag)),
            (
                "v1/devices/hr-1/observations/?seq=%+1",
                Err(TopicError::Bag),
            ),
            ("v1/devices/hr-1/observations/?a=%ff", Err(TopicError::Bag)),
            (
                "v1/devices/hr-1/observations/?seq=-1",
                Err(TopicError::Sequence),
            ),
            (
                "v1/devices/hr-1/observations/?seq=",
                Err(TopicError::Sequence),
            ),
            (
                "v1/devices/hr-1/observations/?seq=18446744073709551616",
                Err(TopicError::Sequence),
            ),
            (long.as_str(), Err(TopicError::Malformed)),
        ] {
            let expected = expected.map(Target::Reading);
            assert_eq!(target(&device(), topic.as_bytes()), expected, "{topic}");
        }
        assert_eq!(target(&device(), b"v1/\xff"), Err(TopicError::Malformed));
    }

    #[test]
    fn pieces_of_objects() {
        for (rest, expected) in [
            ("scan-1/manifest", Some(Piece::Manifest)),
            ("scan-1/chunks/0", Some(Piece::Chunk(0))),
            ("scan-1/chunks/16383", Some(Piece::Chunk(16_383))),
            ("scan-1/status/get", Some(Piece::Inquiry)),
            ("scan-1/manifest/?a=b", Some(Piece::Manifest)),
            ("scan-1/status", None),
            ("scan-1/chunks/", None),
            ("scan-1/chunks/01", None),
            ("scan-1/chunks/+1", None),
            ("scan-1/chunks/-1", None),
            ("scan-1/chunks/4294967296", None),
            ("scan-1/chunks/1/2", None),
            ("scan-1", None),
            ("/manifest", None),
            ("a b/manifest", None),
            ("..%2f/manifest", None),
        ] {
            let topic = format!("v1/devices/hr-1/objects/{rest}");
            let seen = target(&device(), topic.as_bytes());
            let expected = match expected {
                Some(piece) => Ok(Target::Object("scan-1".parse().unwrap(), piece)),
                None if rest.contains('+') => Err(TopicError::Malformed),
                None => Err(TopicError::NotAllowed),
            };
            assert_eq!(seen, expected, "{rest}");
        }
        let other = b"v1/devices/hr-2/objects/scan-1/manifest";
        assert_eq!(target(&device(), other), Err(TopicError::NotAllowed));
    }

    #[test]
    fn status_is_the_devices_own() {
        assert!(is_status(&device(), status(&device()).as_bytes()));
        for topic in [
            "v1/devices/hr-2/status",
            "v1/devices/hr-1/status/",
            "v1/devices/hr-11/status",
            "v1/devices/+/status",
            "v1/devices/hr-1/Status",
            "",
        ] {
            assert!(!is_status(&device(), topic.as_bytes()), "{topic}");
        }
    }

    #[test]
    fn subscribing() {
        for (filter, allowed) in [
            ("v1/devices/hr-1/receipts", true),
            ("v1/devices/hr-1/#", true),
            ("v1/devices/hr-1/+", true),
            ("v1/devices/hr-1/", false),
            ("v1/devices/hr-1", false),
            ("v1/devices/hr-1#", false),
            ("v1/devices/hr-1/a#", false),
            ("v1/devices/hr-2/receipts", false),
            ("v1/devices/+/receipts", false),
            ("v1/#", false),
            ("#", false),
            ("+/+/+/+", false),
            ("$share/g/v1/devices/hr-1/receipts", false),
            ("", false),
            ("v1/devices/hr-1/\0", false),
        ] {
            assert_eq!(may_subscribe(&device(), filter), allowed, "{filter}");
        }
    }
}
