//! One organisation: its two CAs and everything they issue.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fabric_msp::{Certificate, MspId, NodeOu};
use zeroize::Zeroizing;

use crate::authority::{CertificateAuthority, KeyAndCert};
use crate::error::IssueError;
use crate::files;
use crate::profile::{
    CA_DAYS, Content, DEFAULT_DAYS, Purpose, SanName, UserProfile, Validity, check_name,
};

/// The one file that cryptogen does not write: the MSP ID, so that the folder says who it is.
const MSP_ID_FILE: &str = "msp_id";

/// What an organisation runs, which decides where its folder lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Peers.
    Peer,
    /// Ordering nodes.
    Orderer,
}

impl Kind {
    /// Name of the folder that holds the organisations of this kind.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Peer => "peerOrganizations",
            Self::Orderer => "ordererOrganizations",
        }
    }
}

/// An organisation in its folder, such as `peerOrganizations/org1.example.com`.
#[derive(Debug)]
pub struct Organization {
    folder: PathBuf,
    domain: String,
    msp_id: MspId,
    signing: CertificateAuthority,
    tls: CertificateAuthority,
}

impl Organization {
    /// Makes an organisation in `dir/peerOrganizations/DOMAIN` or
    /// `dir/ordererOrganizations/DOMAIN`: both CAs and the MSP folder that others get of it.
    ///
    /// # Errors
    /// [`IssueError`]; an organisation that is there already is never overwritten.
    pub fn create(dir: &Path, msp_id: MspId, domain: &str, kind: Kind) -> Result<Self, IssueError> {
        check_name(domain)?;
        let folder = dir.join(kind.folder()).join(domain);
        let validity = Validity::days(now(), CA_DAYS);
        let authority = |kind: &str| {
            let name = format!("{kind}.{domain}");
            check_name(&name)?;
            CertificateAuthority::create(&folder.join(kind), domain, &name, validity)
        };
        let organization = Self {
            domain: domain.to_owned(),
            signing: authority("ca")?,
            tls: authority("tlsca")?,
            folder: folder.clone(),
            msp_id,
        };
        organization.write_msp(&folder.join("msp"))?;
        let id = format!("{}\n", organization.msp_id);
        files::write_public(&folder.join(MSP_ID_FILE), &id)?;
        Ok(organization)
    }

    /// Opens an organisation that [`Organization::create`] made.
    ///
    /// # Errors
    /// [`IssueError::NoOrganization`] if the folder does not say its MSP ID, as after Fabric's
    /// cryptogen: then use [`Organization::open_as`].
    pub fn open(folder: &Path) -> Result<Self, IssueError> {
        let Some(id) = files::read_optional(&folder.join(MSP_ID_FILE))? else {
            return Err(IssueError::NoOrganization {
                path: folder.to_owned(),
            });
        };
        let msp_id = MspId::parse(String::from_utf8_lossy(&id).trim())?;
        Self::open_as(folder, msp_id)
    }

    /// Opens an organisation's folder, also one that Fabric's cryptogen wrote.
    ///
    /// # Errors
    /// [`IssueError`] if a CA is missing or malformed.
    pub fn open_as(folder: &Path, msp_id: MspId) -> Result<Self, IssueError> {
        let signing = CertificateAuthority::open(&folder.join("ca"))?;
        let name = signing
            .certificate()
            .subject_common_name()
            .unwrap_or_default();
        let domain = name.strip_prefix("ca.").unwrap_or(name).to_owned();
        check_name(&domain)?;
        Ok(Self {
            folder: folder.to_owned(),
            tls: CertificateAuthority::open(&folder.join("tlsca"))?,
            domain,
            msp_id,
            signing,
        })
    }

    /// The organisation's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its domain, such as `org1.example.com`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Its MSP ID.
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// The folder that describes its MSP to others.
    pub fn msp_folder(&self) -> PathBuf {
        self.folder.join("msp")
    }

    /// The CA of identities.
    pub fn signing_ca(&self) -> &CertificateAuthority {
        &self.signing
    }

    /// The CA of TLS certificates.
    pub fn tls_ca(&self) -> &CertificateAuthority {
        &self.tls
    }

    /// Issues a peer, such as `peer0`: `peers/peer0.DOMAIN/{msp,tls}`. Returns its folder.
    ///
    /// # Errors
    /// [`IssueError`]; one that is there already is never overwritten.
    pub fn issue_peer(&self, name: &str) -> Result<PathBuf, IssueError> {
        self.issue_node("peers", name, NodeOu::Peer)
    }

    /// Issues an ordering node, such as `orderer`: `orderers/orderer.DOMAIN/{msp,tls}`. Returns
    /// its folder.
    ///
    /// # Errors
    /// [`IssueError`]; one that is there already is never overwritten.
    pub fn issue_orderer(&self, name: &str) -> Result<PathBuf, IssueError> {
        self.issue_node("orderers", name, NodeOu::Orderer)
    }

    /// Issues a user, such as `Admin`: `users/Admin@DOMAIN/{msp,tls}`. Returns the folder.
    ///
    /// # Errors
    /// [`IssueError`]; one that is there already is never overwritten.
    pub fn issue_user(&self, name: &str, profile: &UserProfile) -> Result<PathBuf, IssueError> {
        let full_name = format!("{name}@{}", self.domain);
        check_name(name)?;
        check_name(&full_name)?;
        let folder = self.folder.join("users").join(&full_name);
        let validity = profile.validity.unwrap_or_else(default_validity);
        let purpose = Purpose::Signing(profile.node_ou, profile.attributes.clone());
        self.write_local_msp(&folder.join("msp"), &full_name, purpose, validity)?;
        self.issue_tls(&full_name, Vec::new(), validity)?
            .write_client(&folder.join("tls"))?;
        Ok(folder)
    }

    /// Issues a TLS server's certificate under names and addresses; writes nothing.
    ///
    /// # Errors
    /// [`IssueError`] if a name is malformed.
    pub fn issue_tls_server(
        &self,
        name: &str,
        names: &[SanName],
    ) -> Result<KeyAndCert, IssueError> {
        self.issue_tls(name, names.to_vec(), default_validity())
    }

    /// Issues a device's certificate: the ID is its common name, the signing CA vouches for it,
    /// and it is good for TLS clients only. Writes nothing.
    ///
    /// # Errors
    /// [`IssueError`] if the ID is malformed or the validity outside the CA's.
    pub fn issue_device(
        &self,
        device_id: &str,
        validity: Option<Validity>,
    ) -> Result<KeyAndCert, IssueError> {
        let validity = validity.unwrap_or_else(default_validity);
        let content = self.content(device_id, Purpose::Device, validity)?;
        Ok(self.with_tls_ca(self.signing.issue(content)?))
    }

    /// Signs a user's or device's certificate signing request. Only the key is taken from it.
    ///
    /// # Errors
    /// [`IssueError::Request`] unless it is signed by the P-256 key that it holds.
    pub fn sign_csr(
        &self,
        request_pem: &str,
        common_name: &str,
        profile: &UserProfile,
    ) -> Result<Certificate, IssueError> {
        let validity = profile.validity.unwrap_or_else(default_validity);
        let purpose = Purpose::Signing(profile.node_ou, profile.attributes.clone());
        let content = self.content(common_name, purpose, validity)?;
        self.signing.certify_request(content, request_pem)
    }

    fn issue_node(&self, folder: &str, name: &str, node_ou: NodeOu) -> Result<PathBuf, IssueError> {
        let full_name = format!("{name}.{}", self.domain);
        check_name(name)?;
        check_name(&full_name)?;
        let folder = self.folder.join(folder).join(&full_name);
        let purpose = Purpose::Signing(node_ou, [].into());
        self.write_local_msp(&folder.join("msp"), &full_name, purpose, default_validity())?;
        let names = [&full_name, name, "localhost", "127.0.0.1", "::1"].map(SanName::parse);
        self.issue_tls_server(&full_name, &names)?
            .write_server(&folder.join("tls"))?;
        Ok(folder)
    }

    fn issue_tls(
        &self,
        common_name: &str,
        names: Vec<SanName>,
        validity: Validity,
    ) -> Result<KeyAndCert, IssueError> {
        let content = self.content(common_name, Purpose::Tls(names), validity)?;
        Ok(self.with_tls_ca(self.tls.issue(content)?))
    }

    pub(crate) fn content(
        &self,
        common_name: &str,
        purpose: Purpose,
        validity: Validity,
    ) -> Result<Content, IssueError> {
        check_name(common_name)?;
        Ok(Content {
            organization: self.domain.clone(),
            common_name: common_name.to_owned(),
            purpose,
            validity,
        })
    }

    fn with_tls_ca(&self, issued: (Certificate, Zeroizing<String>)) -> KeyAndCert {
        let (certificate, key_pem) = issued;
        KeyAndCert {
            certificate_pem: certificate.pem(),
            certificate,
            key_pem,
            tls_ca_pem: self.tls.certificate().pem(),
        }
    }

    /// What every MSP folder of the organisation holds.
    fn write_msp(&self, folder: &Path) -> Result<(), IssueError> {
        let ca_file = format!("ca.{}-cert.pem", self.domain);
        for (sub_folder, file, ca) in [
            ("cacerts", &ca_file, &self.signing),
            (
                "tlscacerts",
                &format!("tlsca.{}-cert.pem", self.domain),
                &self.tls,
            ),
        ] {
            let sub_folder = folder.join(sub_folder);
            files::create_folder(&sub_folder)?;
            files::write_public(&sub_folder.join(file), &ca.certificate().pem())?;
        }
        files::write_public(&folder.join("config.yaml"), &config_yaml(&ca_file))
    }

    /// The MSP folder of somebody who signs.
    fn write_local_msp(
        &self,
        folder: &Path,
        full_name: &str,
        purpose: Purpose,
        validity: Validity,
    ) -> Result<(), IssueError> {
        let (certificate, key_pem) = self
            .signing
            .issue(self.content(full_name, purpose, validity)?)?;
        self.write_msp(folder)?;
        files::create_private_folder(&folder.join("keystore"))?;
        files::write_private(&folder.join("keystore/priv_sk"), &key_pem)?;
        files::create_folder(&folder.join("signcerts"))?;
        let path = folder
            .join("signcerts")
            .join(format!("{full_name}-cert.pem"));
        files::write_public(&path, &certificate.pem())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn default_validity() -> Validity {
    Validity::days(now(), DEFAULT_DAYS)
}

fn config_yaml(ca_file: &str) -> String {
    let mut yaml = String::from("NodeOUs:\n    Enable: true\n");
    for (role, node_ou) in [
        ("Client", NodeOu::Client),
        ("Peer", NodeOu::Peer),
        ("Admin", NodeOu::Admin),
        ("Orderer", NodeOu::Orderer),
    ] {
        yaml.push_str(&format!(
            "    {role}OUIdentifier:\n        Certificate: cacerts/{ca_file}\n        \
             OrganizationalUnitIdentifier: {node_ou}\n"
        ));
    }
    yaml
}
