//! What can go wrong, told apart only where a caller would act differently.

use std::io;

/// An object was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The bytes are not this record's object under this key. Truncation, reordering, extension,
    /// a changed bit, another record's object and a wrong key all look the same, so that nobody
    /// learns from the difference.
    #[error("sealed object refused")]
    Refused,
    /// The source of the sealed bytes failed; the object itself may be sound.
    #[error("sealed object could not be read")]
    Io(#[source] io::Error),
}

impl From<io::Error> for OpenError {
    /// Takes back the refusal that [`crate::Opener`] had to put into an [`io::Error`].
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(refusal) => refusal,
            Err(error) => Self::Io(error),
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Refused => Self::new(io::ErrorKind::InvalidData, OpenError::Refused),
            OpenError::Io(error) => error,
        }
    }
}

/// A text or a DER document is not a key that this crate uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a well-formed key of the expected kind: JSON, base64url or DER is wrong, or a member is
    /// missing, empty, doubled or too long.
    #[error("malformed key")]
    Malformed,
    /// The key type is not RSA.
    #[error("key type is not RSA")]
    NotRsa,
    /// `alg` or `use` says that the key is for something other than RSA-OAEP-256 encryption.
    #[error("key is not meant for RSA-OAEP-256 encryption")]
    WrongUse,
    /// A private key where a public key belongs: it must not travel further.
    #[error("private key given where a public key belongs")]
    PrivateKeyGiven,
    /// The modulus is shorter than [`crate::MIN_MODULUS_BITS`] or longer than
    /// [`crate::MAX_MODULUS_BITS`].
    #[error("modulus of {bits} bits is outside the accepted range")]
    ModulusSize {
        /// Length of the modulus offered.
        bits: usize,
    },
    /// The modulus is even, so it is no product of two large primes.
    #[error("modulus is even")]
    EvenModulus,
    /// The public exponent is not 65537.
    #[error("public exponent is not 65537")]
    Exponent,
    /// The parts of the private key do not belong together.
    #[error("parts of the private key do not belong together")]
    Inconsistent,
    /// The cryptographic library could not make a key.
    #[error("key generation failed")]
    Generation,
}

/// A data key or a text could not be encrypted for a reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The cryptographic library refused the reader's key.
    #[error("public key cannot encrypt")]
    Encryption,
    /// The content type is empty, too long, has characters that no media type has, or is that of
    /// wrapped or gated keys.
    #[error("content type does not fit a sealed text")]
    ContentType,
    /// The text, or what came of it, is too long.
    #[error("more than {max} bytes to encrypt or written")]
    TooLong {
        /// Bytes that there may be.
        max: usize,
    },
    /// There are no readers, or too many for one text.
    #[error("a sealed text has 1 to {} readers", crate::MAX_TEXT_READERS)]
    Readers,
    /// What a gate was to close is not a plain wrapped data key.
    #[error("only a wrapped data key can be gated")]
    NotAWrap,
}

/// A wrapped data key or a sealed text was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The header names another key; the caller may hold that one too.
    #[error("encrypted for the key {kid}")]
    OtherKey {
        /// The RFC 7638 thumbprint in the header.
        kid: String,
    },
    /// Not one of the expected kind for this private key, whatever the reason.
    #[error("wrapped key or sealed text refused")]
    Refused,
}
