//! Revocation: the CRL in the organisation's MSP folder.
//!
//! Fabric takes CRLs from the channel's configuration only, so a new list has to be brought into
//! it (`peer channel update`); services of ours read the folder.

use std::path::PathBuf;

use fabric_msp::Certificate;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::error::IssueError;
use crate::files;
use crate::organization::Organization;

/// How long a list says it holds. Fabric does not look at it.
const NEXT_UPDATE: Duration = Duration::days(30);

/// Longest serial number, in bytes (RFC 5280 section 4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;

impl Organization {
    /// Adds certificates, by serial number in hex, to the signing CA's revocation list
    /// `msp/crls/crl.pem`, which is made or replaced. Returns its path.
    ///
    /// # Errors
    /// [`IssueError::Serial`] if one is malformed, [`IssueError::File`].
    pub fn revoke<S: AsRef<str>>(&self, serials: &[S]) -> Result<PathBuf, IssueError> {
        let now = OffsetDateTime::now_utc();
        let path = self.msp_folder().join("crls/crl.pem");
        let mut list = match files::read_optional(&path)? {
            Some(pem) => read_list(&pem)?,
            None => List {
                number: 0,
                revoked: Vec::new(),
            },
        };
        for serial in serials {
            let serial_number = parse_serial(serial.as_ref())?;
            if !list
                .revoked
                .iter()
                .any(|entry| entry.serial_number == serial_number)
            {
                list.revoked.push(RevokedCertParams {
                    serial_number,
                    revocation_time: now,
                    reason_code: Some(RevocationReason::Unspecified),
                    invalidity_date: None,
                });
            }
        }
        let key_id = self
            .signing_ca()
            .certificate()
            .subject_key_id()
            .unwrap_or_default();
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + NEXT_UPDATE,
            crl_number: (list.number + 1).into(),
            issuing_distribution_point: None,
            revoked_certs: list.revoked,
            key_identifier_method: KeyIdMethod::PreSpecified(key_id.to_vec()),
        };
        let pem = params.signed_by(self.signing_ca().issuer())?.pem()?;
        files::create_folder(&self.msp_folder().join("crls"))?;
        files::replace_public(&path, &pem.replace("\r\n", "\n"))?;
        Ok(path)
    }

    /// Revokes certificates that this organisation's signing CA issued.
    ///
    /// # Errors
    /// As [`Organization::revoke`].
    pub fn revoke_certificates(&self, certificates: &[Certificate]) -> Result<PathBuf, IssueError> {
        let serials: Vec<_> = certificates.iter().map(Certificate::serial_hex).collect();
        self.revoke(&serials)
    }
}

struct List {
    number: u64,
    revoked: Vec<RevokedCertParams>,
}

fn read_list(pem: &[u8]) -> Result<List, IssueError> {
    let (_, pem) = parse_x509_pem(pem).map_err(|e| IssueError::Encoding(Box::new(e)))?;
    let (_, list) = CertificateRevocationList::from_der(&pem.contents)
        .map_err(|e| IssueError::Encoding(Box::new(e)))?;
    let number = list
        .crl_number()
        .and_then(|number| u64::try_from(number).ok());
    let revoked = list
        .iter_revoked_certificates()
        .map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.raw_serial()),
            revocation_time: entry.revocation_date.to_datetime(),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        })
        .collect();
    Ok(List {
        number: number.unwrap_or(0),
        revoked,
    })
}

fn parse_serial(text: &str) -> Result<SerialNumber, IssueError> {
    let malformed = || IssueError::Serial {
        serial: text.to_owned(),
    };
    let digits = text.trim_start_matches('0');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let even = format!(
        "{}{digits}",
        if digits.len().is_multiple_of(2) {
            ""
        } else {
            "0"
        }
    );
    if even.len() > 2 * MAX_SERIAL_BYTES {
        return Err(malformed());
    }
    let bytes: Vec<u8> = (0..even.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&even[at..at + 2], 16).map_err(|_| malformed()))
        .collect::<Result<_, _>>()?;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_hex_of_any_length_up_to_twenty_bytes() {
        for (text, expected) in [("1", Some(vec![1])), ("0A0b", Some(vec![0x0a, 0x0b]))] {
            assert_eq!(
                parse_serial(text).ok().map(|serial| serial.to_bytes()),
                expected
            );
        }
        for text in ["", "0", "xyz", "-1", "1 2", "é", &"f".repeat(41)] {
            assert!(parse_serial(text).is_err(), "{text:?}");
        }
    }
}
