//! Writing certificates and keys. A new file never replaces another one; where a renewal has to,
//! the new content is complete before it takes the old one's name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fabric_msp::Certificate;
use zeroize::Zeroizing;

use crate::error::IssueError;

/// Private keys: only their owner reads them.
const PRIVATE_MODE: u32 = 0o600;
/// Certificates: everybody may read them.
const PUBLIC_MODE: u32 = 0o644;
/// Folders that hold private keys only.
const PRIVATE_FOLDER_MODE: u32 = 0o700;

/// Turns an I/O error into one that says what was done to which file.
fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IssueError {
    let path = path.to_owned();
    move |source| IssueError::File {
        action,
        path,
        source,
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<(), IssueError> {
    fs::create_dir_all(path).map_err(at("create", path))
}

pub(crate) fn create_private_folder(path: &Path) -> Result<(), IssueError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER_MODE)
        .create(path)
        .map_err(at("create", path))
}

pub(crate) fn write_public(path: &Path, content: &str) -> Result<(), IssueError> {
    create(path, content.as_bytes(), PUBLIC_MODE)
}

pub(crate) fn write_private(path: &Path, content: &Zeroizing<String>) -> Result<(), IssueError> {
    create(path, content.as_bytes(), PRIVATE_MODE)
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), IssueError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(at("create", path))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at("write", path))
}

/// Replaces a public file in one step.
pub(crate) fn replace_public(path: &Path, content: &str) -> Result<(), IssueError> {
    // Hidden, so that nobody who lists the folder meanwhile takes it for a certificate.
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", &temporary)(error));
        }
        _ => {}
    }
    create(&temporary, content.as_bytes(), PUBLIC_MODE)?;
    fs::rename(&temporary, path).map_err(at("replace", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at("sync", folder))
}

pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, IssueError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, IssueError> {
    fs::read(path).map_err(at("read", path))
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, IssueError> {
    read(path).map(Zeroizing::new)
}

pub(crate) fn read_certificate(path: &Path) -> Result<Certificate, IssueError> {
    Certificate::from_pem(&read(path)?).map_err(|source| IssueError::Certificate {
        path: path.to_owned(),
        source,
    })
}

/// The only file of a folder whose name ends so, or the first by name.
pub(crate) fn find(folder: &Path, suffix: &str) -> Result<PathBuf, IssueError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at("read", folder))? {
        let entry = entry.map_err(at("read", folder))?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| !name.starts_with('.') && name.ends_with(suffix))
        {
            found.push(entry.path());
        }
    }
    found.sort();
    found
        .into_iter()
        .next()
        .ok_or_else(|| at("find a certificate in", folder)(io::ErrorKind::NotFound.into()))
}
