//! The JSON of the API, as the OpenAPI document describes it.
//!
//! Answers that come from the contracts are sent as the contracts' own types, so that nothing is
//! lost or renamed on the way. The structs named like them here describe that JSON; a test holds
//! each to its original.

use contract_interface::access::GrantChanged;
use contract_interface::{DeviceId, ParticipantId, RegistrationOutcome};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{
    Decision, GrantStatus, Hash, Id, Name, Outcome, PageToken, Purpose, RecordStatus, Role, Status,
    Time,
};
use crate::ledger::Receipt;

/// What came of registering a participant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ParticipantRegistered {
    /// The participant.
    #[schema(value_type = Id)]
    participant_id: ParticipantId,
    #[serde(flatten)]
    registered: Registered,
}

/// What came of registering a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceRegistered {
    /// The device.
    #[schema(value_type = Name)]
    device_id: DeviceId,
    #[serde(flatten)]
    registered: Registered,
}

/// Where a registration is on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Registered {
    /// What changed.
    #[schema(value_type = Outcome)]
    outcome: RegistrationOutcome,
    /// The transaction that did it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

/// Where the change of a grant is on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The grant.
    #[schema(value_type = Id)]
    grant_id: String,
    /// The transaction that did it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

impl From<&Receipt<RegistrationOutcome>> for Registered {
    fn from(receipt: &Receipt<RegistrationOutcome>) -> Self {
        Self {
            outcome: receipt.result,
            transaction_id: receipt.transaction_id.clone(),
            block_number: receipt.block_number,
        }
    }
}

impl Registered {
    /// 201 for something new, 200 for what was there.
    fn status(&self) -> StatusCode {
        match self.outcome {
            RegistrationOutcome::Registered => StatusCode::CREATED,
            RegistrationOutcome::Updated | RegistrationOutcome::Unchanged => StatusCode::OK,
        }
    }
}

impl ParticipantRegistered {
    pub(crate) fn new(
        participant_id: ParticipantId,
        receipt: &Receipt<RegistrationOutcome>,
    ) -> Self {
        Self {
            participant_id,
            registered: receipt.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.registered.status()
    }
}

impl DeviceRegistered {
    pub(crate) fn new(device_id: DeviceId, receipt: &Receipt<RegistrationOutcome>) -> Self {
        Self {
            device_id,
            registered: receipt.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.registered.status()
    }
}

impl Changed {
    pub(crate) fn new(receipt: &Receipt<GrantChanged>) -> Self {
        Self {
            grant_id: receipt.result.grant_id.to_string(),
            transaction_id: receipt.transaction_id.clone(),
            block_number: receipt.block_number,
        }
    }
}

/// A public RSA key for encryption (RFC 7517).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwk {
    /// `RSA`.
    kty: String,
    /// Modulus, base64url, 3072 to 8192 bits.
    n: String,
    /// Exponent, `AQAB`.
    e: String,
}

/// Who is to be registered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParticipantRegistration {
    /// Random; a patient's pseudonym.
    participant_id: Id,
    role: Role,
    /// PEM certificate.
    certificate: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption_key: Option<Jwk>,
    /// `active` if left out.
    #[schema(required = false)]
    status: Status,
}

/// A registered participant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Participant {
    /// A patient's is its pseudonym.
    participant_id: Id,
    /// The organisation that registered the participant.
    msp_id: Name,
    role: Role,
    /// PEM certificate.
    certificate: String,
    /// SHA-256 of the certificate's DER.
    thumbprint: Hash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption_key: Option<Jwk>,
    status: Status,
    /// 1, and one more with each change.
    version: u32,
    /// Of private values only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Hash>,
}

/// A page of participants.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParticipantPage {
    participants: Vec<Participant>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A device to register, bind, suspend or revoke.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceRegistration {
    /// The CN of its certificate.
    device_id: Name,
    /// SHA-256 of its certificate's DER.
    thumbprint: Hash,
    /// Whom it measures.
    patient: Id,
    /// From when.
    bound_from: Time,
    /// Until when, itself not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_until: Option<Time>,
    /// `active` if left out.
    #[schema(required = false)]
    status: Status,
    /// Since when it may not measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_since: Option<Time>,
}

/// A time during which a device measures a patient.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceBinding {
    patient: Id,
    bound_from: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_until: Option<Time>,
}

/// A registered device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    device_id: Name,
    msp_id: Name,
    thumbprint: Hash,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_since: Option<Time>,
    /// In order of time.
    bindings: Vec<DeviceBinding>,
    salt: Hash,
}

/// A page of devices.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevicePage {
    devices: Vec<Device>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// The public half of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordState {
    /// SHA-256 of the sealed object.
    object_sha256: Hash,
    /// Commitment to the metadata.
    commitment: Hash,
    msp_id: Name,
    tx_id: Hash,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Id>,
    status: RecordStatus,
}

/// The period that a record's readings cover, both ends included.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Period {
    start: Time,
    end: Time,
}

/// Where readings come from; one member is present.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    participant_id: Option<Id>,
}

/// The private half of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordMetadata {
    record_id: Id,
    patient: Id,
    /// LOINC code or category.
    r#type: Name,
    period: Period,
    readings: u32,
    source: Source,
    /// Media type of the opened object.
    content_type: String,
    cid: String,
    /// Bytes of the sealed object.
    size: u64,
    /// Bytes of the opened object.
    plaintext_size: u64,
    /// RFC 6962 root over the readings' items.
    merkle_root: Hash,
    /// Salt of the commitment.
    salt: Hash,
}

/// Both halves of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    state: RecordState,
    metadata: RecordMetadata,
}

/// A page of records; it may be short, even empty, and yet have a next one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordPage {
    records: Vec<Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A role in an organisation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantedRole {
    msp_id: Name,
    role: Role,
}

/// To whom a grant gives access; one member is present.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grantee {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    participant: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<GrantedRole>,
}

/// A period of data with open ends.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantPeriod {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
}

/// A patient's consent, as signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    grant_id: Id,
    grantee: Grantee,
    /// All if empty.
    types: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_period: Option<GrantPeriod>,
    valid_from: Time,
    valid_until: Time,
    purposes: Vec<Purpose>,
}

/// A grant as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantEntry {
    grant: Grant,
    patient: Id,
    patient_msp: Name,
    status: GrantStatus,
    version: u32,
    given_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    /// The patient's signed requests, compact JWS.
    requests: Vec<String>,
    salt: Hash,
}

/// A page of grants.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantPage {
    grants: Vec<GrantEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

/// A recorded decision on a read.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadEntry {
    /// The transaction that decided.
    read_id: Hash,
    record_id: Id,
    patient: Id,
    reader: Id,
    reader_msp: Name,
    oracle_msp: Name,
    purpose: Purpose,
    decision: Decision,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant_id: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant_version: Option<u32>,
    requested_at: Time,
    tx_time: Time,
    /// The reader's signed request, compact JWS.
    request: String,
    salt: Hash,
}

/// A page of reads; it may be short, even empty, and yet have a next one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadPage {
    reads: Vec<ReadEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_page_token: Option<PageToken>,
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// Checks that a JSON value is one of the contracts' type and of the described one, and that
    /// neither loses a member of it.
    fn same<Original, Described>(value: &Value)
    where
        Original: DeserializeOwned + Serialize,
        Described: DeserializeOwned + Serialize,
    {
        let original: Original =
            serde_json::from_value(value.clone()).expect("the contracts' type");
        let described: Described =
            serde_json::from_value(value.clone()).expect("the described type");
        assert_eq!(serde_json::to_value(original).expect("JSON"), *value);
        assert_eq!(serde_json::to_value(described).expect("JSON"), *value);
    }

    const ID: &str = "00112233445566778899aabbccddeeff";
    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const TIME: &str = "2026-01-02T03:04:05Z";

    fn jwk() -> Value {
        use base64::Engine as _;
        let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xff; 384]);
        json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
    }

    #[test]
    fn directory_types_are_described_as_they_are() {
        let participant = json!({"participant_id": ID, "msp_id": "Org1MSP", "role": "patient",
            "certificate": "PEM", "thumbprint": HASH, "encryption_key": jwk(),
            "status": "active", "version": 1, "salt": HASH});
        same::<contract_interface::ParticipantPage, ParticipantPage>(
            &json!({"participants": [participant], "next_page_token": "abc"}),
        );
        same::<contract_interface::ParticipantRegistration, ParticipantRegistration>(
            &json!({"participant_id": ID, "role": "provider", "certificate": "PEM",
                "encryption_key": jwk(), "status": "suspended"}),
        );
        let device = json!({"device_id": "d1", "msp_id": "Org1MSP", "thumbprint": HASH,
            "status": "revoked", "status_since": TIME, "salt": HASH,
            "bindings": [{"patient": ID, "bound_from": TIME, "bound_until": TIME}]});
        same::<contract_interface::DevicePage, DevicePage>(
            &json!({"devices": [device], "next_page_token": "abc"}),
        );
        same::<contract_interface::DeviceRegistration, DeviceRegistration>(
            &json!({"device_id": "d1", "thumbprint": HASH, "patient": ID, "bound_from": TIME,
                "bound_until": TIME, "status": "revoked", "status_since": TIME}),
        );
    }

    #[test]
    fn record_types_are_described_as_they_are() {
        for source in [json!({"device_id": "d1"}), json!({"participant_id": ID})] {
            let record = json!({
                "state": {"object_sha256": HASH, "commitment": HASH, "msp_id": "Org1MSP",
                    "tx_id": HASH, "version": 2, "previous": ID, "status": "active"},
                "metadata": {"record_id": ID, "patient": ID, "type": "8867-4",
                    "period": {"start": TIME, "end": TIME}, "readings": 3, "source": source,
                    "content_type": "a/b", "cid": "bafy", "size": 1, "plaintext_size": 1,
                    "merkle_root": HASH, "salt": HASH}});
            same::<contract_interface::RecordPage, RecordPage>(
                &json!({"records": [record], "next_page_token": "abc"}),
            );
        }
    }

    #[test]
    fn consent_types_are_described_as_they_are() {
        for grantee in [
            json!({"participant": ID}),
            json!({"organization": "Org2MSP"}),
            json!({"role": {"msp_id": "Org2MSP", "role": "provider"}}),
        ] {
            let entry = json!({"grant": {"grant_id": ID, "grantee": grantee, "types": ["8867-4"],
                    "data_period": {"from": TIME, "until": TIME}, "valid_from": TIME,
                    "valid_until": TIME, "purposes": ["TREAT"]},
                "patient": ID, "patient_msp": "Org1MSP", "status": "revoked", "version": 2,
                "given_at": TIME, "revoked_at": TIME, "requests": ["a.b.c"], "salt": HASH});
            same::<contract_interface::GrantPage, GrantPage>(
                &json!({"grants": [entry], "next_page_token": "abc"}),
            );
        }
        let read = json!({"read_id": HASH, "record_id": ID, "patient": ID, "reader": ID,
            "reader_msp": "Org2MSP", "oracle_msp": "Org1MSP", "purpose": "TREAT",
            "decision": "permit", "reason": "GRANTED", "grant_id": ID, "grant_version": 1,
            "requested_at": TIME, "tx_time": TIME, "request": "a.b.c", "salt": HASH});
        same::<contract_interface::ReadPage, ReadPage>(
            &json!({"reads": [read], "next_page_token": "abc"}),
        );
    }
}
