//! What can go wrong in the ledger: with the disk, and in a simulation.

use std::path::PathBuf;

use thiserror::Error;

use super::version::{DisplayVersion, Version};
use crate::genesis::ConfigError;

/// The ledger of a channel cannot be read or written.
///
/// After an error of [`Channel::commit`](super::Channel::commit) the process has to stop: what is
/// on disk is then known only after reading it again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The folder already holds a ledger.
    #[error("{} already holds a ledger", path.display())]
    Exists {
        /// The block log that is there.
        path: PathBuf,
    },
    /// The file is not a block log of this format.
    #[error("{} is not a block log of this version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The block log is damaged before its end, which no crash can cause.
    #[error("block log {} is damaged at offset {offset}: {reason}", path.display())]
    Damaged {
        /// The block log.
        path: PathBuf,
        /// Where the damaged record starts, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Block 0 is not a channel configuration.
    #[error("block 0 is not a channel configuration")]
    Genesis(#[from] ConfigError),
    /// A block does not follow the last one.
    #[error("block {number} does not follow the last block, {expected} is next")]
    OutOfOrder {
        /// Number of the block.
        number: u64,
        /// Number wanted.
        expected: u64,
    },
    /// A block names another predecessor or its data hash is wrong.
    #[error("block {number} does not chain to the last block")]
    BrokenChain {
        /// Number of the block.
        number: u64,
    },
    /// An earlier commit failed; only a restart tells what is on disk.
    #[error("an earlier commit failed, the ledger takes no more blocks")]
    Poisoned,
    /// Too much private data waits to be ordered.
    #[error("store of private data awaiting ordering is full ({bytes_max} bytes)")]
    TransientStoreFull {
        /// The limit.
        bytes_max: u64,
    },
}

/// Why the ledger refuses a chaincode's request. The texts are Fabric's: chaincode and clients
/// see them, and some match on them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// A write after a query over private data.
    #[error(
        "txid [{tx_id}]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed"
    )]
    WriteAfterPrivateQuery {
        /// The transaction.
        tx_id: String,
    },
    /// A query over private data after a write.
    #[error(
        "txid [{tx_id}]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    )]
    PrivateQueryAfterWrite {
        /// The transaction.
        tx_id: String,
    },
    /// A write after a paginated query.
    #[error(
        "txid [{tx_id}]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    )]
    WriteAfterPaginatedQuery {
        /// The transaction.
        tx_id: String,
    },
    /// A paginated query after a write.
    #[error(
        "txid [{tx_id}]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    )]
    PaginatedQueryAfterWrite {
        /// The transaction.
        tx_id: String,
    },
    /// The chaincode has no collections because it is not defined.
    #[error(
        "collection config not defined for chaincode [{namespace}], pass the collection configuration upon chaincode definition/instantiation"
    )]
    CollectionsNotDefined {
        /// The chaincode.
        namespace: String,
    },
    /// The chaincode has no such collection.
    #[error(
        "collection [{collection}] not defined in the collection config for chaincode [{namespace}]"
    )]
    UnknownCollection {
        /// The chaincode.
        namespace: String,
        /// The collection.
        collection: String,
    },
    /// The peer does not hold the private value whose hash is on the channel.
    #[error(
        "private data matching public hash version is not available. Public hash version = {}, Private data version = {}",
        DisplayVersion(*hash_version),
        DisplayVersion(*private_version)
    )]
    PrivateDataNotAvailable {
        /// Version of the hash.
        hash_version: Option<Version>,
        /// Version of the value this peer has.
        private_version: Option<Version>,
    },
    /// Only members may read the collection, and the creator is none.
    #[error(
        "tx creator does not have read access permission on privatedata in chaincodeName:{namespace} collectionName: {collection}"
    )]
    NoReadAccess {
        /// The chaincode.
        namespace: String,
        /// The collection.
        collection: String,
    },
    /// Only members may write to the collection, and the creator is none.
    #[error(
        "tx creator does not have write access permission on privatedata in chaincodeName:{namespace} collectionName: {collection}"
    )]
    NoWriteAccess {
        /// The chaincode.
        namespace: String,
        /// The collection.
        collection: String,
    },
    /// The state database has no query language.
    #[error("ExecuteQuery not supported for leveldb")]
    QueriesNotSupported,
    /// The scan was closed or never opened.
    #[error("query iterator not found")]
    UnknownScan,
    /// A stored value cannot be decoded, or a block cannot be read back.
    #[error("{what} of key [{key}] in namespace [{namespace}] is not readable")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// The chaincode.
        namespace: String,
        /// The key.
        key: String,
    },
}
