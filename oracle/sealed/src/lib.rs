//! Sealed objects: what the consortium stores on IPFS, and the keys that open it.
//!
//! A sealed object is one payload encrypted in Tink's streaming AEAD format (AES-256-GCM with
//! HKDF-SHA-256 and 1 MiB segments), under a [`DataKey`] that is used for nothing else, bound to
//! its record by [`AssociatedData`]. Its length is rounded up, because a length betrays what was
//! measured. The data key travels apart from the object, wrapped for each reader as a JWE
//! ([`PublicKey::wrap`], [`PrivateKey::unwrap`]), and where a record of the read is demanded first
//! also closed by a [`gate`]. Short texts are sealed for their readers without an object
//! ([`PublicKey::encrypt`], [`encrypt_for`]).
//!
//! ```
//! use sealed_object::{AssociatedData, DataKey, open, seal};
//!
//! let key = DataKey::generate();
//! let associated_data = AssociatedData { record_id: [7; 16], commitment: [9; 32] };
//! let sealed = seal(&key, &associated_data, b"72 beats per minute");
//! assert_eq!(sealed.len(), 312);
//! assert_eq!(open(&key, &associated_data, &sealed)?, b"72 beats per minute");
//! # Ok::<(), sealed_object::OpenError>(())
//! ```
//!
//! Nothing here opens a file or a socket or reads a clock: bytes come in as slices or through
//! [`std::io::Read`] and go out through [`std::io::Write`]. The byte tables are in the README.

mod aead;
mod associated_data;
mod buffer;
mod data_key;
mod error;
mod frame;
mod jwe;
mod jwk;
mod opener;
mod private_key;
mod public_key;
mod sealed_text;
mod sealer;
mod segment;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
mod wrap;
#[cfg(test)]
mod wycheproof;

pub use associated_data::{ASSOCIATED_DATA_LEN, AssociatedData, FORMAT_VERSION};
pub use data_key::{DATA_KEY_LEN, DataKey};
pub use error::{KeyError, OpenError, UnwrapError, WrapError};
pub use frame::MAX_PLAINTEXT_BYTES;
pub use opener::{Opener, open};
pub use private_key::PrivateKey;
pub use public_key::{MAX_MODULUS_BITS, MIN_MODULUS_BITS, PublicKey};
pub use sealed_text::{MAX_SEALED_TEXT_BYTES, MAX_TEXT_BYTES, MAX_TEXT_READERS, encrypt_for};
pub use sealer::{Sealer, seal, sealed_len};
pub use segment::SEGMENT_BYTES;
pub use wrap::{MAX_WRAP_BYTES, gate, wrapped_for};
