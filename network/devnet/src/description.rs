//! What a running network says of itself: endpoints and files, as one JSON document.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// File in the network's folder that holds the last run's [`Control`].
const CONTROL_FILE: &str = "devnet.json";

/// Endpoints and files of a network; paths are absolute.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Name of the channel.
    pub channel: String,
    /// The ordering node.
    pub orderer: Endpoint,
    /// The organisations, each with its peer.
    pub organizations: Vec<OrganizationDescription>,
    /// Folder in cryptogen's layout.
    pub crypto_dir: PathBuf,
}

/// One organisation of a network.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct OrganizationDescription {
    /// Its MSP ID.
    pub msp_id: String,
    /// Its domain.
    pub domain: String,
    /// Its peer.
    pub peer: Endpoint,
    /// The folder that describes its MSP to others.
    pub msp_dir: PathBuf,
    /// The MSP folder of its admin, with the private key.
    pub admin_msp_dir: PathBuf,
}

/// Where a node listens and how to know it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Name in its TLS certificate.
    pub server_name: String,
    /// Certificate of the authority that issued its TLS certificate, PEM.
    pub tls_ca_file: PathBuf,
}

/// A run of a network: what it says of itself, and which process it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Process ID.
    pub pid: u32,
    /// When the process started, in the kernel's clock ticks since boot; an ID that was given
    /// to another process since then has another value.
    pub started: u64,
    /// What the network says of itself.
    pub network: Description,
}

impl Control {
    /// Reads the last run's; none when there was no run.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(CONTROL_FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes this process as the run of the network in `dir`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(dir: &Path, network: &Description) -> io::Result<()> {
        let pid = std::process::id();
        let control = Self {
            pid,
            started: process_start(pid).unwrap_or_default(),
            network: network.clone(),
        };
        let path = dir.join(CONTROL_FILE);
        let temporary = path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(&control)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    }

    /// Whether the process of this run is still the one with its process ID.
    #[must_use]
    pub fn is_running(&self) -> bool {
        process_start(self.pid).is_some_and(|started| started == self.started)
    }
}

/// Start time of a process that runs and is no zombie, field 22 of `/proc/PID/stat`.
fn process_start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_start(&stat)
}

fn parse_start(stat: &str) -> Option<u64> {
    // The second field is the name in parentheses, which may hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_start, process_start};

    #[test]
    fn start_time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 21";
        assert_eq!(parse_start(&format!("7 (a) b (c) {fields}")), Some(4242));
        assert_eq!(parse_start(&format!("7 (x) Z{}", &fields[1..])), None);
        assert_eq!(parse_start("nonsense"), None);
    }

    #[test]
    fn this_process_runs_and_an_impossible_one_does_not() {
        assert!(process_start(std::process::id()).is_some());
        assert!(process_start(u32::MAX).is_none());
    }
}
