//! Requests that a patient or provider signs: the payload of a compact JWS (ES256, header
//! `x5t#S256`), carried to the contract in the transient field `request`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::access::{
    AccessRequest, Confidentiality, Delegation, Emergency, Grant, Policy, Purpose, ReviewOutcome,
};
use crate::digest::{Digest, Nonce};
use crate::error::ParseError;
use crate::ids::{
    AccessRequestId, ContextId, DelegationId, EmergencyId, GrantId, ParticipantId, PolicyId,
    ProjectCode, Pseudonym, RecordId, RecordType, Sensitivity,
};
use crate::jwk::Jwk;
use crate::names::transactions;
use crate::record::{ErasureBasis, Period, WrapChanges};
use crate::time::UtcTime;

/// What is asked, by the transaction that answers it.
pub trait RequestBody: Serialize + DeserializeOwned {
    /// The transaction's name.
    const ACTION: &'static str;
}

/// Asks `access-control:GrantAccess` to keep a grant; signed by the patient, or by a guardian with
/// the power to grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAccess {
    /// The grant.
    pub grant: Grant,
    /// Whose data it is about; the signer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
}

/// Asks `access-control:RevokeAccess` to end a grant; signed by its patient, or by a guardian with
/// the power to grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeAccess {
    /// The grant.
    pub grant_id: GrantId,
    /// Whose grant it is; the signer's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
}

/// Asks `access-control:AuthorizeRead` for a record; signed by the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeRead {
    /// The record.
    pub record_id: RecordId,
    /// Why.
    pub purpose: Purpose,
    /// For which project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectCode>,
}

/// Asks `access-control:SetPolicy` to keep a policy; signed by an administrator of its
/// organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPolicy {
    /// The policy.
    pub policy: Policy,
}

/// Asks `access-control:WithdrawPolicy` to end a policy; signed by an administrator of its
/// organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawPolicy {
    /// The policy.
    pub policy_id: PolicyId,
}

/// Asks `access-control:Delegate` to keep a delegation; signed by the patient, or by an
/// administrator of the patient's organisation where its basis says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// The delegation.
    pub delegation: Delegation,
}

/// Asks `access-control:RevokeDelegation` to end a delegation; signed by the patient, by the
/// guardian, or by an administrator of the patient's organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeDelegation {
    /// The delegation.
    pub delegation_id: DelegationId,
    /// Whose data it is about.
    pub patient: Pseudonym,
    /// Who may act under it.
    pub guardian: ParticipantId,
    /// Whether the permits that the guardian gave under it end too. Else they stay, as what was
    /// validly given, until each ends or is revoked; denials stay in any case. It may be asked for
    /// later, and for a delegation that has run out or was replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_grants: bool,
}

/// Asks `access-control:RequestAccess` to keep a request for access; signed by the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestAccess {
    /// The request.
    pub request: AccessRequest,
}

/// Asks `access-control:RefuseAccess` to refuse a request for access; signed by the patient, or by
/// a guardian with the power to grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefuseAccess {
    /// The request.
    pub request_id: AccessRequestId,
    /// Whom it asks; the signer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
}

/// Asks `access-control:DeclareEmergency` to declare an emergency; signed by the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareEmergency {
    /// The emergency.
    pub emergency: Emergency,
}

/// Asks `access-control:ReviewEmergency` to close a review; signed by an auditor or administrator
/// of the patient's organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewEmergency {
    /// The emergency.
    pub emergency_id: EmergencyId,
    /// Of which patient.
    pub patient: Pseudonym,
    /// Who declared it.
    pub reader: ParticipantId,
    /// What the review found.
    pub outcome: ReviewOutcome,
}

/// Asks `access-control:RotateKey` to replace the signer's encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// The new public key.
    pub encryption_key: Jwk,
    /// Compact JWS of the [`crate::KeyProof`] that the key is the signer's.
    pub key_proof: String,
}

/// Says that the signer made a record: kept with it, and checked by `RegisterRecords`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRecord {
    /// Whose record it is.
    pub patient: Pseudonym,
    /// What it holds.
    #[serde(rename = "type")]
    pub record_type: RecordType,
    /// The period that it covers.
    pub period: Period,
    /// Media type of the content.
    pub content_type: String,
    /// SHA-256 of the content.
    pub content_sha256: Digest,
    /// The encounter, care plan or episode that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextId>,
    /// How confidential it is.
    #[serde(default)]
    pub confidentiality: Confidentiality,
    /// What it is sensitive for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// The record that it amends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RecordId>,
}

/// Says which wraps the signer changed: of a record whose data key only its patient holds, the
/// patient or a guardian with the power to grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeWraps {
    /// The changes, which are those of the transient field `wrap_changes`.
    pub changes: WrapChanges,
}

/// Asks `record-registry:EraseRecord` to erase a record; signed by whom the basis names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRecord {
    /// The record.
    pub record_id: RecordId,
    /// Why.
    pub basis: ErasureBasis,
}

/// Asks `record-registry:CompleteErasure` to end an erasure although organisations have not yet
/// confirmed that they removed the object; signed by an administrator of the registrar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteErasure {
    /// The record.
    pub record_id: RecordId,
}

macro_rules! actions {
    ($($body:ident = $action:ident;)+) => {
        $(impl RequestBody for $body {
            const ACTION: &'static str = transactions::$action;
        })+
    };
}

actions! {
    GrantAccess = GRANT_ACCESS;
    RevokeAccess = REVOKE_ACCESS;
    AuthorizeRead = AUTHORIZE_READ;
    SetPolicy = SET_POLICY;
    WithdrawPolicy = WITHDRAW_POLICY;
    Delegate = DELEGATE;
    RevokeDelegation = REVOKE_DELEGATION;
    RequestAccess = REQUEST_ACCESS;
    RefuseAccess = REFUSE_ACCESS;
    DeclareEmergency = DECLARE_EMERGENCY;
    ReviewEmergency = REVIEW_EMERGENCY;
    RotateKey = ROTATE_KEY;
    SubmitRecord = REGISTER_RECORDS;
    ChangeWraps = CHANGE_WRAPS;
    EraseRecord = ERASE_RECORD;
    CompleteErasure = COMPLETE_ERASURE;
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
