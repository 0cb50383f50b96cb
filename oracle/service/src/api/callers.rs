//! Who is calling: the certificate of the TLS session, judged by the configured MSPs.

use std::sync::{Arc, PoisonError, RwLock};

use fabric_msp::{Certificate, Msp, MspError, MspId, NodeOu};
use http::StatusCode;

use crate::api::problem::Problem;
use crate::config::CallerOrganization;

/// The attribute that says what someone is.
const ROLE_ATTRIBUTE: &str = "salus.role";
/// The attribute of staff who set up devices.
const INSTALLER_ATTRIBUTE: &str = "salus.installer";

/// The organisations whose people may call.
#[derive(Debug)]
pub(crate) struct Callers {
    organizations: Vec<CallerOrganization>,
    /// Std lock: replaced whole when revocation lists are read again, cloned out for each check,
    /// never held across an await.
    msps: RwLock<Arc<[Msp]>>,
}

/// A person or program whose certificate is valid now.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As shown in the TLS handshake.
    pub(crate) certificate: Certificate,
    /// Whose it is.
    pub(crate) msp_id: MspId,
    /// The role its organisational unit gives it.
    pub(crate) node_ou: Option<NodeOu>,
}

impl Caller {
    /// Whether this is an administrator, by attribute or by NodeOU.
    pub(crate) fn is_admin(&self) -> bool {
        self.node_ou == Some(NodeOu::Admin)
            || self.certificate.attribute(ROLE_ATTRIBUTE) == Some("admin")
    }

    /// Whether this is somebody who sets up devices, by attribute.
    pub(crate) fn is_installer(&self) -> bool {
        self.certificate.attribute(INSTALLER_ATTRIBUTE) == Some("true")
    }

    /// Whether this is an auditor, by attribute.
    pub(crate) fn is_auditor(&self) -> bool {
        self.certificate.attribute(ROLE_ATTRIBUTE) == Some("auditor")
    }
}

impl Callers {
    /// Reads the MSP folders.
    ///
    /// # Errors
    ///
    /// [`MspError`] of the first folder that is no MSP.
    pub(crate) fn load(organizations: &[CallerOrganization]) -> Result<Self, MspError> {
        Ok(Self {
            organizations: organizations.to_vec(),
            msps: RwLock::new(read_msps(organizations)?),
        })
    }

    /// Reads the folders again, for new revocation lists. An organisation whose folder cannot be read keeps the MSP
    /// in use; what the others revoked holds nevertheless.
    ///
    /// # Errors
    ///
    /// [`MspError`] of the first folder that is no MSP.
    pub(crate) fn reload(&self) -> Result<(), MspError> {
        let current = Arc::clone(&self.msps.read().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        let read_again = |(organization, msp): (&CallerOrganization, &Msp)| {
            Msp::from_dir(organization.msp_id.clone(), &organization.msp_dir).unwrap_or_else(
                |error| {
                    failure.get_or_insert(error);
                    msp.clone()
                },
            )
        };
        let organizations = self.organizations.iter().zip(current.iter());
        let fresh = organizations.map(read_again).collect();
        *self.msps.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        failure.map_or(Ok(()), Err)
    }

    /// The MSP of an organisation, as it is in force now.
    pub(crate) fn msp(&self, msp_id: &MspId) -> Option<Msp> {
        let msps = self.msps.read().unwrap_or_else(PoisonError::into_inner);
        msps.iter().find(|msp| msp.msp_id() == msp_id).cloned()
    }

    /// Judges a certificate at a time.
    ///
    /// # Errors
    ///
    /// A 401 problem that says whether the certificate is expired, revoked or of nobody known.
    pub(crate) fn authenticate(
        &self,
        certificate: &Certificate,
        unix_seconds: i64,
    ) -> Result<Caller, Problem> {
        let msps = Arc::clone(&self.msps.read().unwrap_or_else(PoisonError::into_inner));
        let mut refusal: Option<MspError> = None;
        for msp in msps.iter() {
            match msp.validate_at(certificate, unix_seconds) {
                Ok(identity) => {
                    return Ok(Caller {
                        certificate: certificate.clone(),
                        msp_id: msp.msp_id().clone(),
                        node_ou: identity.node_ou,
                    });
                }
                Err(error) if refusal.is_none() || !matches!(error, MspError::Untrusted { .. }) => {
                    refusal = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(refused(refusal))
    }
}

fn read_msps(organizations: &[CallerOrganization]) -> Result<Arc<[Msp]>, MspError> {
    organizations
        .iter()
        .map(|organization| Msp::from_dir(organization.msp_id.clone(), &organization.msp_dir))
        .collect()
}

/// The answer to a certificate that no MSP accepts; `refusal` is the most telling reason.
fn refused(refusal: Option<MspError>) -> Problem {
    let (code, detail) = match &refusal {
        Some(MspError::OutsideValidity { .. }) => (
            "CERTIFICATE_EXPIRED",
            "Your certificate has expired or is not valid yet. Ask your organisation's \
             administrator to renew it.",
        ),
        Some(MspError::Revoked { .. }) => (
            "CERTIFICATE_REVOKED",
            "Your certificate has been revoked. Ask your organisation's administrator for a new \
             one.",
        ),
        Some(MspError::OrganizationalUnits { .. }) => (
            "CERTIFICATE_REFUSED",
            "Your certificate does not say which role you have in your organisation. Ask its \
             administrator for a new one.",
        ),
        _ => (
            "CERTIFICATE_REFUSED",
            "Your certificate was not issued by an organisation this oracle serves. Use the \
             certificate your organisation gave you, or ask its administrator.",
        ),
    };
    let problem = Problem::new(StatusCode::UNAUTHORIZED, code, detail);
    match refusal {
        Some(cause) => problem.caused_by(cause),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use fabric_mspgen::{Kind, Organization};

    use super::*;

    #[test]
    fn a_wrong_list_of_one_organisation_keeps_no_list_of_another_out() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["org1", "org2"].map(|name| {
            let msp_id = MspId::parse(&format!("{name}MSP")).unwrap();
            Organization::create(
                dir.path(),
                msp_id,
                &format!("{name}.example.com"),
                Kind::Peer,
            )
            .unwrap()
        });
        let callers = Callers::load(&[&first, &second].map(|organization| CallerOrganization {
            msp_id: organization.msp_id().clone(),
            msp_dir: organization.msp_folder(),
        }))
        .unwrap();
        let issued = [&first, &second]
            .map(|organization| organization.issue_device("d", None).unwrap().certificate);
        let now = issued[0].not_before() + 1;
        let codes = |callers: &Callers| {
            issued.each_ref().map(|certificate| {
                let caller = callers.authenticate(certificate, now);
                caller.map(drop).map_err(|problem| problem.code())
            })
        };
        assert_eq!(codes(&callers), [Ok(()), Ok(())]);

        // The first organisation's folder is read first, and its list is none.
        first.revoke_certificates(&issued[..1]).unwrap();
        callers.reload().unwrap();
        std::fs::write(first.msp_folder().join("crls/more"), "no list").unwrap();
        second.revoke_certificates(&issued[1..]).unwrap();
        assert!(matches!(callers.reload(), Err(MspError::Crl { .. })));
        assert_eq!(codes(&callers), [Err("CERTIFICATE_REVOKED"); 2]);
    }
}
