//! Requests that a patient or provider signs: the payload of a compact JWS (ES256, header
//! `x5t#S256`), carried to the contract in the transient field `request`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::access::{Grant, Purpose};
use crate::digest::Nonce;
use crate::error::ParseError;
use crate::ids::{GrantId, RecordId};
use crate::names::transactions;
use crate::time::UtcTime;

/// What is asked, by the transaction that answers it.
pub trait RequestBody: Serialize + DeserializeOwned {
    /// The transaction's name.
    const ACTION: &'static str;
}

/// Asks `access-control:GrantAccess` to keep a grant; signed by the patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAccess {
    /// The grant.
    pub grant: Grant,
}

/// Asks `access-control:RevokeAccess` to end a grant; signed by the patient who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeAccess {
    /// The grant.
    pub grant_id: GrantId,
}

/// Asks `access-control:AuthorizeRead` for a record; signed by the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeRead {
    /// The record.
    pub record_id: RecordId,
    /// Why.
    pub purpose: Purpose,
}

impl RequestBody for GrantAccess {
    const ACTION: &'static str = transactions::GRANT_ACCESS;
}

impl RequestBody for RevokeAccess {
    const ACTION: &'static str = transactions::REVOKE_ACCESS;
}

impl RequestBody for AuthorizeRead {
    const ACTION: &'static str = transactions::AUTHORIZE_READ;
}

/// The payload that is signed. Channel and action are in it so that a signature serves one
/// purpose, the nonce so that it serves once, the time so that it serves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRequest<B> {
    /// Name of the transaction.
    pub action: String,
    /// The channel on which it is asked.
    pub channel: String,
    /// When it was signed.
    pub iat: UtcTime,
    /// Fresh random bytes.
    pub nonce: Nonce,
    /// What is asked.
    pub body: B,
}

impl<B: RequestBody> SignedRequest<B> {
    /// The request for `body`, to be written with [`crate::canonical_json`] and signed.
    #[must_use]
    pub fn new(channel: &str, iat: UtcTime, nonce: Nonce, body: B) -> Self {
        Self {
            action: B::ACTION.to_owned(),
            channel: channel.to_owned(),
            iat,
            nonce,
            body,
        }
    }

    /// Reads the payload of a JWS.
    ///
    /// # Errors
    ///
    /// If it is not this request: malformed, with members missing, twice or unknown, or for another
    /// action.
    pub fn from_payload(payload: &[u8]) -> Result<Self, ParseError> {
        let request: Self = serde_json::from_slice(payload)
            .map_err(|_| ParseError::new("a signed request of the action's form"))?;
        if request.action == B::ACTION {
            Ok(request)
        } else {
            Err(ParseError::new("a request for this action"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json;

    const PAYLOAD: &str = concat!(
        r#"{"action":"access-control:AuthorizeRead","#,
        r#""body":{"purpose":"TREAT","record_id":"00112233445566778899aabbccddeeff"},"#,
        r#""channel":"mychannel","iat":"2026-01-02T03:04:05Z","nonce":"AAAAAAAAAAAAAAAAAAAAAA"}"#
    );

    #[test]
    fn canonical_form_comes_back() {
        let request = SignedRequest::<AuthorizeRead>::from_payload(PAYLOAD.as_bytes()).unwrap();
        assert_eq!(canonical_json(&request).unwrap(), PAYLOAD.as_bytes());
        let same = SignedRequest::new(
            "mychannel",
            "2026-01-02T03:04:05Z".parse().unwrap(),
            Nonce::from_bytes(&[0; 16]).unwrap(),
            request.body.clone(),
        );
        assert_eq!(same, request);
    }

    #[test]
    fn refuses_other_actions_and_other_members() {
        for (from, to) in [
            ("AuthorizeRead", "GrantAccess"),
            (r#""channel""#, r#""extra":1,"channel""#),
            (r#""purpose""#, r#""limit":1,"purpose""#),
            (r#""channel":"mychannel","#, ""),
            (r#""channel":"mychannel""#, r#""channel":"a","channel":"b""#),
            ("TREAT", "treat"),
            ("AAAAAAAAAAAAAAAAAAAAAA", "AAAA"),
            ("03:04:05Z", "03:04:05+00:00"),
        ] {
            let changed = PAYLOAD.replace(from, to);
            assert_ne!(changed, PAYLOAD);
            let parsed = SignedRequest::<AuthorizeRead>::from_payload(changed.as_bytes());
            assert!(parsed.is_err(), "{changed}");
        }
        assert!(SignedRequest::<RevokeAccess>::from_payload(PAYLOAD.as_bytes()).is_err());
    }
}
