//! A chaincode's definition, as the transaction that committed it has it.

use fabric_protos::lifecycle::{CommitChaincodeDefinitionArgs, StateData, state_data};
use prost::Message as _;

use super::config::ChannelConfig;
use super::error::{BlockError, malformed};
use super::transaction::{Transaction, Version};
use crate::identity::ValidIdentity;

/// System chaincode that keeps definitions, and the namespace it writes.
const LIFECYCLE: &str = "_lifecycle";
/// Its function that puts a definition in force.
const COMMIT: &[u8] = b"CommitChaincodeDefinition";
/// The policy for its transactions.
const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";
/// The one validation that is known here; an empty name means it too.
const DEFAULT_VALIDATION: &str = "vscc";

/// The definition of a chaincode on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaincodeDefinition {
    /// The chaincode's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Counts the chaincode's definitions.
    pub sequence: i64,
    /// The endorsement policy: bytes of a `protos.ApplicationPolicy`, empty for the default.
    pub validation_parameter: Vec<u8>,
}

impl ChaincodeDefinition {
    /// Where the definition was written that was in force when `transaction` was endorsed: every
    /// call of a chaincode reads its sequence number.
    pub fn read_by(transaction: &Transaction) -> Option<Version> {
        transaction.public_read(LIFECYCLE, &sequence_key(transaction.chaincode()))
    }

    /// The definition that a transaction put in force.
    ///
    /// # Errors
    /// [`BlockError::Malformed`] if it put none in force, or one that is validated in a way that
    /// is not known here.
    pub fn committed_by(transaction: &Transaction) -> Result<Self, BlockError> {
        let what = || malformed("commit of a chaincode definition");
        let [function, arguments] = transaction.arguments() else {
            return Err(what());
        };
        if transaction.chaincode() != LIFECYCLE || function != COMMIT {
            return Err(what());
        }
        let committed = CommitChaincodeDefinitionArgs::decode(arguments.as_slice());
        let committed = committed.map_err(|_| what())?;
        // What was asked for is what took effect: the peers endorsed this very write.
        let written = transaction.public_write(LIFECYCLE, &sequence_key(&committed.name));
        let written = written.and_then(|bytes| StateData::decode(bytes).ok()?.r#type);
        if written != Some(state_data::Type::Int64(committed.sequence)) {
            return Err(what());
        }
        if !["", DEFAULT_VALIDATION].contains(&committed.validation_plugin.as_str()) {
            return Err(malformed("chaincode definition: unknown validation"));
        }
        Ok(Self {
            name: committed.name,
            version: committed.version,
            sequence: committed.sequence,
            validation_parameter: committed.validation_parameter,
        })
    }
}

impl ChannelConfig {
    /// Evaluates the policy for commits of chaincode definitions.
    ///
    /// # Errors
    /// As [`ChannelConfig::evaluate`].
    pub fn evaluate_lifecycle(&self, signers: &[ValidIdentity]) -> Result<(), BlockError> {
        self.evaluate(LIFECYCLE_ENDORSEMENT, signers)
    }
}

fn sequence_key(chaincode: &str) -> String {
    format!("namespaces/fields/{chaincode}/Sequence")
}
