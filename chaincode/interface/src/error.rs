//! Error codes that travel in a chaincode response's message as `CODE: sentence`.

use std::fmt;

/// A value that its type refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
#[non_exhaustive]
pub struct ParseError {
    /// What the text had to be.
    pub expected: &'static str,
}

impl ParseError {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self { expected }
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal;)+) => {
        /// Why a contract refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The chaincode response's status, with the meaning that HTTP gives it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }
        }
    };
}

error_codes! {
    /// An argument, transient field or signed payload is malformed or inconsistent.
    InvalidArgument = "INVALID_ARGUMENT", 400;
    /// A page token was not made for this query.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", 400;
    /// A list or value is larger than [`crate::limits`] allows.
    LimitExceeded = "LIMIT_EXCEEDED", 413;
    /// The request's JWS does not verify with the signer's registered certificate.
    SignatureInvalid = "SIGNATURE_INVALID", 401;
    /// The request was signed too long before or after the transaction's time.
    RequestExpired = "REQUEST_EXPIRED", 401;
    /// The request's nonce was used before.
    NonceUsed = "NONCE_USED", 409;
    /// No participant is registered with the certificate.
    UnknownParticipant = "UNKNOWN_PARTICIPANT", 403;
    /// The caller may not do or see this.
    Forbidden = "FORBIDDEN", 403;
    /// No such record, or it has been erased.
    RecordNotFound = "RECORD_NOT_FOUND", 404;
    /// No such grant.
    GrantNotFound = "GRANT_NOT_FOUND", 404;
    /// No such device in the organisation.
    DeviceNotFound = "DEVICE_NOT_FOUND", 404;
    /// No such participant.
    ParticipantNotFound = "PARTICIPANT_NOT_FOUND", 404;
    /// The record ID is registered with other content, or the version does not follow.
    RecordConflict = "RECORD_CONFLICT", 409;
    /// The grant ID is taken, or the grant is revoked already.
    GrantConflict = "GRANT_CONFLICT", 409;
    /// No such policy of the organisation.
    PolicyNotFound = "POLICY_NOT_FOUND", 404;
    /// No such delegation.
    DelegationNotFound = "DELEGATION_NOT_FOUND", 404;
    /// No such request for access, or it has been answered.
    AccessRequestNotFound = "ACCESS_REQUEST_NOT_FOUND", 404;
    /// No such emergency.
    EmergencyNotFound = "EMERGENCY_NOT_FOUND", 404;
    /// No such read.
    ReadNotFound = "READ_NOT_FOUND", 404;
    /// The ID is taken, or the thing has been ended or answered already.
    StateConflict = "STATE_CONFLICT", 409;
    /// Too many rules stand for one grantee and one type: end one first.
    TooManyRules = "TOO_MANY_RULES", 409;
    /// The provider has too many open requests for access to the patient, or has made too many on
    /// one day: wait for an answer, or for the next day.
    TooManyAccessRequests = "TOO_MANY_ACCESS_REQUESTS", 429;
    /// The record's patient has no encryption key, so nobody could give the patient its data key.
    /// The same call succeeds once a key is registered.
    PatientKeyMissing = "PATIENT_KEY_MISSING", 422;
    /// The certificate is not of the creator's organisation.
    CertificateForeign = "CERTIFICATE_FOREIGN", 422;
    /// No proof shows the encryption key to be the participant's.
    KeyProofInvalid = "KEY_PROOF_INVALID", 422;
    /// The transaction's time lies before what the channel's clocks say.
    TimeRefused = "TIME_REFUSED", 401;
    /// The participant ID or certificate belongs to another registration.
    ParticipantConflict = "PARTICIPANT_CONFLICT", 409;
    /// The device's new binding overlaps a kept one.
    DeviceConflict = "DEVICE_CONFLICT", 409;
    /// The device was not bound to the patient for the whole period.
    DeviceNotBound = "DEVICE_NOT_BOUND", 422;
    /// The device is suspended or revoked since before the period's end.
    DeviceNotActive = "DEVICE_NOT_ACTIVE", 422;
    /// The public commitment does not open to the private metadata.
    CommitmentMismatch = "COMMITMENT_MISMATCH", 422;
    /// No participant has been registered on the channel yet.
    NotInitialized = "NOT_INITIALIZED", 503;
    /// The peer could not serve a ledger request, for instance because it holds the hash of a
    /// private value but not yet the value. Trying again may help.
    LedgerUnavailable = "LEDGER_UNAVAILABLE", 503;
    /// The ledger holds a value that the contract cannot read.
    LedgerCorrupt = "LEDGER_CORRUPT", 500;
}

impl ErrorCode {
    /// The code written as `code`, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == code)
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::LedgerUnavailable)
    }

    /// A chaincode message with this code.
    #[must_use]
    pub fn message(self, sentence: &str) -> String {
        format!("{}: {sentence}", self.as_str())
    }

    /// Splits a chaincode message into its code and sentence.
    ///
    /// A message without a known code is returned whole. Peers and gateways put words of their own
    /// in front ("chaincode response 403, …"), so the code is looked for anywhere in the message
    /// at the start of a word.
    #[must_use]
    pub fn parse_message(message: &str) -> (Option<Self>, &str) {
        let mut start = 0;
        while let Some(found) = message[start..].find(": ") {
            let colon = start + found;
            let word = message[..colon]
                .rfind(|c: char| !(c.is_ascii_uppercase() || c == '_'))
                .map_or(0, |before| {
                    before + message[before..].chars().next().map_or(1, char::len_utf8)
                });
            if let Some(code) = Self::from_code(&message[word..colon]) {
                return (Some(code), &message[colon + 2..]);
            }
            start = colon + 2;
        }
        (None, message)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_message() {
        for code in ErrorCode::ALL {
            let message = code.message("the reason: a sentence");
            assert_eq!(
                ErrorCode::parse_message(&message),
                (Some(*code), "the reason: a sentence")
            );
            assert!((400..=599).contains(&code.status()), "{code}");
        }
    }

    #[test]
    fn a_code_is_found_behind_a_gateways_words() {
        let cases = [
            (
                "chaincode response 403, FORBIDDEN: not yours",
                Some(ErrorCode::Forbidden),
                "not yours",
            ),
            ("é: FORBIDDEN: no", Some(ErrorCode::Forbidden), "no"),
            ("no code: here", None, "no code: here"),
            ("NOT_FORBIDDEN: x", None, "NOT_FORBIDDEN: x"),
            ("", None, ""),
            (": ", None, ": "),
        ];
        for (message, code, sentence) in cases {
            assert_eq!(
                ErrorCode::parse_message(message),
                (code, sentence),
                "{message}"
            );
        }
    }
}
