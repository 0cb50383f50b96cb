//! What is wrong with a block.

use crate::error::{MspError, SignatureError};

/// A block, a part of it, or the channel's configuration in it that does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Longer than [`super::MAX_BLOCK_BYTES`].
    #[error("block of {bytes} bytes is longer than allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are not what they should be.
    #[error("malformed {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
    },
    /// The envelopes are not those that the header commits to.
    #[error("data of block {number} does not have the hash in its header")]
    DataHash {
        /// The block.
        number: u64,
    },
    /// A header does not follow the one before it.
    #[error("header {number} does not follow the header before it")]
    Chain {
        /// The header that does not.
        number: u64,
    },
    /// The block has no such transaction.
    #[error("block {number} has no transaction {transaction}")]
    NoTransaction {
        /// The block.
        number: u64,
        /// Its ID or place.
        transaction: String,
    },
    /// The transaction ID is not the hash of nonce and creator.
    #[error("transaction ID {tx_id} does not belong to its nonce and creator")]
    TransactionId {
        /// The ID.
        tx_id: String,
    },
    /// The endorsers signed for another proposal.
    #[error("the endorsed response belongs to another proposal than transaction {tx_id}")]
    ProposalHash {
        /// The transaction.
        tx_id: String,
    },
    /// An identity is not valid on the channel.
    #[error("{who}: {source}")]
    Identity {
        /// In which part it stands.
        who: &'static str,
        /// What its MSP says.
        #[source]
        source: MspError,
    },
    /// A signature does not hold.
    #[error("{who}: {source}")]
    Signature {
        /// Whose.
        who: String,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// An endorser is no peer.
    #[error("endorser {subject} of {msp_id} is no peer")]
    NotPeer {
        /// Subject of its certificate.
        subject: String,
        /// Its MSP.
        msp_id: String,
    },
    /// The configuration holds no such policy.
    #[error("the channel has no policy {path}")]
    NoPolicy {
        /// Path of the policy.
        path: String,
    },
    /// A policy cannot be evaluated.
    #[error("malformed policy: {reason}")]
    Policy {
        /// Why.
        reason: &'static str,
    },
    /// Those who signed are not enough.
    #[error("policy {path} is not satisfied by {}", names(signers))]
    NotSatisfied {
        /// Path of the policy, or what it governs.
        path: String,
        /// MSPs of the signatures that hold.
        signers: Vec<String>,
    },
    /// An MSP of the configuration cannot be set up.
    #[error("MSP of the configuration: {source}")]
    Msp {
        /// Why.
        #[source]
        source: MspError,
    },
}

fn names(signers: &[String]) -> String {
    match signers {
        [] => "nobody's valid signature".to_owned(),
        signers => signers.join(", "),
    }
}

pub(super) fn malformed(what: &'static str) -> BlockError {
    BlockError::Malformed { what }
}
