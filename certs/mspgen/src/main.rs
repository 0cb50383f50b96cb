//! The command `fabric-mspgen`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fabric_msp::{Certificate, MspId, NodeOu};
use fabric_mspgen::{Organization, SanName, UserProfile, Validity, cryptogen};

/// Issues Fabric certificates and writes the MSP folder layout.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a network as cryptogen does: peer organizations org1.example.com and so on, and
    /// the orderer organization example.com.
    Generate {
        /// Folder to write into.
        #[arg(long)]
        dir: PathBuf,
        /// Number of peer organizations.
        #[arg(long, default_value_t = 2)]
        orgs: usize,
    },
    /// Issues a user with attributes: users/NAME@DOMAIN/{msp,tls}.
    User {
        #[command(flatten)]
        org: Org,
        /// Name without domain.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        profile: Profile,
    },
    /// Issues a device's TLS client certificate: devices/ID/{ca.crt,client.crt,client.key}.
    Device {
        #[command(flatten)]
        org: Org,
        /// Device ID, which becomes the common name.
        #[arg(long)]
        id: String,
        /// Folder to write into instead.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Validity in days.
        #[arg(long)]
        days: Option<i64>,
    },
    /// Issues a TLS server's certificate: {ca.crt,server.crt,server.key}.
    Tls {
        #[command(flatten)]
        org: Org,
        /// Common name.
        #[arg(long)]
        name: String,
        /// Names and addresses of the server; repeat it.
        #[arg(long = "san", required = true)]
        sans: Vec<String>,
        /// Folder to write into.
        #[arg(long)]
        out: PathBuf,
    },
    /// Signs a certificate signing request and prints the certificate.
    Sign {
        #[command(flatten)]
        org: Org,
        /// File with the request as PEM.
        #[arg(long)]
        csr: PathBuf,
        /// Common name; the one in the request is disregarded.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        profile: Profile,
    },
    /// Adds certificates to the organization's revocation list, msp/crls/crl.pem.
    Revoke {
        #[command(flatten)]
        org: Org,
        /// File with a certificate; repeat it.
        #[arg(long = "certificate")]
        certificates: Vec<PathBuf>,
        /// Serial number in hex; repeat it.
        #[arg(long = "serial")]
        serials: Vec<String>,
    },
    /// Issues new certificates for the keys of a node or user.
    Renew {
        #[command(flatten)]
        org: Org,
        /// Folder of the node or user, such as peers/peer0.org1.example.com.
        #[arg(long)]
        folder: PathBuf,
        /// Validity in days.
        #[arg(long)]
        days: Option<i64>,
    },
}

#[derive(Debug, Args)]
struct Org {
    /// Folder of the organization, such as D/peerOrganizations/org1.example.com.
    #[arg(long = "org", id = "org", value_name = "FOLDER")]
    folder: PathBuf,
    /// Its MSP ID, for a folder that Fabric's cryptogen wrote.
    #[arg(long)]
    msp_id: Option<MspId>,
}

impl Org {
    fn open(&self) -> anyhow::Result<Organization> {
        Ok(match &self.msp_id {
            Some(msp_id) => Organization::open_as(&self.folder, msp_id.clone())?,
            None => Organization::open(&self.folder)?,
        })
    }
}

#[derive(Debug, Args)]
struct Profile {
    /// Role in the MSP.
    #[arg(long, value_enum, default_value_t = Role::Client)]
    role: Role,
    /// Attribute as NAME=VALUE; repeat it.
    #[arg(long = "attr", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Validity in days.
    #[arg(long)]
    days: Option<i64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Client,
    Peer,
    Admin,
    Orderer,
}

fn attribute(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("an attribute is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Profile {
    fn to_user(&self) -> UserProfile {
        UserProfile {
            node_ou: match self.role {
                Role::Client => NodeOu::Client,
                Role::Peer => NodeOu::Peer,
                Role::Admin => NodeOu::Admin,
                Role::Orderer => NodeOu::Orderer,
            },
            attributes: self.attributes.iter().cloned().collect::<BTreeMap<_, _>>(),
            validity: validity(self.days),
        }
    }
}

fn validity(days: Option<i64>) -> Option<Validity> {
    days.map(|days| Validity::days(time::OffsetDateTime::now_utc().unix_timestamp(), days))
}

fn main() -> anyhow::Result<()> {
    let lines = run(Cli::parse().command)?;
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    Ok(())
}

/// Runs a command and returns what it prints: the paths written, or a certificate.
fn run(command: Command) -> anyhow::Result<Vec<String>> {
    let show = |path: &Path| path.display().to_string();
    match command {
        Command::Generate { dir, orgs } => {
            let made = cryptogen(&dir, orgs)?;
            let all = made.peers.iter().chain(&made.orderers);
            Ok(all
                .map(|organization| show(organization.folder()))
                .collect())
        }
        Command::User { org, name, profile } => {
            let folder = org.open()?.issue_user(&name, &profile.to_user())?;
            Ok(vec![show(&folder)])
        }
        Command::Device { org, id, out, days } => {
            let issued = org.open()?.issue_device(&id, validity(days))?;
            let folder = out.unwrap_or_else(|| org.folder.join("devices").join(&id));
            issued.write_client(&folder)?;
            Ok(vec![show(&folder)])
        }
        Command::Tls {
            org,
            name,
            sans,
            out,
        } => {
            let names: Vec<_> = sans.iter().map(|san| SanName::parse(san)).collect();
            org.open()?
                .issue_tls_server(&name, &names)?
                .write_server(&out)?;
            Ok(vec![show(&out)])
        }
        Command::Sign {
            org,
            csr,
            name,
            profile,
        } => {
            let request =
                std::fs::read_to_string(&csr).with_context(|| format!("reading {}", show(&csr)))?;
            let certificate = org.open()?.sign_csr(&request, &name, &profile.to_user())?;
            Ok(vec![certificate.pem().trim_end().to_owned()])
        }
        Command::Revoke {
            org,
            certificates,
            mut serials,
        } => {
            for path in certificates {
                let pem =
                    std::fs::read(&path).with_context(|| format!("reading {}", show(&path)))?;
                serials.push(Certificate::from_pem(&pem)?.serial_hex());
            }
            anyhow::ensure!(!serials.is_empty(), "name a --certificate or a --serial");
            Ok(vec![show(&org.open()?.revoke(&serials)?)])
        }
        Command::Renew { org, folder, days } => {
            let renewed = org.open()?.renew(&folder, validity(days))?;
            Ok(renewed.iter().map(|path| show(path)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Runs a command line and returns what it prints.
    fn lines(line: &str) -> anyhow::Result<Vec<String>> {
        let words = ["fabric-mspgen"].into_iter().chain(line.split(' '));
        run(Cli::try_parse_from(words)?.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_works_on_what_generate_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().display();
        let written = lines(&format!("generate --dir {dir} --orgs 1")).unwrap();
        assert_eq!(written.len(), 2);
        let org = format!("--org {dir}/peerOrganizations/org1.example.com");
        let user = lines(&format!("user {org} --name nurse --attr a=b=c --days 2")).unwrap();
        let path = Path::new(&user[0]).join("msp/signcerts/nurse@org1.example.com-cert.pem");
        let certificate = Certificate::from_pem(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(certificate.attribute("a"), Some("b=c"));
        let days =
            (certificate.not_after() - certificate.not_before()) / fabric_mspgen::DAY_SECONDS;
        assert_eq!(days, 2);
        lines(&format!("device {org} --id d1")).unwrap();
        lines(&format!(
            "tls {org} --name oracle --san localhost --out {dir}/tls"
        ))
        .unwrap();
        let renewed = lines(&format!("renew {org} --folder {}", user[0])).unwrap();
        assert_eq!(renewed.len(), 2);
        let device = format!("{dir}/peerOrganizations/org1.example.com/devices/d1/client.crt");
        let list = lines(&format!("revoke {org} --certificate {device} --serial 0f")).unwrap();
        assert!(list[0].ends_with("msp/crls/crl.pem"));
    }

    #[test]
    fn mistakes_on_the_command_line_are_errors() {
        for line in [
            "",
            "user --name x",
            "user --org nowhere --name x --attr novalue",
            "user --org nowhere --name x",
            "revoke --org nowhere",
            "tls --org nowhere --name x --out y",
        ] {
            assert!(lines(line).is_err(), "{line}");
        }
    }
}
