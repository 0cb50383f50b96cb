//! What nobody's work measures by the way: the journal's disk, the ends of certificates, the age of revocation
//! lists, and whether the parts can be used. Looked at from time to time, files as they are on the disk then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric_msp::Certificate;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::api::Readiness;
use crate::clock;
use crate::journal::Journal;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Looks between two looks at files.
const FILES_EVERY: u32 = 6;
/// Folder of an MSP with its revocation lists.
const CRL_FOLDER: &str = "crls";

/// Files whose certificates end some day.
pub(crate) type Files = Vec<(&'static str, PathBuf)>;
/// MSP folders whose revocation lists grow old, by the organisation's name.
pub(crate) type Crls = Vec<(String, PathBuf)>;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The parts' readiness.
    pub(crate) readiness: Readiness,
    /// The journal, in a process that takes readings.
    pub(crate) journal: Option<Journal>,
    /// Certificates: a file, or an MSP folder with `signcerts`.
    pub(crate) certificates: Files,
    /// Revocation lists.
    pub(crate) crls: Crls,
}

impl Watch {
    /// Looks until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        metrics::gauge!("salus_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let started = clock::now().unix_seconds();
        metrics::gauge!("salus_start_timestamp_seconds").set(started as f64);
        let mut looks = 0_u32;
        loop {
            self.look();
            if looks.is_multiple_of(FILES_EVERY) {
                let (certificates, crls) = (self.certificates.clone(), self.crls.clone());
                // A slow disk must not hold a worker of the runtime.
                let looked = tokio::task::spawn_blocking(move || {
                    look_at_certificates(&certificates);
                    look_at_crls(&crls);
                });
                if looked.await.is_err() {
                    tracing::error!("looking at certificates broke");
                }
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    fn look(&self) {
        for (part, state) in self.readiness.now().parts {
            metrics::gauge!("salus_ready", "part" => part).set(f64::from(u8::from(state.ready)));
        }
        let Some(journal) = &self.journal else {
            return;
        };
        metrics::gauge!("salus_journal_limit_bytes").set(journal.max_bytes() as f64);
        metrics::gauge!("salus_journal_segments").set(journal.segments() as f64);
        match rustix::fs::statvfs(journal.dir()) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                metrics::gauge!("salus_journal_disk_free_bytes").set(free as f64);
            }
            Err(error) => tracing::warn!(%error, "the journal's disk cannot be looked at"),
        }
    }
}

fn look_at_certificates(certificates: &Files) {
    for (name, path) in certificates {
        match expiry(path) {
            Ok(end) => {
                metrics::gauge!("salus_certificate_expiry_timestamp_seconds", "certificate" => *name)
                    .set(end as f64);
            }
            Err(error) => {
                tracing::warn!(certificate = name, %error, "a certificate cannot be looked at");
            }
        }
    }
}

/// The end of the first certificate to end in a file, or in the folder `signcerts` of a folder.
fn expiry(path: &Path) -> std::io::Result<i64> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = files_in(&path.join("signcerts"))?;
    }
    let mut first = None;
    for file in files {
        let pem = std::fs::read(file)?;
        for der in rustls::pki_types::CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(std::io::Error::other)?;
            let certificate = Certificate::from_der(&der).map_err(std::io::Error::other)?;
            let end = certificate.not_after();
            first = Some(first.map_or(end, |first: i64| first.min(end)));
        }
    }
    first.ok_or_else(|| std::io::Error::other("it holds no certificate"))
}

fn look_at_crls(crls: &Crls) {
    for (organization, msp_dir) in crls {
        match ages(&msp_dir.join(CRL_FOLDER)) {
            Ok((issued, next_update)) => {
                let name = organization.clone();
                metrics::gauge!("salus_crl_issued_timestamp_seconds", "organization" => name)
                    .set(issued.unwrap_or(0) as f64);
                let name = organization.clone();
                metrics::gauge!("salus_crl_next_update_timestamp_seconds", "organization" => name)
                    .set(next_update.unwrap_or(0) as f64);
            }
            Err(error) => {
                tracing::warn!(organization, %error, "revocation lists cannot be looked at");
            }
        }
    }
}

/// When the newest list in a folder was issued, and when the first of them should be replaced.
fn ages(folder: &Path) -> std::io::Result<(Option<i64>, Option<i64>)> {
    let (mut issued, mut next_update) = (None, None);
    if !folder.exists() {
        return Ok((issued, next_update));
    }
    for file in files_in(folder)? {
        let bytes = std::fs::read(file)?;
        let decoded = CertificateRevocationListDer::from_pem_slice(&bytes);
        let der = decoded
            .as_ref()
            .map_or(bytes.as_slice(), |der| der.as_ref());
        let (_, list) = CertificateRevocationList::from_der(der)
            .map_err(|_| std::io::Error::other("a revocation list is malformed"))?;
        issued = issued.max(Some(list.last_update().timestamp()));
        let next = list.next_update().map(|time| time.timestamp());
        next_update = [next_update, next].into_iter().flatten().min();
    }
    Ok((issued, next_update))
}

/// The files of a folder, without those that the MSP skips.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if entry.path().is_file() && !hidden {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use fabric_mspgen::{Kind, Organization};

    use super::*;

    #[test]
    fn ends_of_certificates_and_ages_of_lists_are_read_from_an_msp_folder() {
        let dir = tempfile::tempdir().unwrap();
        let msp_id = "Org1MSP".parse().unwrap();
        let organization =
            Organization::create(dir.path(), msp_id, "org1.example.com", Kind::Peer).unwrap();
        let user = organization
            .issue_user("oracle", &fabric_mspgen::UserProfile::default())
            .unwrap();
        let end = expiry(&user.join("msp")).unwrap();
        let days = (end - clock::now().unix_seconds()) / fabric_mspgen::DAY_SECONDS;
        assert!((364..=365).contains(&days), "{days}");
        assert!(expiry(dir.path()).is_err(), "no signcerts");

        let crls = organization.msp_folder().join(CRL_FOLDER);
        assert_eq!(ages(&crls).unwrap(), (None, None));
        organization.revoke(&["01"]).unwrap();
        let (issued, next_update) = ages(&crls).unwrap();
        let age = clock::now().unix_seconds() - issued.unwrap();
        assert!((0..600).contains(&age), "{age}");
        assert!(next_update.is_none_or(|next| next > issued.unwrap()));
        std::fs::write(crls.join("broken.pem"), "no list").unwrap();
        assert!(ages(&crls).is_err());
    }
}
