//! How a device gets its certificate, and a new one before the old one ends.
//!
//! A device's folder holds everything it needs to publish:
//!
//! | file | mode | |
//! |---|---|---|
//! | `device.pem` | 600 | the certificate and its private key; replaced as a whole |
//! | `device.key` | 600 | from the making of a new key until its certificate is in `device.pem` |
//! | `authority.pem` | 644 | the CA that issued the certificate |
//!
//! The key is made here, written before it is used, and never leaves the folder. A try that was cut off is made again
//! with the same key, and the oracle answers it with the same certificate.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use contract_interface::DeviceId;
use http::{HeaderMap, HeaderValue, Method, header};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    error::ClientError,
    http::{Http, read_json},
};

/// The certificate and its key.
const DEVICE: &str = "device.pem";
/// A key without certificate.
const KEY: &str = "device.key";
/// The CA.
const AUTHORITY: &str = "authority.pem";
/// Media type of a signing request (RFC 5967).
const PKCS10: &str = "application/pkcs10";

/// Where a device enrols.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// `https://host:port` of the oracle's REST API.
    pub oracle_url: String,
    /// PEM file of the CA behind its TLS certificate.
    pub oracle_ca_file: PathBuf,
    /// The device.
    pub device_id: DeviceId,
    /// The device's folder.
    pub folder: PathBuf,
}

/// A certificate that is registered and lies in the device's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The device.
    pub device_id: DeviceId,
    /// The file with certificate and key.
    pub file: PathBuf,
    /// The last second of the certificate's validity, seconds since 1970.
    pub not_after: i64,
    /// The transaction that registered it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
}

/// What the oracle answers.
#[derive(Debug, Deserialize)]
struct Answer {
    certificate: String,
    authority: String,
    transaction_id: String,
    block_number: u64,
}

impl Enrolment {
    /// Gets the device's first certificate for a one-time token, or one for a new key in place of a lost one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a token that is good for nothing; [`ClientError::Identity`] when a certificate is
    /// there already, or the folder cannot be used.
    pub async fn enrol(&self, token: &str) -> Result<Enrolled, ClientError> {
        if self.folder.join(DEVICE).exists() {
            return Err(unusable(
                &self.folder.join(DEVICE),
                "is there already; renew it, or choose another folder",
            ));
        }
        let http = Http::without_certificate(&self.oracle_url, &self.oracle_ca_file)?;
        let bearer = Zeroizing::new(format!("Bearer {token}"));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| ClientError::Identity {
            problem: "the token has characters that no token has".to_owned(),
        })?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        self.fetch(&http, "/v1/enrolments/certificate", headers)
            .await
    }

    /// Gets a certificate for a new key with the one that the device has.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a device that is suspended or has been given another certificate;
    /// [`ClientError::Identity`] when the folder cannot be used.
    pub async fn renew(&self) -> Result<Enrolled, ClientError> {
        let file = self.folder.join(DEVICE);
        let http = Http::with_certificate(&self.oracle_url, &self.oracle_ca_file, &file)?;
        self.fetch(&http, "/v1/enrolments/renewal", HeaderMap::new())
            .await
    }

    async fn fetch(
        &self,
        http: &Http,
        path: &str,
        mut headers: HeaderMap,
    ) -> Result<Enrolled, ClientError> {
        let key_file = self.folder.join(KEY);
        let key = key(&key_file).map_err(|error| unusable(&key_file, &error.to_string()))?;
        let request = request(&self.device_id, &key)
            .map_err(|error| unusable(&key_file, &error.to_string()))?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PKCS10));
        let response = http.send(Method::POST, path, headers, request).await?;
        let answer: Answer = read_json(response).await?;
        self.take(&answer, &key)
    }

    /// Checks that the certificate is for this device and key, and takes it into use.
    fn take(&self, answer: &Answer, key: &KeyPair) -> Result<Enrolled, ClientError> {
        let wrong = || ClientError::Malformed {
            what: "a certificate for the device and the key that was sent",
        };
        let certificate = fabric_msp::Certificate::from_pem(answer.certificate.as_bytes())
            .map_err(|_| wrong())?;
        let own = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
        if certificate.subject_common_name() != Some(self.device_id.as_str())
            || certificate.subject_key_id() != Some(own.as_ref())
        {
            return Err(wrong());
        }
        let file = self.folder.join(DEVICE);
        let failed = |error: io::Error| unusable(&file, &error.to_string());
        replace(
            &self.folder.join(AUTHORITY),
            answer.authority.as_bytes(),
            0o644,
        )
        .map_err(failed)?;
        let mut pem = Zeroizing::new(answer.certificate.clone());
        pem.push_str(&Zeroizing::new(key.serialize_pem()));
        replace(&file, pem.as_bytes(), 0o600).map_err(failed)?;
        fs::remove_file(self.folder.join(KEY)).map_err(failed)?;
        Ok(Enrolled {
            device_id: self.device_id.clone(),
            file,
            not_after: certificate.not_after(),
            transaction_id: answer.transaction_id.clone(),
            block_number: answer.block_number,
        })
    }
}

/// The key of an earlier try, or a new one, which is on the disk before anybody hears of it.
fn key(file: &Path) -> Result<KeyPair, Box<dyn std::error::Error + Send + Sync>> {
    if file.exists() {
        let pem = Zeroizing::new(fs::read_to_string(file)?);
        return Ok(KeyPair::from_pem(&pem)?);
    }
    if let Some(folder) = file.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let key = KeyPair::generate()?;
    let pem = Zeroizing::new(key.serialize_pem());
    replace(file, pem.as_bytes(), 0o600)?;
    Ok(key)
}

fn request(device_id: &DeviceId, key: &KeyPair) -> Result<Bytes, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, device_id.as_str());
    let request = params.serialize_request(key)?;
    Ok(request.der().to_vec().into())
}

/// Writes a file beside its place, syncs it and renames it.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // One of an interrupted try may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn unusable(path: &Path, problem: &str) -> ClientError {
    ClientError::Identity {
        problem: format!("{}: {problem}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hr-1").join(KEY);
        let first = key(&file).unwrap();
        let again = key(&file).unwrap();
        assert_eq!(first.public_key_raw(), again.public_key_raw());
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        fs::write(&file, "no key").unwrap();
        assert!(key(&file).is_err(), "a damaged key is never replaced");
    }

    fn issue(name: &str, key: &KeyPair) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(id.as_ref().to_vec());
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.self_signed(key).unwrap().pem()
    }

    #[test]
    fn only_a_certificate_for_this_device_and_key_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let enrolment = Enrolment {
            oracle_url: "https://localhost:1".to_owned(),
            oracle_ca_file: "ca.pem".into(),
            device_id: "hr-1".parse().unwrap(),
            folder: folder.path().to_owned(),
        };
        let own = key(&folder.path().join(KEY)).unwrap();
        let other = KeyPair::generate().unwrap();
        let answer = |certificate| Answer {
            certificate,
            authority: "authority".to_owned(),
            transaction_id: "t".to_owned(),
            block_number: 3,
        };
        for wrong in [issue("hr-2", &own), issue("hr-1", &other), String::new()] {
            let refused = enrolment.take(&answer(wrong), &own).unwrap_err();
            assert!(
                matches!(refused, ClientError::Malformed { .. }),
                "{refused}"
            );
            assert!(!folder.path().join(DEVICE).exists());
        }
        let taken = enrolment.take(&answer(issue("hr-1", &own)), &own).unwrap();
        assert_eq!((taken.block_number, mode(&taken.file)), (3, 0o600));
        assert!(!folder.path().join(KEY).exists());
        let pem = fs::read_to_string(&taken.file).unwrap();
        assert!(pem.contains("BEGIN CERTIFICATE") && pem.contains("BEGIN PRIVATE KEY"));
    }

    #[tokio::test]
    async fn a_certificate_that_is_there_is_not_replaced_by_a_token() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(DEVICE), "mine").unwrap();
        let enrolment = Enrolment {
            oracle_url: "https://localhost:1".to_owned(),
            oracle_ca_file: "ca.pem".into(),
            device_id: "hr-1".parse().unwrap(),
            folder: folder.path().to_owned(),
        };
        let refused = enrolment.enrol("token").await.unwrap_err();
        assert!(
            refused.to_string().contains("is there already"),
            "{refused}"
        );
    }
}
