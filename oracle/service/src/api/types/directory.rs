//! Who takes part.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{Hash, Id, Name, PageToken, Role, Status, Time};

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
    /// Compact JWS (`typ` `vnd.salus.key-proof`) of whose key it is; needed with a key or a
    /// certificate that is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_proof: Option<String>,
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
    /// Compact JWS (`typ` `vnd.salus.key-proof`) of the participant: verify it with the certificate
    /// before you wrap for the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_proof: Option<String>,
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
