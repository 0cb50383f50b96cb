//! Who takes part in a run: an oracle with its keys, staff, patients and their devices.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fabric_mspgen::{KeyAndCert, Organization, SanName, UserProfile};
use sealed_object::PrivateKey;
use serde_json::json;

use crate::{
    network::{NetworkInfo, OrganizationInfo},
    ports,
    system::CHAINCODE,
};

/// Names of the files of an encryption key pair.
const PRIVATE_KEY: &str = "private.jwk";
const PUBLIC_KEY: &str = "public.jwk";
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
        let folder = self.home.join("msp/signcerts");
        let entry = fs::read_dir(&folder)?
            .next()
            .with_context(|| format!("{} is empty", folder.display()))??;
        Ok(entry.path())
    }

    /// The public half of the encryption key, a JWK.
    #[must_use]
    pub fn public_key_file(&self) -> PathBuf {
        self.keys.join(PUBLIC_KEY)
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
    dir: PathBuf,
    organizations: Vec<OrganizationInfo>,
    rest_port: u16,
    mqtt_port: u16,
}

impl Consortium {
    /// Opens the consortium kept in `dir/consortium`, issuing the oracle's TLS certificates
    /// the first time.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a certificate not be issued.
    pub fn open(info: &NetworkInfo, dir: &Path) -> Result<Self> {
        let home = dir.join("consortium");
        fs::create_dir_all(&home)?;
        let [rest_port, mqtt_port] = ports::kept(dir, "oracle")?;
        let consortium = Self {
            dir: home,
            organizations: info.organizations.clone(),
            rest_port,
            mqtt_port,
        };
        for server in ["rest", "mqtt"] {
            let folder = consortium.dir.join(server);
            if !folder.join("server.key").is_file() {
                let names = ["localhost", "127.0.0.1"].map(SanName::parse);
                let issued = consortium
                    .organization(0)?
                    .issue_tls_server(server, &names)?;
                issued.write_server(&folder)?;
            }
        }
        Ok(consortium)
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
                ..UserProfile::default()
            };
            self.organization(organization)?
                .issue_user(name, &profile)?;
        }
        if !person.public_key_file().is_file() {
            write_keys(&person.keys)?;
        }
        self.write_profile(&person)?;
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

    /// The PEM file of the CA behind the oracle's TLS certificates.
    #[must_use]
    pub fn oracle_ca_file(&self) -> PathBuf {
        self.dir.join("rest/ca.crt")
    }

    /// Writes the oracle's configuration and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_oracle_config(&self, info: &NetworkInfo, ipfs_api: &str) -> Result<PathBuf> {
        let own = &self.organizations[0];
        let oracle = self.enrol("oracle1", 0, &[("salus.role", "oracle")])?;
        let organizations = self
            .organizations
            .iter()
            .map(|o| {
                format!(
                    "{{ msp_id = {}, msp_dir = {} }}",
                    quoted(&o.msp_id),
                    path(&o.msp_dir)
                )
            })
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!(
            "[organization]\n\
             msp_id = {msp_id}\n\n\
             [identity]\n\
             msp_dir = {msp_dir}\n\
             encryption_key_file = {key}\n\n\
             [fabric]\n\
             channel = {channel}\n\
             chaincode = {chaincode}\n\
             endpoints = [{{ address = {peer}, server_name = {peer_name} }}]\n\
             tls_ca_file = {tls_ca}\n\n\
             [ipfs]\n\
             api = {ipfs}\n\n\
             [mqtt]\n\
             listen = \"127.0.0.1:{mqtt_port}\"\n\
             certificate_file = {mqtt_cert}\n\
             key_file = {mqtt_key}\n\
             client_msp_dir = {device_msp}\n\n\
             [rest]\n\
             listen = \"127.0.0.1:{rest_port}\"\n\
             certificate_file = {rest_cert}\n\
             key_file = {rest_key}\n\
             organizations = [{organizations}]\n\
             open_for_readers = true\n\n\
             [journal]\n\
             dir = {journal}\n",
            msp_id = quoted(&own.msp_id),
            msp_dir = path(&oracle.home.join("msp")),
            key = path(&oracle.private_key_file()),
            channel = quoted(&info.channel),
            chaincode = quoted(CHAINCODE),
            peer = quoted(&own.peer.address),
            peer_name = quoted(&own.peer.server_name),
            tls_ca = path(&own.peer.tls_ca_file),
            ipfs = quoted(ipfs_api),
            mqtt_port = self.mqtt_port,
            mqtt_cert = path(&self.dir.join("mqtt/server.crt")),
            mqtt_key = path(&self.dir.join("mqtt/server.key")),
            device_msp = path(&own.msp_dir),
            rest_port = self.rest_port,
            rest_cert = path(&self.dir.join("rest/server.crt")),
            rest_key = path(&self.dir.join("rest/server.key")),
            journal = path(&self.dir.join("journal")),
        );
        let file = self.dir.join("oracle.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn write_profile(&self, person: &Person) -> Result<()> {
        let text = format!(
            "oracle_url = \"https://localhost:{}\"\n\
             oracle_ca_file = {}\n\
             msp_id = {}\n\
             msp_dir = {}\n\
             encryption_key_file = {}\n",
            self.rest_port,
            path(&self.oracle_ca_file()),
            quoted(&person.msp_id),
            path(&person.home.join("msp")),
            path(&person.private_key_file()),
        );
        fs::create_dir_all(self.dir.join("profiles"))?;
        fs::write(&person.profile, text)?;
        Ok(())
    }

    fn organization_dir(&self, number: usize) -> PathBuf {
        let msp = &self.organizations[number].msp_dir;
        msp.parent().unwrap_or(msp).to_owned()
    }
}

fn write_keys(folder: &Path) -> Result<()> {
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

fn quoted(text: &str) -> String {
    // A JSON string is a TOML basic string.
    json!(text).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}
