//! CouchDB servers that hold the state of real peers, one server for each peer, since Fabric names
//! a database by its channel and not by its peer. They are given, not started.

use std::{env, fmt, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context, Result, bail, ensure};
use zeroize::Zeroizing;

use crate::{
    binaries,
    process::{Spec, run},
};

/// Lists the servers as `http://USER:PASSWORD@HOST:PORT`, separated by commas, in the order of the
/// organisations. User and password stand as they are, not percent-encoded.
pub const COUCHDB_VAR: &str = "SALUS_COUCHDB";

/// One server, and the administrator's name and password there.
#[derive(Clone)]
pub struct CouchDb {
    address: String,
    user: String,
    password: Zeroizing<String>,
}

impl fmt::Debug for CouchDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CouchDb({} as {})", self.address, self.user)
    }
}

impl CouchDb {
    /// The servers that the environment lists; none when it says nothing.
    ///
    /// # Errors
    /// When an entry is no such URL.
    pub fn listed() -> Result<Vec<Self>> {
        let list = Zeroizing::new(env::var(COUCHDB_VAR).unwrap_or_default());
        let entries = list.split(',').map(str::trim).filter(|url| !url.is_empty());
        entries
            .zip(1..)
            .map(|(url, number)| {
                // The entry itself holds a password: it is not quoted.
                Self::parse(url).with_context(|| {
                    format!("entry {number} of {COUCHDB_VAR} is not http://USER:PASSWORD@HOST:PORT")
                })
            })
            .collect()
    }

    fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = rest.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':')?;
        let (host, port) = address.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        if host.is_empty() || host.contains('/') || user.is_empty() || password.is_empty() {
            return None;
        }
        Some(Self {
            address: address.to_owned(),
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        })
    }

    /// Has a peer keep its state here.
    pub(super) fn told_to(&self, peer: Spec) -> Spec {
        const SETTINGS: &str = "CORE_LEDGER_STATE_COUCHDBCONFIG";
        peer.env("CORE_LEDGER_STATE_STATEDATABASE", "CouchDB")
            .env(format!("{SETTINGS}_COUCHDBADDRESS"), &self.address)
            .env(format!("{SETTINGS}_USERNAME"), &self.user)
            .env(format!("{SETTINGS}_PASSWORD"), self.password.as_str())
    }

    /// Checks that nobody's data are here, ours of an earlier run neither: a new peer would take
    /// them for its own.
    ///
    /// # Errors
    /// When there are any, or the server does not answer.
    pub(super) async fn check_empty(&self) -> Result<()> {
        let databases = self.databases().await?;
        ensure!(
            databases.is_empty(),
            "the CouchDB server at {} must be empty for a new network and holds {}",
            self.address,
            databases.join(", ")
        );
        Ok(())
    }

    /// The names of its databases but its own.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn databases(&self) -> Result<Vec<String>> {
        let answer = self.ask("GET", "_all_dbs").await?;
        let mut names: Vec<String> = serde_json::from_str(&answer)
            .with_context(|| format!("{} answered: {answer}", self.address))?;
        names.retain(|name| !name.starts_with('_'));
        Ok(names)
    }

    /// Deletes all databases but its own: those of a network that was started on it when it was
    /// empty, and has ended.
    ///
    /// # Errors
    /// When it does not answer or refuses.
    pub async fn clear(&self) -> Result<()> {
        for name in self.databases().await? {
            self.ask("DELETE", &escaped(&name)).await?;
        }
        Ok(())
    }

    /// Asks with `curl`, whose command line others can see: the password goes by a file.
    async fn ask(&self, method: &str, path: &str) -> Result<String> {
        let Some(curl) = binaries::outside("curl") else {
            bail!("asking a CouchDB server needs curl");
        };
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("curl");
        self.write_credentials(&config)?;
        let spec = Spec::new("curl", &curl, dir.path())
            .arg("--silent")
            .arg("--show-error")
            .arg("--fail")
            .option("--noproxy", "*")
            .option("--request", method)
            .option("--config", &config)
            .arg(format!("http://{}/{path}", self.address));
        run(spec).await
    }

    fn write_credentials(&self, file: &Path) -> Result<()> {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        let line = Zeroizing::new(format!(
            "user = \"{}:{}\"\n",
            quoted(&self.user),
            quoted(&self.password)
        ));
        file.write_all(line.as_bytes())?;
        Ok(())
    }
}

/// A database's name as part of a URL's path.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => path.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let server = CouchDb::parse("http://admin:a:b@c@127.0.0.1:5984/").unwrap();
        assert_eq!(server.address, "127.0.0.1:5984");
        assert_eq!(server.user, "admin");
        assert_eq!(server.password.as_str(), "a:b@c");
    }

    #[test]
    fn what_no_peer_could_use_is_refused() {
        for url in [
            "https://admin:secret@127.0.0.1:5984",
            "http://127.0.0.1:5984",
            "http://admin@127.0.0.1:5984",
            "http://admin:@127.0.0.1:5984",
            "http://:secret@127.0.0.1:5984",
            "http://admin:secret@127.0.0.1",
            "http://admin:secret@127.0.0.1:5984/prefix",
            "http://admin:secret@:5984",
        ] {
            assert!(CouchDb::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("my_salus$$p(x)"), "my_salus%24%24p%28x%29");
    }
}
