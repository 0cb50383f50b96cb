//! Data keys wrapped for one reader, plainly or behind a gate.
//!
//! A gated wrap is a JWE for the gate's key whose payload is the reader's own JWE. The reader
//! cannot open it without the gate, and the gate gets at the reader's JWE only, never at the data
//! key.

use zeroize::Zeroizing;

use crate::{DataKey, PrivateKey, PublicKey, UnwrapError, WrapError, jwe};

/// Longest wrapped data key in bytes, plain or gated, that is made or parsed. For an 8192-bit key
/// a plain one has about 1,700 and a gated one 3,800.
pub const MAX_WRAP_BYTES: usize = 4096;

/// `cty` of a wrapped data key: the payload is a JWK (RFC 7517).
pub(crate) const DATA_KEY_TYPE: &str = "jwk+json";

/// `cty` of a gated wrap: the payload is a compact JWE (RFC 7515 section 9.2.1).
pub(crate) const GATED_TYPE: &str = "jose";

impl PublicKey {
    /// Wraps a data key for this reader: a compact JWE, `RSA-OAEP-256` and `A256GCM`.
    ///
    /// # Errors
    /// [`WrapError::Encryption`] when the cryptographic library refuses the key.
    ///
    /// # Panics
    /// When the operating system has no random source.
    pub fn wrap(&self, data_key: &DataKey) -> Result<String, WrapError> {
        jwe::encrypt(
            DATA_KEY_TYPE,
            &data_key.to_jwk(),
            self.thumbprint(),
            |cek| self.encrypt_cek(cek),
        )
    }
}

impl PrivateKey {
    /// Takes the data key out of a compact JWE made for this key.
    ///
    /// # Errors
    /// [`UnwrapError::OtherKey`] when the header names another key, [`UnwrapError::Refused`] for
    /// everything else.
    pub fn unwrap(&self, jwe: &str) -> Result<DataKey, UnwrapError> {
        let payload = self.open_wrap(DATA_KEY_TYPE, jwe)?;
        DataKey::from_jwk(&payload).ok_or(UnwrapError::Refused)
    }

    /// Takes the reader's own wrap out of one that was [`gate`]d with this key. The data key stays
    /// closed: only the reader opens what comes out. [`wrapped_for`] tells whose that is.
    ///
    /// # Errors
    /// As [`PrivateKey::unwrap`]; also [`UnwrapError::Refused`] if there is no wrapped data key
    /// inside.
    pub fn ungate(&self, jwe: &str) -> Result<String, UnwrapError> {
        let payload = self.open_wrap(GATED_TYPE, jwe)?;
        let inner = std::str::from_utf8(&payload).map_err(|_| UnwrapError::Refused)?;
        match wrapped_for(inner) {
            Some(_) => Ok(inner.to_owned()),
            None => Err(UnwrapError::Refused),
        }
    }

    fn open_wrap(&self, cty: &str, jwe: &str) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        if jwe.len() > MAX_WRAP_BYTES {
            return Err(UnwrapError::Refused);
        }
        jwe::decrypt(cty, jwe, self.public_key().thumbprint(), |encrypted| {
            self.decrypt_cek(encrypted)
        })
    }
}

/// Closes a reader's wrapped data key with the gate's key as well: the reader opens it only after
/// the gate took its layer off with [`PrivateKey::ungate`].
///
/// # Errors
/// [`WrapError::NotAWrap`] when `inner_jwe` is not a plain wrapped data key,
/// [`WrapError::TooLong`] when the result would exceed [`MAX_WRAP_BYTES`],
/// [`WrapError::Encryption`] when the cryptographic library refuses the gate's key.
///
/// # Panics
/// When the operating system has no random source.
pub fn gate(gate_key: &PublicKey, inner_jwe: &str) -> Result<String, WrapError> {
    wrapped_for(inner_jwe).ok_or(WrapError::NotAWrap)?;
    let jwe = jwe::encrypt(
        GATED_TYPE,
        inner_jwe.as_bytes(),
        gate_key.thumbprint(),
        |cek| gate_key.encrypt_cek(cek),
    )?;
    if jwe.len() > MAX_WRAP_BYTES {
        return Err(WrapError::TooLong {
            max: MAX_WRAP_BYTES,
        });
    }
    Ok(jwe)
}

/// The RFC 7638 thumbprint of the key that a plain wrapped data key is meant for, as its header
/// says. `None` if the text has not the form of one; whether it opens, only that key finds out.
#[must_use]
pub fn wrapped_for(jwe: &str) -> Option<String> {
    if jwe.len() > MAX_WRAP_BYTES {
        return None;
    }
    jwe::kid_of(DATA_KEY_TYPE, jwe)
}

#[cfg(test)]
mod tests;
