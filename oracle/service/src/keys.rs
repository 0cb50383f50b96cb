//! The oracle's encryption keys: the one in use, and those of before that still open old wraps.
//!
//! Only a process that serves people holds them. What takes readings in works with public keys and
//! never opens a private key's file.

use std::sync::Arc;

use contract_interface::KeyWrap;
use sealed_object::{DataKey, PrivateKey, PublicKey, UnwrapError, WrapError};

/// Private keys, the current one first. Cheap to clone; wiped when the last clone is gone.
#[derive(Clone)]
pub struct OracleKeys {
    keys: Arc<[PrivateKey]>,
}

impl std::fmt::Debug for OracleKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<&str> = self.keys.iter().map(kid_of).collect();
        f.debug_tuple("OracleKeys").field(&kids).finish()
    }
}

fn kid_of(key: &PrivateKey) -> &str {
    key.public_key().thumbprint()
}

/// Why a wrap was not made anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// The wrap does not open with the key that it names.
    #[error("the wrapped data key does not open")]
    Unwrap(#[from] UnwrapError),
    /// The data key cannot be wrapped for its next holder.
    #[error("the data key cannot be wrapped")]
    Wrap(#[from] WrapError),
    /// No key of this oracle is named.
    #[error("the data key is not wrapped for this oracle")]
    NotHere,
}

impl OracleKeys {
    /// The current key, and keys of before.
    #[must_use]
    pub fn new(current: PrivateKey, previous: Vec<PrivateKey>) -> Self {
        let mut keys = vec![current];
        keys.extend(previous);
        Self { keys: keys.into() }
    }

    /// The public half of the current key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.keys[0].public_key()
    }

    /// The current key's ID.
    #[must_use]
    pub fn current_kid(&self) -> &str {
        kid_of(&self.keys[0])
    }

    /// Whether keys of before are held, that is, a rotation goes on.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether `kid` is one of these keys.
    #[must_use]
    pub fn holds(&self, kid: &str) -> bool {
        self.by_kid(kid).is_some()
    }

    fn by_kid(&self, kid: &str) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| kid_of(key) == kid)
    }

    /// The plain wrap that these keys open, the current key's before others.
    #[must_use]
    pub fn own<'a>(&self, wraps: &'a [KeyWrap]) -> Option<&'a KeyWrap> {
        self.keys.iter().find_map(|key| {
            wraps
                .iter()
                .find(|wrap| wrap.gate.is_none() && wrap.kid == kid_of(key))
        })
    }

    /// Opens a wrap of this oracle. Slow: for a blocking thread.
    ///
    /// # Errors
    ///
    /// [`RewrapError::NotHere`] or [`RewrapError::Unwrap`].
    pub fn unwrap(&self, own: &KeyWrap) -> Result<DataKey, RewrapError> {
        let key = self.by_kid(&own.kid).ok_or(RewrapError::NotHere)?;
        Ok(key.unwrap(&own.jwe)?)
    }

    /// Takes the gate off a gated wrap: what is left only its reader opens. Slow: for a blocking
    /// thread.
    ///
    /// # Errors
    ///
    /// [`RewrapError::NotHere`] or [`RewrapError::Unwrap`]; the latter also if what is inside is
    /// not for the reader whom the wrap names.
    pub fn ungate(&self, gated: &KeyWrap) -> Result<String, RewrapError> {
        let gate = gated.gate.as_deref().ok_or(RewrapError::NotHere)?;
        let key = self.by_kid(gate).ok_or(RewrapError::NotHere)?;
        let inner = key.ungate(&gated.jwe)?;
        match sealed_object::wrapped_for(&inner) {
            Some(kid) if kid == gated.kid => Ok(inner),
            _ => Err(UnwrapError::Refused.into()),
        }
    }

    /// Closes a reader's wrap with the current key.
    ///
    /// # Errors
    ///
    /// [`RewrapError::Wrap`].
    pub fn gate(&self, inner: &str) -> Result<String, RewrapError> {
        Ok(sealed_object::gate(self.public(), inner)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Keys that take long to make, made once for all tests.
    pub(crate) static KEYS: LazyLock<[PrivateKey; 4]> =
        LazyLock::new(|| std::array::from_fn(|_| PrivateKey::generate(3072).expect("generated")));

    #[test]
    fn what_is_gated_comes_back_for_its_reader_only() {
        let [oracle, reader, other, _] = &*KEYS;
        let keys = OracleKeys::new(oracle.clone(), vec![other.clone()]);
        let data_key = DataKey::generate();
        let kid = reader.public_key().thumbprint().to_owned();
        let inner = reader.public_key().wrap(&data_key).unwrap();
        let gated = |kid: &str, gate: &str, jwe: String| KeyWrap {
            kid: kid.to_owned(),
            jwe,
            gate: Some(gate.to_owned()),
            grant_id: None,
        };
        let wrap = gated(&kid, keys.current_kid(), keys.gate(&inner).unwrap());
        assert_eq!(keys.ungate(&wrap).unwrap(), inner);
        assert!(keys.unwrap(&wrap).is_err(), "the gate has no data key");
        assert!(
            reader.unwrap(&wrap.jwe).is_err(),
            "the reader needs the gate"
        );
        let opened = reader.unwrap(&keys.ungate(&wrap).unwrap()).unwrap();
        assert_eq!(opened.expose_secret(), data_key.expose_secret());

        let before = gated(
            &kid,
            other.public_key().thumbprint(),
            sealed_object::gate(other.public_key(), &inner).unwrap(),
        );
        assert_eq!(keys.ungate(&before).unwrap(), inner, "a key of before");
        let mislabelled = gated("someone-else", keys.current_kid(), wrap.jwe.clone());
        assert!(matches!(
            keys.ungate(&mislabelled),
            Err(RewrapError::Unwrap(_))
        ));
        let foreign = gated(&kid, &kid, wrap.jwe);
        assert!(matches!(keys.ungate(&foreign), Err(RewrapError::NotHere)));
    }

    #[test]
    fn the_current_keys_wrap_comes_before_those_of_before() {
        let [current, before, patient, _] = &*KEYS;
        let keys = OracleKeys::new(current.clone(), vec![before.clone()]);
        let plain = |key: &PrivateKey| KeyWrap::plain(kid_of(key).to_owned(), "a.b.c.d.e".into());
        let all = [plain(patient), plain(before), plain(current)];
        assert_eq!(keys.own(&all), Some(&all[2]));
        assert_eq!(keys.own(&all[..2]), Some(&all[1]));
        assert_eq!(keys.own(&all[..1]), None);
        let mut gated = plain(current);
        gated.gate = Some(kid_of(current).to_owned());
        assert_eq!(keys.own(&[gated]), None, "a gated wrap is not the oracle's");
        assert!(format!("{keys:?}").contains(kid_of(current)));
    }
}
