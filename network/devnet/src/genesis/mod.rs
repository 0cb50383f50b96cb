//! The configuration of a channel: written as block 0, read back from it.
//!
//! Block 0 is what `configtxgen` would write for Fabric's test-network with these organisations,
//! so that Fabric's own tools, clients and peers read it. Two things differ: the consenter of the
//! Raft cluster of one has no TLS certificates in its entry, and there is no consortium.

mod block;
mod config;
mod error;
#[cfg(test)]
mod tests;

pub use block::{BatchProfile, NetworkProfile, OrdererProfile, OrganizationProfile, genesis_block};
pub use config::ChannelConfig;
pub use error::{ConfigError, GenesisError};

/// Name of a group, value or policy of the channel configuration.
mod key {
    pub(super) const APPLICATION: &str = "Application";
    pub(super) const ORDERER: &str = "Orderer";
    pub(super) const READERS: &str = "Readers";
    pub(super) const WRITERS: &str = "Writers";
    pub(super) const ADMINS: &str = "Admins";
    pub(super) const ENDORSEMENT: &str = "Endorsement";
    pub(super) const LIFECYCLE_ENDORSEMENT: &str = "LifecycleEndorsement";
    pub(super) const BLOCK_VALIDATION: &str = "BlockValidation";
    pub(super) const MSP: &str = "MSP";
    pub(super) const CAPABILITIES: &str = "Capabilities";
    pub(super) const ANCHOR_PEERS: &str = "AnchorPeers";
    pub(super) const ENDPOINTS: &str = "Endpoints";
    pub(super) const BATCH_SIZE: &str = "BatchSize";
    pub(super) const BATCH_TIMEOUT: &str = "BatchTimeout";
    pub(super) const CONSENSUS_TYPE: &str = "ConsensusType";
    pub(super) const CHANNEL_RESTRICTIONS: &str = "ChannelRestrictions";
    pub(super) const HASHING_ALGORITHM: &str = "HashingAlgorithm";
    pub(super) const BLOCK_DATA_HASHING: &str = "BlockDataHashingStructure";
}
