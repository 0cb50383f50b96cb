//! Encryption of journal frames: a key file, one derived key per segment file, a random nonce per frame.
//!
//! Nonce scheme. Every segment file starts with 32 random bytes (its salt); the file's key is HKDF-SHA256 of the
//! journal key with that salt. A file is written by one process only and never appended to after a restart, so a
//! restored backup or a second process starts a file with a new salt and therefore a new key. Inside a file each
//! frame carries a random 96-bit nonce, so even two copies of a running machine, which share the salt, do not
//! repeat a (key, nonce) pair. A file holds far fewer than 2^32 frames.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use super::error::{JournalError, KeyError};

/// Bytes of the journal key, of a file's salt and of a derived key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of an AES-GCM nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of an AES-GCM tag.
pub(crate) const TAG_BYTES: usize = 16;

const DERIVATION_LABEL: &[u8] = b"salus journal file key v1";

/// The journal's master key; lives in a file of mode 0600 beside the segments or elsewhere.
pub(crate) struct JournalKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JournalKey(..)")
    }
}

impl JournalKey {
    /// Reads the key file, or makes a new one where `may_create` says so.
    pub(crate) fn load(path: &Path, may_create: bool) -> Result<Self, JournalError> {
        match Self::read(path) {
            Err(KeyError::Missing) if may_create => Self::create(path),
            other => other,
        }
        .map_err(|source| JournalError::Key {
            path: path.to_path_buf(),
            source,
        })
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeyError::Missing);
            }
            other => other?,
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::TooOpen { mode });
        }
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        let mut file = fs::File::open(path)?;
        if metadata.len() != KEY_BYTES as u64 {
            return Err(KeyError::WrongLength {
                bytes: metadata.len(),
            });
        }
        file.read_exact(key.as_mut_slice())?;
        Ok(Self(key))
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
        // Written beside and renamed, so that a crash never leaves half a key.
        let temporary = path.with_extension("new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(key.as_slice())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(parent) = path.parent() {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self(key))
    }

    /// The same key each time.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn fixed() -> Self {
        Self(Zeroizing::new([0x5a; KEY_BYTES]))
    }

    /// A key of its own for other files than the journal's, which `label` names.
    pub(crate) fn branch(&self, label: &[u8]) -> Self {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_slice());
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        derived
            .expand(&[label], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .expect("32 bytes are one HKDF-SHA256 block");
        Self(bytes)
    }

    /// The key of the file with this salt.
    pub(crate) fn file_key(&self, salt: &[u8; KEY_BYTES]) -> FileKey {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.as_slice());
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        derived
            .expand(&[DERIVATION_LABEL], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .expect("32 bytes are one HKDF-SHA256 block");
        let key =
            UnboundKey::new(&AES_256_GCM, bytes.as_slice()).expect("an AES-256 key has 32 bytes");
        FileKey {
            key: LessSafeKey::new(key),
            salt: *salt,
        }
    }
}

/// The key of one segment file, which also binds each frame to that file and its place in it.
pub(crate) struct FileKey {
    key: LessSafeKey,
    salt: [u8; KEY_BYTES],
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(..)")
    }
}

impl FileKey {
    /// Encrypts `body`; the answer is nonce, ciphertext, tag.
    pub(crate) fn seal(&self, offset: u64, body: &[u8]) -> Result<Vec<u8>, JournalError> {
        let mut sealed = Vec::with_capacity(NONCE_BYTES + body.len() + TAG_BYTES);
        sealed.extend_from_slice(&[0; NONCE_BYTES]);
        sealed.extend_from_slice(body);
        self.seal_in_place(offset, 0, &mut sealed)?;
        Ok(sealed)
    }

    /// Encrypts what stands in `buffer` behind `start` and room for a nonce, which it fills; the tag is appended.
    pub(crate) fn seal_in_place(
        &self,
        offset: u64,
        start: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        let (nonce, body) = buffer[start..]
            .split_first_chunk_mut::<NONCE_BYTES>()
            .expect("the caller left room for the nonce");
        aws_lc_rs::rand::fill(nonce).map_err(|_| JournalError::Random)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let data = Aad::from(self.associated_data(offset));
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, data, body)
            .map_err(|_| JournalError::Random)?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts what [`FileKey::seal`] made for the same place; `None` when it is anything else.
    pub(crate) fn open(&self, offset: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let mut body = ciphertext.to_vec();
        let length = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated_data(offset)),
                &mut body,
            )
            .ok()?
            .len();
        body.truncate(length);
        Some(body)
    }

    fn associated_data(&self, offset: u64) -> [u8; KEY_BYTES + 8] {
        let mut data = [0_u8; KEY_BYTES + 8];
        data[..KEY_BYTES].copy_from_slice(&self.salt);
        data[KEY_BYTES..].copy_from_slice(&offset.to_le_bytes());
        data
    }
}

/// Fresh random bytes, e.g. for a file's salt.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], JournalError> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| JournalError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_opens_only_at_its_own_place_and_in_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let key = JournalKey::load(&dir.path().join("journal.key"), true).unwrap();
        let file = key.file_key(&[1; KEY_BYTES]);
        let sealed = file.seal(64, b"reading").unwrap();
        assert_eq!(file.open(64, &sealed).unwrap(), b"reading");
        assert!(file.open(65, &sealed).is_none());
        assert!(key.file_key(&[2; KEY_BYTES]).open(64, &sealed).is_none());
        for i in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[i] ^= 1;
            assert!(file.open(64, &flipped).is_none(), "byte {i}");
        }
        for length in 0..sealed.len() {
            assert!(file.open(64, &sealed[..length]).is_none());
        }
    }

    #[test]
    fn branches_are_different_keys() {
        let dir = tempfile::tempdir().unwrap();
        let key = JournalKey::load(&dir.path().join("k"), true).unwrap();
        let keys = [key.branch(b"a"), key.branch(b"b"), key.branch(b"a"), key];
        let [a, b, again, trunk] = keys.map(|key| key.file_key(&[1; KEY_BYTES]));
        let sealed = a.seal(0, b"x").unwrap();
        assert!(again.open(0, &sealed).is_some());
        assert!(b.open(0, &sealed).is_none() && trunk.open(0, &sealed).is_none());
    }

    #[test]
    fn equal_bodies_never_look_equal() {
        let dir = tempfile::tempdir().unwrap();
        let key = JournalKey::load(&dir.path().join("k"), true).unwrap();
        let file = key.file_key(&[1; KEY_BYTES]);
        assert_ne!(file.seal(0, b"72").unwrap(), file.seal(0, b"72").unwrap());
    }

    #[test]
    fn the_key_file_is_private_and_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.key");
        let sealed = {
            let key = JournalKey::load(&path, true).unwrap();
            key.file_key(&[3; KEY_BYTES]).seal(0, b"x").unwrap()
        };
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = JournalKey::load(&path, false).unwrap();
        assert_eq!(
            again.file_key(&[3; KEY_BYTES]).open(0, &sealed).unwrap(),
            b"x"
        );
    }

    #[test]
    fn a_missing_open_or_short_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.key");
        assert!(matches!(
            JournalKey::load(&path, false),
            Err(JournalError::Key {
                source: KeyError::Missing,
                ..
            })
        ));
        fs::write(&path, [0; 31]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            JournalKey::load(&path, true),
            Err(JournalError::Key {
                source: KeyError::WrongLength { bytes: 31 },
                ..
            })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            JournalKey::load(&path, true),
            Err(JournalError::Key {
                source: KeyError::TooOpen { mode: 0o640 },
                ..
            })
        ));
    }
}
