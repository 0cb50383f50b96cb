//! Tokens for devices that are to be set up.

use contract_interface::{DeviceId, Pseudonym, UtcTime};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Client;
use crate::error::ClientError;

/// What a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnrolmentRequest {
    /// The device.
    pub device_id: DeviceId,
    /// Whom it will measure; for a registered device none, which leaves its binding as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<Pseudonym>,
    /// From when; now if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_from: Option<UtcTime>,
    /// Until when, itself not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_until: Option<UtcTime>,
    /// How long the token is good, seconds; as long as the oracle allows if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

/// A one-time token. Whoever has it can be the device.
#[derive(Clone, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct EnrolmentToken {
    /// The secret.
    pub token: String,
    /// When it is good for nothing any more.
    #[zeroize(skip)]
    pub expires_at: UtcTime,
}

impl std::fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a one-time token with which a device gets its certificate. For administrators and installers of the
    /// oracle's organisation.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, for an unknown device without patient, or a revoked one.
    pub async fn create_enrolment(
        &self,
        request: &EnrolmentRequest,
    ) -> Result<EnrolmentToken, ClientError> {
        self.http.post_json("/v1/enrolments", request).await
    }
}
