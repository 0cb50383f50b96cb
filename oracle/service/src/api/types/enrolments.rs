//! Tokens and certificates of devices.

use contract_interface::{DeviceId, UtcTime};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::scalars::{Hash, Name, Time};
use crate::enrolment::{Issued, Token};

/// A token with which a device gets its certificate. It is shown here and never again.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnrolmentToken {
    /// The device.
    #[schema(value_type = Name)]
    device_id: DeviceId,
    /// 256 random bits, base64url. Whoever has it can be the device: hand it over as a password.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    token: String,
    /// When it is good for nothing any more.
    #[schema(value_type = Time)]
    expires_at: UtcTime,
}

impl EnrolmentToken {
    pub(crate) fn new(device_id: DeviceId, token: &Token) -> Self {
        Self {
            device_id,
            token: token.secret.as_str().to_owned(),
            expires_at: token.expires_at,
        }
    }
}

/// A device's certificate, which is registered on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceCertificate {
    /// The device.
    #[schema(value_type = Name)]
    device_id: DeviceId,
    /// The certificate (PEM).
    certificate: String,
    /// The CA that issued it (PEM).
    authority: String,
    /// The transaction that registered it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

impl DeviceCertificate {
    pub(crate) fn new(issued: Issued) -> Self {
        Self {
            device_id: issued.device_id,
            certificate: issued.certificate,
            authority: issued.authority,
            transaction_id: issued.transaction_id,
            block_number: issued.block_number,
        }
    }
}
