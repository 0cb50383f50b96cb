//! Identifiers.
//!
//! Two kinds: random 128-bit IDs, which reveal nothing and cannot be guessed, and short names that
//! people choose.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseError;
use crate::limits::TOKEN_CHARS_MAX;
use crate::text::serde_as_text;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Number of bytes.
            pub const BYTES: usize = $bytes;

            /// The ID with these bytes, which its maker took from a random source.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The ID's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                crate::digest::lower_hex(text).map(Self).ok_or(ParseError::new($expected))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        serde_as_text!($name);
    };
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_token(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseError::new($expected))
                }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        serde_as_text!($name);
    };
}

hex_id!(
    /// A record; 128 random bits as 32 lower-case hex digits.
    RecordId, 16, "a record ID of 32 lower-case hex digits"
);
hex_id!(
    /// A grant; 128 random bits as 32 lower-case hex digits.
    GrantId, 16, "a grant ID of 32 lower-case hex digits"
);
hex_id!(
    /// A participant; 128 random bits as 32 lower-case hex digits. A patient's is its
    /// [`Pseudonym`].
    ParticipantId, 16, "a participant ID of 32 lower-case hex digits"
);
hex_id!(
    /// A patient; 128 random bits as 32 lower-case hex digits. Never in public state, a public
    /// argument, an event or a log.
    Pseudonym, 16, "a pseudonym of 32 lower-case hex digits"
);
hex_id!(
    /// An organisation's policy; 128 random bits as 32 lower-case hex digits.
    PolicyId, 16, "a policy ID of 32 lower-case hex digits"
);
hex_id!(
    /// A patient's delegation to a guardian; 128 random bits as 32 lower-case hex digits.
    DelegationId, 16, "a delegation ID of 32 lower-case hex digits"
);
hex_id!(
    /// A provider's request for access; 128 random bits as 32 lower-case hex digits.
    AccessRequestId, 16, "an access request ID of 32 lower-case hex digits"
);
hex_id!(
    /// A declared emergency; 128 random bits as 32 lower-case hex digits.
    EmergencyId, 16, "an emergency ID of 32 lower-case hex digits"
);
hex_id!(
    /// A notice: SHA-256 of what it tells and to whom, 64 lower-case hex digits.
    NoticeId, 32, "a notice ID of 64 lower-case hex digits"
);
hex_id!(
    /// A read decision: the ID of the transaction that made it, 64 lower-case hex digits.
    ReadId, 32, "a read ID of 64 lower-case hex digits"
);

impl From<Pseudonym> for ParticipantId {
    fn from(pseudonym: Pseudonym) -> Self {
        Self(pseudonym.0)
    }
}

impl From<ParticipantId> for Pseudonym {
    /// The pseudonym with the same bits; it means something only if the participant is a patient.
    fn from(participant: ParticipantId) -> Self {
        Self(participant.0)
    }
}

token!(
    /// A device, unique in its organisation: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    DeviceId, "a device ID of 1 to 64 letters, digits, '.', '_' or '-'"
);
token!(
    /// What a record holds: a LOINC code (`8867-4`) or a category, 1 to 64 of `A-Z a-z 0-9 . _ -`.
    RecordType, "a record type of 1 to 64 letters, digits, '.', '_' or '-'"
);
token!(
    /// A membership service provider, an organisation: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    MspId, "an MSP ID of 1 to 64 letters, digits, '.', '_' or '-'"
);
token!(
    /// What readings belong together by: the ID of an encounter, care plan or episode of care
    /// (FHIR `id`), 1 to 64 of `A-Z a-z 0-9 . _ -`.
    ContextId, "a context ID of 1 to 64 letters, digits, '.', '_' or '-'"
);
token!(
    /// A project for which data is used, such as a study, 1 to 64 of `A-Z a-z 0-9 . _ -`.
    ProjectCode, "a project code of 1 to 64 letters, digits, '.', '_' or '-'"
);
token!(
    /// A sensitivity of HL7 v3 InformationSensitivityPolicy (`PSY`, `HIV`, `ETH`), 1 to 64 of
    /// `A-Z a-z 0-9 . _ -`.
    Sensitivity, "a sensitivity code of 1 to 64 letters, digits, '.', '_' or '-'"
);

token!(
    /// What an oracle found odd about a reading that it kept: `unit-not-ucum`, `clock-ahead`, 1 to 64
    /// of `A-Z a-z 0-9 . _ -`. The contracts do not know which there are.
    MarkName, "a mark of 1 to 64 letters, digits, '.', '_' or '-'"
);

fn is_token(text: &str) -> bool {
    (1..=TOKEN_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_hex_of_their_length() {
        let good = "00112233445566778899aabbccddeeff";
        assert_eq!(good.parse::<RecordId>().unwrap().to_string(), good);
        for bad in [
            "",
            "00",
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeeff00",
            "0x112233445566778899aabbccddeeff",
            "00112233445566778899aabbccddeef\u{e9}",
        ] {
            assert!(bad.parse::<RecordId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_refuse_what_could_split_a_key_or_a_topic() {
        for good in ["a", "8867-4", "hr_1.2", &"x".repeat(64)] {
            assert_eq!(good.parse::<DeviceId>().unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a b", "a\0b", "é", "+", "#", &"x".repeat(65)] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_is_the_text() {
        let id: GrantId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"00112233445566778899aabbccddeeff\"");
        assert_eq!(serde_json::from_str::<GrantId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<GrantId>("\"zz\"").is_err());
        assert!(serde_json::from_slice::<DeviceId>(b"\"a\\u0062\"").is_ok());
    }
}
