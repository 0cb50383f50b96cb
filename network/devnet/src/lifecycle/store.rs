//! The packages installed on one peer: one file each, named by package ID.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::package::{self, PackageError, ParsedPackage};

/// Packages one peer keeps.
const PACKAGES_MAX: usize = 10_000;

/// Why a package was not installed or cannot be read.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("could not parse as a chaincode install package: {0}")]
    Package(#[from] PackageError),
    #[error("chaincode already successfully installed (package ID '{0}')")]
    Exists(String),
    #[error("more than {PACKAGES_MAX} packages are installed")]
    Full,
    #[error("could not save cc install package: {path}: {cause}")]
    File { path: PathBuf, cause: io::Error },
}

/// All packages of one peer, read once at start.
#[derive(Debug)]
pub(crate) struct PackageStore {
    dir: PathBuf,
    /// Held for map operations and, at installation, for one small file.
    packages: Mutex<BTreeMap<String, Arc<ParsedPackage>>>,
}

impl PackageStore {
    /// Opens the folder, which is made if absent; files that are no packages are an error.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::File {
            path: dir.to_owned(),
            cause,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut packages = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "gz") {
                continue;
            }
            let bytes = fs::read(&path).map_err(|cause| StoreError::File {
                path: path.clone(),
                cause,
            })?;
            let package = package::parse(&bytes)?;
            packages.insert(package.package_id.clone(), Arc::new(package));
        }
        Ok(Self {
            dir: dir.to_owned(),
            packages: Mutex::new(packages),
        })
    }

    /// Checks and keeps a package; it is on the disk when this returns.
    pub(crate) fn install(&self, bytes: &[u8]) -> Result<Arc<ParsedPackage>, StoreError> {
        let package = Arc::new(package::parse(bytes)?);
        let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        if packages.contains_key(&package.package_id) {
            return Err(StoreError::Exists(package.package_id.clone()));
        }
        if packages.len() >= PACKAGES_MAX {
            return Err(StoreError::Full);
        }
        let path = self.path(&package.package_id);
        write_durably(&path, bytes).map_err(|cause| StoreError::File { path, cause })?;
        packages.insert(package.package_id.clone(), Arc::clone(&package));
        Ok(package)
    }

    pub(crate) fn get(&self, package_id: &str) -> Option<Arc<ParsedPackage>> {
        let packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        packages.get(package_id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<ParsedPackage>> {
        let packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        packages.values().cloned().collect()
    }

    /// The bytes as they were installed.
    pub(crate) fn bytes(&self, package_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if self.get(package_id).is_none() {
            return Ok(None);
        }
        let path = self.path(package_id);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) => Err(StoreError::File { path, cause }),
        }
    }

    /// Labels hold no slash or colon, so an ID with a dot for its colon is a file name.
    fn path(&self, package_id: &str) -> PathBuf {
        let name = package_id.replace(':', ".");
        self.dir.join(format!("{name}.tar.gz"))
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{PackageStore, StoreError};
    use crate::package::{Connection, build};

    #[test]
    fn installed_packages_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = build("cc", &Connection::plain("127.0.0.1:1")).unwrap();
        let store = PackageStore::open(dir.path()).unwrap();
        let id = store.install(&bytes).unwrap().package_id.clone();
        assert!(matches!(store.install(&bytes), Err(StoreError::Exists(_))));
        let again = PackageStore::open(dir.path()).unwrap();
        assert_eq!(again.all().len(), 1);
        assert_eq!(again.bytes(&id).unwrap().unwrap(), bytes);
        assert!(again.bytes("cc:00").unwrap().is_none());
    }
}
