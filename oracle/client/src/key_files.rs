//! The files of a person's private encryption keys: the one in use, and while keys are being
//! changed the next one and the one before.
//!
//! | file | when it is there |
//! |---|---|
//! | `FILE` | always: the key that is registered |
//! | `FILE.next` | from the making of a new key until it is registered |
//! | `FILE.previous` | from then until nothing is wrapped for the old key any more |

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sealed_object::{PrivateKey, wrapped_for};
use zeroize::Zeroizing;

use crate::error::ClientError;

/// The private keys, shared by clones and never printed.
#[derive(Clone)]
pub(crate) struct EncryptionKeys {
    current: Arc<PrivateKey>,
    previous: Option<Arc<PrivateKey>>,
}

impl std::fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kid = self.current.public_key().thumbprint();
        write!(f, "EncryptionKeys({kid})")
    }
}

impl EncryptionKeys {
    /// Keys that were made or read already.
    #[cfg(test)]
    pub(crate) fn new(current: PrivateKey, previous: Option<PrivateKey>) -> Self {
        Self {
            current: Arc::new(current),
            previous: previous.map(Arc::new),
        }
    }

    /// The key in use.
    pub(crate) fn current(&self) -> &PrivateKey {
        &self.current
    }

    /// The key before, while keys are being changed.
    pub(crate) fn previous(&self) -> Option<&PrivateKey> {
        self.previous.as_deref()
    }

    /// The key that `wrap` is for, or the key in use if it is for neither.
    pub(crate) fn for_wrap(&self, wrap: &str) -> &PrivateKey {
        match &self.previous {
            Some(previous)
                if wrapped_for(wrap).as_deref() == Some(previous.public_key().thumbprint()) =>
            {
                previous
            }
            _ => &self.current,
        }
    }
}

/// Reads `file`, and the key before if it is still there.
pub(crate) fn load(file: &Path) -> Result<EncryptionKeys, ClientError> {
    let previous = previous(file);
    Ok(EncryptionKeys {
        current: Arc::new(read(file)?),
        previous: match previous.exists() {
            true => Some(Arc::new(read(&previous)?)),
            false => None,
        },
    })
}

/// Where a new key lies until it is registered.
#[must_use]
pub fn next(file: &Path) -> PathBuf {
    beside(file, "next")
}

/// Where the key before lies until nothing is wrapped for it.
#[must_use]
pub fn previous(file: &Path) -> PathBuf {
    beside(file, "previous")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Reads a private key.
///
/// # Errors
/// [`ClientError::Key`] when the file cannot be read or is not a private RSA JWK.
pub fn read(file: &Path) -> Result<PrivateKey, ClientError> {
    let problem = |why: String| ClientError::Key {
        problem: format!("{}: {why}", file.display()),
    };
    let text = fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    PrivateKey::from_jwk(&Zeroizing::new(text)).map_err(|error| problem(error.to_string()))
}

/// Takes the next key into use: the one in use becomes the one before. May be repeated after a
/// stop halfway.
///
/// # Errors
/// When a file cannot be moved, or a key before is still there beside a next one.
pub fn take_into_use(file: &Path) -> io::Result<()> {
    let (next, previous) = (next(file), previous(file));
    if file.exists() {
        if previous.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is still there", previous.display()),
            ));
        }
        fs::rename(file, &previous)?;
    }
    fs::rename(&next, file)?;
    sync_folder(file)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_keys_may_stop_anywhere_and_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("private.jwk");
        let [old, new] = [(); 2].map(|()| PrivateKey::generate(3072).unwrap());
        let kid = |key: &PrivateKey| key.public_key().thumbprint().to_owned();
        fs::write(&file, &*old.to_jwk()).unwrap();
        assert!(load(&file).unwrap().previous().is_none());

        fs::write(next(&file), &*new.to_jwk()).unwrap();
        // Stopped between the two moves: the old key lies aside, the new one is not yet in place.
        fs::rename(&file, previous(&file)).unwrap();
        take_into_use(&file).unwrap();
        let keys = load(&file).unwrap();
        assert_eq!(kid(keys.current()), kid(&new));
        assert_eq!(kid(keys.previous().unwrap()), kid(&old));
        assert!(!next(&file).exists());

        let data_key = sealed_object::DataKey::generate();
        for key in [&old, &new] {
            let wrap = key.public_key().wrap(&data_key).unwrap();
            assert_eq!(kid(keys.for_wrap(&wrap)), kid(key));
        }
        assert_eq!(kid(keys.for_wrap("no wrap")), kid(&new));

        let third = PrivateKey::generate(3072).unwrap();
        fs::write(next(&file), &*third.to_jwk()).unwrap();
        let error = take_into_use(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(kid(load(&file).unwrap().current()), kid(&new), "as before");
    }
}
