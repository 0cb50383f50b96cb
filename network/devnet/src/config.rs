//! What a network is made of and where it listens.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Organisations of a network unless told otherwise.
pub const DEFAULT_ORGANIZATIONS: usize = 2;
/// Most organisations of one network.
pub const ORGANIZATIONS_MAX: usize = 50;
/// Channel name unless told otherwise.
pub const DEFAULT_CHANNEL: &str = "mychannel";
/// Port of the first peer unless told otherwise; the next ones are [`PORT_STEP`] apart.
pub const DEFAULT_PEER_PORT: u16 = 7051;
/// Distance between the default ports of two peers.
pub const PORT_STEP: u16 = 2000;
/// Port of the orderer unless told otherwise.
pub const DEFAULT_ORDERER_PORT: u16 = 7050;
/// How long an envelope waits for company unless told otherwise.
pub const DEFAULT_BATCH_TIMEOUT: Duration = Duration::from_millis(2);
/// Envelopes in a block unless told otherwise.
pub const DEFAULT_BATCH_MESSAGES: u32 = 500;
/// How long a chaincode may run unless told otherwise; Fabric's value.
pub const DEFAULT_EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a network in one process.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Folder of everything the network keeps.
    pub dir: PathBuf,
    /// Number of organisations; that of the existing crypto material, or
    /// [`DEFAULT_ORGANIZATIONS`], when absent.
    pub organizations: Option<usize>,
    /// Name of the channel.
    pub channel: String,
    /// Address to listen on.
    pub listen: IpAddr,
    /// Ports of the peers in the order of their organisations, 0 for any. Absent or too few:
    /// those of the last run, else the defaults.
    pub peer_ports: Vec<u16>,
    /// Port of the orderer, 0 for any. Absent: that of the last run, else the default.
    pub orderer_port: Option<u16>,
    /// How long an envelope waits for company before a block is cut.
    pub batch_timeout: Duration,
    /// Envelopes after which a block is cut at once.
    pub batch_messages: u32,
    /// How long a chaincode may take for one proposal.
    pub execute_timeout: Duration,
    /// How far a proposal's time may be off; unchecked when absent, as in test-network.
    pub time_window: Option<Duration>,
}

impl NetworkConfig {
    /// The default network, kept in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            organizations: None,
            channel: DEFAULT_CHANNEL.to_owned(),
            listen: IpAddr::from([127, 0, 0, 1]),
            peer_ports: Vec::new(),
            orderer_port: None,
            batch_timeout: DEFAULT_BATCH_TIMEOUT,
            batch_messages: DEFAULT_BATCH_MESSAGES,
            execute_timeout: DEFAULT_EXECUTE_TIMEOUT,
            time_window: None,
        }
    }

    pub(crate) fn crypto_dir(&self) -> PathBuf {
        self.dir.join("crypto")
    }
}
