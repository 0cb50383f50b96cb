//! The few MQTT 5 packets of a publisher, encoded and read with no care for anything else: the
//! client must cost little beside the brokers that it measures.

use anyhow::{Result, bail, ensure};

/// What the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// CONNACK: the connection stands.
    Connected,
    /// PUBACK of a packet identifier.
    Acknowledged(u16),
    /// Something without meaning here.
    Other,
}

/// Appends a CONNECT (MQTT 5, section 3.1) of a client without a session.
pub(super) fn connect(out: &mut Vec<u8>, client_id: &str) {
    const CLEAN_START: u8 = 0x02;
    const KEEP_ALIVE_SECONDS: u16 = 600;
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, CLEAN_START];
    body.extend(KEEP_ALIVE_SECONDS.to_be_bytes());
    // No properties.
    body.push(0);
    text(&mut body, client_id);
    packet(out, 0x10, &body);
}

/// Appends a PUBLISH at QoS 1 (section 3.3).
pub(super) fn publish(
    out: &mut Vec<u8>,
    topic: &str,
    packet_id: u16,
    content_type: &str,
    payload: &[u8],
) {
    const CONTENT_TYPE: u8 = 0x03;
    let properties = 1 + 2 + content_type.len();
    let length = 2 + topic.len() + 2 + 1 + properties + payload.len();
    out.push(0x32);
    variable(out, length);
    text(out, topic);
    out.extend(packet_id.to_be_bytes());
    // Below 128, which one byte says.
    out.push(u8::try_from(properties).unwrap_or(u8::MAX));
    out.push(CONTENT_TYPE);
    text(out, content_type);
    out.extend(payload);
}

/// Takes the first packet off `buffer`, if it is whole; how many bytes it had.
pub(super) fn take(buffer: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some((length, header)) = length(buffer)? else {
        return Ok(None);
    };
    let Some(body) = buffer.get(header..header + length) else {
        return Ok(None);
    };
    let answer = match buffer[0] >> 4 {
        2 => {
            ensure!(body.get(1) == Some(&0), "CONNACK refuses: {body:?}");
            Answer::Connected
        }
        4 => {
            let refused = body.get(2).is_some_and(|reason| *reason >= 0x80);
            ensure!(!refused, "PUBACK refuses: {body:?}");
            Answer::Acknowledged(u16::from_be_bytes([body[0], body[1]]))
        }
        14 => bail!("the server ended the connection: {body:?}"),
        _ => Answer::Other,
    };
    Ok(Some((answer, header + length)))
}

/// A remaining length and where the body begins; none if it is not whole.
fn length(buffer: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (index, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 2)));
        }
    }
    ensure!(buffer.len() < 5, "no remaining length");
    Ok(None)
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    variable(out, body.len());
    out.extend(body);
}

fn variable(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_standards_bytes() {
        let mut out = Vec::new();
        connect(&mut out, "d1");
        let expected = b"\x10\x0f\0\x04MQTT\x05\x02\x02\x58\0\0\x02d1";
        assert_eq!(out, expected);
        out.clear();
        publish(&mut out, "t", 7, "a", &[9; 200]);
        assert_eq!(out[..3], [0x32, 0xd2, 0x01]);
        assert_eq!(out[3..13], [0, 1, b't', 0, 7, 4, 3, 0, 1, b'a']);
        assert_eq!(out.len(), 3 + 10 + 200);
    }

    #[test]
    fn answers_are_taken_one_by_one_and_refusals_are_errors() {
        let bytes = [0x20, 3, 0, 0, 0, 0x40, 2, 1, 2, 0x40];
        assert_eq!(take(&bytes).unwrap(), Some((Answer::Connected, 5)));
        let second = take(&bytes[5..]).unwrap();
        assert_eq!(second, Some((Answer::Acknowledged(258), 4)));
        assert_eq!(take(&bytes[9..]).unwrap(), None);
        assert!(take(&[0x40, 3, 0, 1, 0x97]).is_err());
        assert!(take(&[0x20, 3, 0, 0x87, 0]).is_err());
        assert!(take(&[0xe0, 1, 0x8b]).is_err());
    }
}
