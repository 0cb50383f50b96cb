//! What can be wrong with a channel configuration.

use fabric_msp::MspError;
use thiserror::Error;

use crate::policy::PolicyParseError;

/// Why no block 0 can be written for a network.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// An MSP ID does not fit into a policy.
    #[error("MSP ID cannot be named in a policy")]
    Policy(#[from] PolicyParseError),
    /// Two organisations have the same MSP ID.
    #[error("MSP ID {msp_id} is used twice")]
    DuplicateMsp {
        /// The MSP ID.
        msp_id: String,
    },
    /// The channel name is not one Fabric would take.
    #[error(
        "channel name '{channel_id}' is not 1 to 249 lower-case letters, digits, dots and dashes beginning with a letter"
    )]
    ChannelName {
        /// The name.
        channel_id: String,
    },
}

/// Why a block is not a channel configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Some message in the block cannot be decoded.
    #[error("{part} of the configuration block cannot be decoded")]
    Decode {
        /// Which message.
        part: &'static str,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// Something is not there.
    #[error("configuration block has no {part}")]
    Missing {
        /// What is missing.
        part: &'static str,
    },
    /// The block holds a transaction of another kind.
    #[error("block does not hold one configuration transaction")]
    NotConfig,
    /// An MSP in the configuration is malformed.
    #[error("MSP of group {group} is malformed")]
    Msp {
        /// Name of the group.
        group: String,
        /// Why.
        #[source]
        source: MspError,
    },
}
