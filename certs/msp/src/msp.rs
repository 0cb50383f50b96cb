//! One organisation's rules for identities.

use std::path::Path;

use fabric_protos::msp::FabricMspConfig;

use crate::certificate::Certificate;
use crate::chain::{Authorities, Purpose, chain_id};
use crate::crl::RevocationList;
use crate::error::MspError;
use crate::folder;
use crate::id::MspId;
use crate::identity::{NodeOu, ValidIdentity};
use crate::node_ou::UnitRules;

/// A membership service provider: an organisation's CAs, revocation lists and OU rules, as a
/// channel with application capability V1_4_2 or later applies them.
#[derive(Debug, Clone)]
pub struct Msp {
    id: MspId,
    config: FabricMspConfig,
    authorities: Authorities,
    tls_authorities: Authorities,
    admins: Vec<Certificate>,
    crls: Vec<RevocationList>,
    units: UnitRules,
}

impl Msp {
    /// Reads an MSP folder: `cacerts`, `intermediatecerts`, `tlscacerts`, `tlsintermediatecerts`,
    /// `admincerts`, `crls` and `config.yaml`. Files whose name starts with a dot are skipped.
    ///
    /// # Errors
    /// [`MspError`] if a file cannot be read or the MSP is inconsistent.
    pub fn from_dir(msp_id: MspId, dir: &Path) -> Result<Self, MspError> {
        Self::from_config(&folder::read(&msp_id, dir)?)
    }

    /// Sets up the MSP that a channel's configuration describes.
    ///
    /// # Errors
    /// [`MspError`] if a certificate or list is malformed, there is no CA, a CA may not be one,
    /// there can be no admin, or a listed admin is no member.
    pub fn from_config(config: &FabricMspConfig) -> Result<Self, MspError> {
        let id = MspId::parse(&config.name)?;
        if config.root_certs.is_empty() {
            return Err(MspError::NoCaCertificate);
        }
        let authorities = Authorities::new(
            &id,
            certificates(&config.root_certs)?,
            certificates(&config.intermediate_certs)?,
        )?;
        let tls_authorities = Authorities::new(
            &id,
            certificates(&config.tls_root_certs)?,
            certificates(&config.tls_intermediate_certs)?,
        )?;
        let crls = read_crls(&config.revocation_list, &authorities)?;
        let units = UnitRules::read(&id, config, &authorities)?;
        let mut msp = Self {
            id,
            config: config.clone(),
            authorities,
            tls_authorities,
            admins: Vec::new(),
            crls,
            units,
        };
        msp.check_intermediates()?;
        msp.admins = msp.read_admins()?;
        Ok(msp)
    }

    /// The configuration from which the MSP was made, as a channel's configuration holds it.
    pub fn to_config(&self) -> FabricMspConfig {
        self.config.clone()
    }

    /// The MSP's ID.
    pub fn msp_id(&self) -> &MspId {
        &self.id
    }

    /// Root CAs.
    pub fn ca_certificates(&self) -> &[Certificate] {
        self.authorities.roots()
    }

    /// Intermediate CAs.
    pub fn intermediate_certificates(&self) -> &[Certificate] {
        self.authorities.intermediates()
    }

    /// Root CAs for TLS.
    pub fn tls_ca_certificates(&self) -> &[Certificate] {
        self.tls_authorities.roots()
    }

    /// Intermediate CAs for TLS.
    pub fn tls_intermediate_certificates(&self) -> &[Certificate] {
        self.tls_authorities.intermediates()
    }

    /// Reads the folder `crls` of an MSP folder again and replaces the lists by what it holds.
    ///
    /// # Errors
    /// [`MspError`] if a list cannot be read or is refused; the lists in force then stay.
    pub fn reload_crls(&mut self, dir: &Path) -> Result<(), MspError> {
        let files = folder::read_crls(dir)?;
        self.crls = read_crls(&files, &self.authorities)?;
        self.config.revocation_list = files;
        Ok(())
    }

    /// Judges a certificate as a Fabric peer does: chain, revocation and OUs, but not expiry.
    /// Fabric checks expiry at its doors only, so that old blocks stay verifiable.
    ///
    /// # Errors
    /// [`MspError`] says what is wrong.
    pub fn validate(&self, certificate: &Certificate) -> Result<ValidIdentity, MspError> {
        // A second into its life, as Fabric does, so that expiry never matters.
        let moment = certificate.not_before().saturating_add(1);
        self.judge(certificate, moment, Purpose::Channel)
    }

    /// Judges a certificate that somebody presents at `unix_seconds`: as [`Msp::validate`], and
    /// it and its CAs must be valid at that time. Certificates restricted to TLS are accepted.
    ///
    /// # Errors
    /// [`MspError`] says what is wrong.
    pub fn validate_at(
        &self,
        certificate: &Certificate,
        unix_seconds: i64,
    ) -> Result<ValidIdentity, MspError> {
        if !(certificate.not_before()..=certificate.not_after()).contains(&unix_seconds) {
            return Err(MspError::OutsideValidity {
                subject: certificate.subject(),
                unix_seconds,
            });
        }
        self.judge(certificate, unix_seconds, Purpose::Connection)
    }

    /// Whether a chain leads from the certificate to the MSP's CAs; it may yet be expired,
    /// revoked or without a role.
    pub fn issued(&self, certificate: &Certificate) -> bool {
        let moment = certificate.not_before().saturating_add(1);
        self.authorities
            .issuers(&self.id, certificate, moment, Purpose::Connection)
            .is_ok()
    }

    fn judge(
        &self,
        certificate: &Certificate,
        unix_seconds: i64,
        purpose: Purpose,
    ) -> Result<ValidIdentity, MspError> {
        let subject = || certificate.subject();
        if certificate.is_ca() {
            return Err(MspError::CaAsIdentity { subject: subject() });
        }
        if certificate.public_key().is_unsupported() {
            return Err(MspError::UnsupportedKey { subject: subject() });
        }
        let issuers = self
            .authorities
            .issuers(&self.id, certificate, unix_seconds, purpose)?;
        if self
            .crls
            .iter()
            .any(|list| list.revokes(certificate, &issuers[0]))
        {
            return Err(MspError::Revoked { subject: subject() });
        }
        let certifier = chain_id(&issuers);
        let node_ou = self
            .units
            .role(certificate.organizational_units(), certifier)
            .map_err(|()| MspError::OrganizationalUnits {
                subject: subject(),
                msp_id: self.id.clone(),
            })?;
        let certificate = certificate.in_low_s_form(&issuers[0]);
        Ok(ValidIdentity {
            listed_admin: self.admins.contains(&certificate),
            msp_id: self.id.clone(),
            certificate,
            node_ou,
            certifier,
        })
    }

    fn check_intermediates(&self) -> Result<(), MspError> {
        for ca in self.authorities.intermediates() {
            let issuers = self.authorities.issuers_of_ca(&self.id, ca)?;
            if self.crls.iter().any(|list| list.revokes(ca, &issuers[0])) {
                return Err(MspError::Revoked {
                    subject: ca.subject(),
                });
            }
        }
        Ok(())
    }

    fn read_admins(&self) -> Result<Vec<Certificate>, MspError> {
        if self.config.admins.is_empty() && !self.units.knows_admins() {
            return Err(MspError::NoAdmin);
        }
        let mut admins = Vec::new();
        for admin in certificates(&self.config.admins)? {
            let invalid = |source| MspError::InvalidAdmin {
                subject: admin.subject(),
                source,
            };
            let identity = self
                .validate(&admin)
                .map_err(|e| invalid(Some(Box::new(e))))?;
            let role = identity.node_ou;
            if self.units.enforced() && !matches!(role, Some(NodeOu::Client | NodeOu::Admin)) {
                return Err(invalid(None));
            }
            admins.push(identity.certificate);
        }
        Ok(admins)
    }
}

fn certificates(pems: &[Vec<u8>]) -> Result<Vec<Certificate>, MspError> {
    pems.iter()
        .map(|pem| Certificate::from_pem(pem).map_err(MspError::from))
        .collect()
}

fn read_crls(
    files: &[Vec<u8>],
    authorities: &Authorities,
) -> Result<Vec<RevocationList>, MspError> {
    let cas = authorities.all();
    files
        .iter()
        .map(|file| RevocationList::read(file, &cas))
        .collect()
}
