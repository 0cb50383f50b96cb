//! Low-S form of ECDSA signatures.
//!
//! With (r, s) also (r, n - s) is a signature over the same message. Fabric accepts only the one
//! whose s is at most half the group order n, so that nobody can change a signed transaction's
//! bytes without breaking it. Signatures are handled here as fixed-length big-endian halves and
//! are no secrets, so nothing needs constant time.

use x509_parser::asn1_rs::{Any, FromDer, Integer, Sequence, ToDer};

use crate::error::SignatureError;

/// Order of the P-256 group (SEC 2, section 2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Order of the P-384 group (SEC 2, section 2.5.1).
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

/// A curve whose signatures Fabric takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Length of r and of s, in bytes.
    pub(crate) fn scalar_bytes(self) -> usize {
        self.order().len()
    }

    fn order(self) -> &'static [u8] {
        match self {
            Self::P256 => &P256_ORDER,
            Self::P384 => &P384_ORDER,
        }
    }
}

/// Whether s, in fixed length, is at most half the order.
pub(crate) fn is_low(curve: Curve, s: &[u8]) -> bool {
    // s <= n / 2 exactly when s <= n - s, since n is odd.
    s <= mirrored(curve, s).as_slice()
}

/// Replaces s by n - s if it is high; `fixed` is r followed by s.
pub(crate) fn normalize(curve: Curve, fixed: &mut [u8]) {
    let (_, s) = fixed.split_at_mut(curve.scalar_bytes());
    if !is_low(curve, s) {
        let low = mirrored(curve, s);
        s.copy_from_slice(&low);
    }
}

/// n - s.
pub(crate) fn mirrored(curve: Curve, s: &[u8]) -> Vec<u8> {
    subtract(curve.order(), s)
}

/// DER of r followed by s in fixed length.
pub(crate) fn to_der(curve: Curve, fixed: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let (r, s) = fixed.split_at(curve.scalar_bytes());
    let (r, s) = (unsigned(r), unsigned(s));
    Sequence::from_iter_to_der([Integer::new(&r), Integer::new(&s)].iter())
        .and_then(|sequence| sequence.to_der_vec())
        .map_err(|_| SignatureError::Malformed)
}

/// r followed by s in fixed length, of a strict DER signature.
pub(crate) fn from_der(curve: Curve, der: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let malformed = |_| SignatureError::Malformed;
    let (rest, sequence) = Sequence::from_der(der).map_err(malformed)?;
    let (content_rest, r) = Any::from_der(&sequence.content).map_err(malformed)?;
    let (content_end, s) = Any::from_der(content_rest).map_err(malformed)?;
    if !rest.is_empty() || !content_end.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let mut fixed = Vec::with_capacity(2 * curve.scalar_bytes());
    for integer in [r, s] {
        fixed.extend(scalar(curve, &integer)?);
    }
    Ok(fixed)
}

fn scalar(curve: Curve, integer: &Any<'_>) -> Result<Vec<u8>, SignatureError> {
    integer
        .tag()
        .assert_eq(x509_parser::asn1_rs::Tag::Integer)
        .map_err(|_| SignatureError::Malformed)?;
    let content = integer.data;
    // DER: no empty, negative or padded integer.
    let digits = match content {
        [] => return Err(SignatureError::Malformed),
        [0, next, ..] if next & 0x80 != 0 => &content[1..],
        [first, ..] if *first == 0 || first & 0x80 != 0 => return Err(SignatureError::Malformed),
        digits => digits,
    };
    let padding = curve
        .scalar_bytes()
        .checked_sub(digits.len())
        .ok_or(SignatureError::Malformed)?;
    Ok([vec![0; padding].as_slice(), digits].concat())
}

/// Content of a positive DER INTEGER: shortest form, first bit clear.
fn unsigned(fixed: &[u8]) -> Vec<u8> {
    let start = fixed
        .iter()
        .position(|&byte| byte != 0)
        .unwrap_or(fixed.len());
    let digits = &fixed[start..];
    match digits.first() {
        Some(first) if first & 0x80 == 0 => digits.to_vec(),
        _ => [&[0], digits].concat(),
    }
}

/// `order - value`, both big-endian and of one length; zero if `value` is the larger.
fn subtract(order: &[u8], value: &[u8]) -> Vec<u8> {
    if value.len() != order.len() || value > order {
        return vec![0; order.len()];
    }
    let mut borrow = 0;
    let mut difference: Vec<u8> = order
        .iter()
        .zip(value)
        .rev()
        .map(|(&minuend, &subtrahend)| {
            let digit = i16::from(minuend) - i16::from(subtrahend) - borrow;
            borrow = i16::from(digit < 0);
            digit.to_be_bytes()[1]
        })
        .collect();
    difference.reverse();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half the order of P-256, rounded down.
    const P256_HALF: [u8; 32] = [
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31,
        0x92, 0xa8,
    ];

    #[test]
    fn half_the_order_is_low_and_one_more_is_not() {
        assert!(is_low(Curve::P256, &P256_HALF));
        let mut above = P256_HALF;
        above[31] += 1;
        assert!(!is_low(Curve::P256, &above));
        assert!(!is_low(Curve::P256, &[0xff; 32]), "above the order");
    }

    #[test]
    fn normalizing_mirrors_only_a_high_s() {
        for curve in [Curve::P256, Curve::P384] {
            let size = curve.scalar_bytes();
            let mut low = vec![0; 2 * size];
            low[2 * size - 1] = 5;
            let mut high = low.clone();
            high[size..].copy_from_slice(&subtract(curve.order(), &low[size..]));
            assert!(!is_low(curve, &high[size..]));
            normalize(curve, &mut high);
            assert_eq!(high, low);
            normalize(curve, &mut high);
            assert_eq!(high, low);
        }
    }

    #[test]
    fn der_round_trips_and_pads_the_sign_bit() {
        let mut fixed = [0; 64];
        fixed[0] = 0x80;
        fixed[63] = 1;
        let der = to_der(Curve::P256, &fixed).unwrap();
        assert_eq!(der[..6], [0x30, 0x26, 0x02, 0x21, 0x00, 0x80]);
        assert_eq!(der[der.len() - 3..], [0x02, 0x01, 0x01]);
        assert_eq!(from_der(Curve::P256, &der).as_deref(), Ok(fixed.as_slice()));
    }

    #[test]
    fn loose_encodings_are_refused() {
        for (what, der) in [
            ("empty", &[][..]),
            ("not a sequence", &[0x02, 0x01, 0x01]),
            ("one integer", &[0x30, 0x03, 0x02, 0x01, 0x01]),
            ("three", &[0x30, 0x09, 2, 1, 1, 2, 1, 1, 2, 1, 1]),
            ("zero", &[0x30, 0x06, 2, 1, 0, 2, 1, 1]),
            ("negative", &[0x30, 0x06, 2, 1, 0x80, 2, 1, 1]),
            ("padded", &[0x30, 0x07, 2, 2, 0, 1, 2, 1, 1]),
            ("empty integer", &[0x30, 0x05, 2, 0, 2, 1, 1]),
            ("trailing byte", &[0x30, 0x06, 2, 1, 1, 2, 1, 1, 0]),
            ("truncated", &[0x30, 0x06, 2, 1, 1, 2, 1]),
            ("octet string", &[0x30, 0x06, 4, 1, 1, 2, 1, 1]),
        ] {
            assert_eq!(
                from_der(Curve::P256, der),
                Err(SignatureError::Malformed),
                "{what}"
            );
        }
        let long = [&[0x30, 0x26, 0x02, 0x21][..], &[1; 33], &[2, 1, 1]].concat();
        assert_eq!(from_der(Curve::P256, &long), Err(SignatureError::Malformed));
    }
}
