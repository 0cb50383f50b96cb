//! Who takes part in a run: oracles, staff, patients and their devices, with certificates and keys.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use contract_interface::ParticipantId;
use fabric_msp::SigningIdentity;
use fabric_mspgen::{KeyAndCert, Organization, UserProfile, Validity};
use salus::{key_proof, signing};
use sealed_object::PrivateKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    network::{NetworkInfo, OrganizationInfo},
    oracle::Custody,
};

/// Names of the files of an encryption key pair.
const PRIVATE_KEY: &str = "private.jwk";
const PUBLIC_KEY: &str = "public.jwk";
/// Name of the file with the proof of whose the key is.
const KEY_PROOF: &str = "proof.jws";
/// The oracle that profiles name unless said otherwise, of the first organisation.
pub const FIRST_ORACLE: &str = "oracle1";
/// The second organisation's oracle.
pub const SECOND_ORACLE: &str = "oracle2";
/// RSA modulus of encryption keys, in bits.
const KEY_BITS: usize = 3072;

/// Someone with a certificate of an organisation and an encryption key pair.
#[derive(Debug, Clone)]
pub struct Person {
    /// Name of the certificate, unique in the organisation.
    pub name: String,
    /// MSP ID of the organisation.
    pub msp_id: String,
    /// Folder with `msp/` and `tls/`.
    pub home: PathBuf,
    /// Folder with the encryption key pair.
    pub keys: PathBuf,
    /// The profile that the `salus` command is run with.
    pub profile: PathBuf,
}

impl Person {
    /// The signing certificate, PEM.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn certificate_file(&self) -> Result<PathBuf> {
        only_file(&self.home.join("msp/signcerts"))
    }

    /// The certificate of the CA that issued the certificate, PEM.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn issuer_file(&self) -> Result<PathBuf> {
        only_file(&self.home.join("msp/cacerts"))
    }

    /// The certificate and key that the person signs with.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn signing_identity(&self) -> Result<SigningIdentity> {
        let msp_id = self.msp_id.parse()?;
        Ok(SigningIdentity::from_msp_dir(
            msp_id,
            &self.home.join("msp"),
        )?)
    }

    /// The private encryption key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn private_key(&self) -> Result<PrivateKey> {
        let text = Zeroizing::new(fs::read_to_string(self.private_key_file())?);
        Ok(PrivateKey::from_jwk(&text)?)
    }

    /// The public half of the encryption key, a JWK.
    #[must_use]
    pub fn public_key_file(&self) -> PathBuf {
        self.keys.join(PUBLIC_KEY)
    }

    /// The proof that the encryption key is this person's, under the ID that it names.
    #[must_use]
    pub fn key_proof_file(&self) -> PathBuf {
        self.keys.join(KEY_PROOF)
    }

    /// The ledger ID under which the person's key is proven.
    ///
    /// # Errors
    /// When the proof cannot be read.
    pub fn proven_id(&self) -> Result<ParticipantId> {
        let proof = fs::read_to_string(self.key_proof_file())?;
        Ok(key_proof::statement(&proof)?.participant_id())
    }

    /// The private half of the encryption key, a JWK that only the owner may read.
    #[must_use]
    pub fn private_key_file(&self) -> PathBuf {
        self.keys.join(PRIVATE_KEY)
    }
}

/// A device's certificate and key.
#[derive(Debug, Clone)]
pub struct Device {
    /// The device ID, which is its certificate's common name.
    pub id: String,
    /// Folder with `ca.crt`, `client.crt` and `client.key`.
    pub home: PathBuf,
}

impl Device {
    /// One of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }
}

/// The organisations' people, devices and oracle, in one folder.
#[derive(Debug, Clone)]
pub struct Consortium {
    pub(crate) dir: PathBuf,
    pub(crate) organizations: Vec<OrganizationInfo>,
    run_dir: PathBuf,
    custody: Custody,
}

impl Consortium {
    /// Opens the consortium kept in `dir/consortium`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(info: &NetworkInfo, dir: &Path) -> Result<Self> {
        let home = dir.join("consortium");
        fs::create_dir_all(&home)?;
        Ok(Self {
            dir: home,
            organizations: info.organizations.clone(),
            run_dir: dir.to_owned(),
            custody: Custody::default(),
        })
    }

    /// Says who holds the keys of patients' records, for the profiles that are written from now.
    #[must_use]
    pub fn with_custody(mut self, custody: Custody) -> Self {
        self.custody = custody;
        self
    }

    /// The folder of the whole run.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Issues a certificate with attributes and an encryption key pair to someone of an
    /// organisation (0 is the oracle's), and writes a `salus` profile; returns what is there when
    /// the name was enrolled before.
    ///
    /// # Errors
    /// When a file cannot be written or a certificate not be issued.
    pub fn enrol(
        &self,
        name: &str,
        organization: usize,
        attributes: &[(&str, &str)],
    ) -> Result<Person> {
        self.enrol_for(name, organization, attributes, None)
    }

    /// Enrols as [`Consortium::enrol`], with a certificate valid for a time of the caller's choice.
    ///
    /// # Errors
    /// As [`Consortium::enrol`].
    pub fn enrol_for(
        &self,
        name: &str,
        organization: usize,
        attributes: &[(&str, &str)],
        validity: Option<Validity>,
    ) -> Result<Person> {
        let person = self.certify(name, organization, attributes, validity)?;
        if !person.public_key_file().is_file() {
            write_keys(&person.keys)?;
        }
        if !person.key_proof_file().is_file() {
            prove_key(&person)?;
        }
        self.write_profile(&person, FIRST_ORACLE)?;
        Ok(person)
    }

    fn certify(
        &self,
        name: &str,
        organization: usize,
        attributes: &[(&str, &str)],
        validity: Option<Validity>,
    ) -> Result<Person> {
        let info = &self.organizations[organization];
        let person = Person {
            name: name.to_owned(),
            msp_id: info.msp_id.clone(),
            home: self
                .organization_dir(organization)
                .join(format!("users/{name}@{}", info.domain)),
            keys: self.dir.join("keys").join(name),
            profile: self.dir.join("profiles").join(format!("{name}.toml")),
        };
        if !person.home.join("msp/keystore").is_dir() {
            let attributes: BTreeMap<String, String> = attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let profile = UserProfile {
                attributes,
                validity,
                ..UserProfile::default()
            };
            self.organization(organization)?
                .issue_user(name, &profile)?;
        }
        Ok(person)
    }

    /// The ledger ID that someone was registered under before.
    #[must_use]
    pub fn known_id(&self, person: &Person) -> Option<String> {
        fs::read_to_string(self.dir.join("ids").join(&person.name)).ok()
    }

    /// Keeps someone's ledger ID for the next run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_id(&self, person: &Person, id: &str) -> Result<()> {
        fs::create_dir_all(self.dir.join("ids"))?;
        Ok(fs::write(self.dir.join("ids").join(&person.name), id)?)
    }

    /// Issues a device's certificate; returns what is there when it was issued before.
    ///
    /// # Errors
    /// When a file cannot be written or the certificate not be issued.
    pub fn device(&self, id: &str) -> Result<Device> {
        let device = Device {
            id: id.to_owned(),
            home: self.dir.join("devices").join(id),
        };
        if !device.file("client.key").is_file() {
            let issued: KeyAndCert = self.organization(0)?.issue_device(id, None)?;
            issued.write_client(&device.home)?;
        }
        Ok(device)
    }

    /// An organisation's certificate authorities.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn organization(&self, number: usize) -> Result<Organization> {
        Ok(Organization::open(&self.organization_dir(number))?)
    }

    /// The PEM file of the CA behind the first oracle's TLS certificates.
    #[must_use]
    pub fn oracle_ca_file(&self) -> PathBuf {
        self.oracle_home(FIRST_ORACLE).join("rest/ca.crt")
    }

    /// Issues an oracle's certificate and encryption key pair.
    ///
    /// # Errors
    /// When a file cannot be written or a certificate not be issued.
    pub fn enrol_oracle(&self, name: &str, organization: usize) -> Result<Person> {
        self.enrol(name, organization, &[("salus.role", "oracle")])
    }

    /// Issues an oracle's certificate, and no encryption keys: for one that only takes readings in.
    ///
    /// # Errors
    /// When a file cannot be written or a certificate not be issued.
    pub fn certify_oracle(&self, name: &str, organization: usize) -> Result<Person> {
        self.certify(name, organization, &[("salus.role", "oracle")], None)
    }

    /// Writes a `salus` profile with which someone calls another oracle than the first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn profile_at(&self, person: &Person, oracle: &str) -> Result<Person> {
        let folder = self.dir.join("profiles").join(oracle);
        let profile = folder.join(format!("{}.toml", person.name));
        let person = Person {
            profile,
            ..person.clone()
        };
        self.write_profile(&person, oracle)?;
        Ok(person)
    }

    fn write_profile(&self, person: &Person, oracle: &str) -> Result<()> {
        let text = format!(
            "oracle_url = \"https://localhost:{}\"\n\
             oracle_ca_file = {}\n\
             msp_id = {}\n\
             msp_dir = {}\n\
             encryption_key_file = {}\n\
             custody = \"{}\"\n\
             anchors = [{}]\n",
            self.rest_port(oracle)?,
            path(&self.oracle_home(oracle).join("rest/ca.crt")),
            quoted(&person.msp_id),
            path(&person.home.join("msp")),
            path(&person.private_key_file()),
            self.custody.as_str(),
            self.anchors().join(", "),
        );
        if let Some(folder) = person.profile.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&person.profile, text)?;
        Ok(())
    }

    /// The organisations' CAs, as a profile names them.
    fn anchors(&self) -> Vec<String> {
        let anchors = self.organizations.iter();
        anchors
            .map(|info| quoted(&format!("{}={}", info.msp_id, info.msp_dir.display())))
            .collect()
    }

    fn organization_dir(&self, number: usize) -> PathBuf {
        let msp = &self.organizations[number].msp_dir;
        msp.parent().unwrap_or(msp).to_owned()
    }
}

/// Writes the proof that the encryption key is the person's, under a new ID.
fn prove_key(person: &Person) -> Result<()> {
    let key = serde_json::from_slice(&fs::read(person.public_key_file())?)?;
    let id = ParticipantId::from_bytes(signing::random()?);
    let proof = key_proof::sign(&person.signing_identity()?, id, &key)?;
    fs::write(person.key_proof_file(), proof)?;
    Ok(())
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder)?
        .next()
        .with_context(|| format!("{} is empty", folder.display()))??;
    Ok(entry.path())
}

/// Makes an encryption key pair in a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write_keys(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let key = PrivateKey::generate(KEY_BITS)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(PRIVATE_KEY))?;
    file.write_all(key.to_jwk().as_bytes())?;
    fs::write(folder.join(PUBLIC_KEY), key.public_key().to_jwk())?;
    Ok(())
}

pub(crate) fn quoted(text: &str) -> String {
    // A JSON string is a TOML basic string.
    json!(text).to_string()
}

pub(crate) fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}
