//! Readings that their device signed.
//!
//! A compact reading may carry the member `sig`: see [`contract_interface::reading`] for what is
//! signed, and [`fabric_msp::detached`] for the signature's form. The oracle refuses a reading
//! whose signature is wrong, and keeps the payload as it came, so that it can be checked again.

use contract_interface::reading::{self, SIGNATURE_MEMBER, SignedReading, SignedReadingError};
use contract_interface::segment::SegmentItem;
use contract_interface::{DeviceId, SignedManifest};
use fabric_msp::detached::{self, DetachedError};
use fabric_msp::{Certificate, SignatureError, SigningIdentity};
use serde_json::Value;

/// A signed reading that does not hold, or that cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// It has no signed form.
    #[error(transparent)]
    Reading(#[from] SignedReadingError),
    /// The signature does not hold.
    #[error(transparent)]
    Detached(#[from] DetachedError),
    /// The certificate is of another device.
    #[error("what {device} sent is signed by {signer}")]
    OtherDevice {
        /// Who sent it.
        device: String,
        /// The certificate's common name.
        signer: String,
    },
    /// The key cannot sign.
    #[error("the device's key cannot sign readings")]
    Key(#[source] SignatureError),
    /// A reading that has a signature already.
    #[error("the reading is signed already")]
    SignedAlready,
}

/// The certificate with which a reading was signed; none if it is not signed or not a compact one.
/// Its common name is the device's ID. Whether the device had it is for the caller to ask.
///
/// # Errors
/// [`DeviceError`] if the signature is wrong.
pub fn signer(item: &SegmentItem) -> Result<Option<Certificate>, DeviceError> {
    let signed = reading::of(&item.content_type, &item.payload)?;
    let certificate = signed.map(|signed| verified(&signed, item.device_id.as_str()));
    certificate.transpose()
}

/// The certificate with which a device signed the manifest of a large object. Whether the device had it is for the
/// caller to ask.
///
/// # Errors
/// [`DeviceError`] if the signature is wrong.
pub fn manifest_signer(
    manifest: &SignedManifest,
    device: &DeviceId,
) -> Result<Certificate, DeviceError> {
    verified(&manifest.signed()?, device.as_str())
}

fn verified(signed: &SignedReading, device: &str) -> Result<Certificate, DeviceError> {
    let certificate = detached::verify(&signed.signature, &signed.content)?;
    let name = certificate.subject_common_name().unwrap_or_default();
    if name != device {
        return Err(DeviceError::OtherDevice {
            device: device.to_owned(),
            signer: name.to_owned(),
        });
    }
    Ok(certificate)
}

/// Signs a compact reading in JSON and returns it with the member `sig`.
///
/// # Errors
/// [`DeviceError`] if it is no object, is signed already, or the key cannot sign.
pub fn sign(device: &SigningIdentity, reading: &[u8]) -> Result<Vec<u8>, DeviceError> {
    let mut value: Value =
        serde_json::from_slice(reading).map_err(|_| SignedReadingError::Malformed)?;
    if value.get(SIGNATURE_MEMBER).is_some() {
        return Err(DeviceError::SignedAlready);
    }
    let content = reading::content(&value)?;
    let signature = detached::sign(device, &content).map_err(DeviceError::Key)?;
    if let Some(members) = value.as_object_mut() {
        members.insert(SIGNATURE_MEMBER.to_owned(), signature.into());
    }
    serde_json::to_vec(&value).map_err(|_| SignedReadingError::NotJson.into())
}
