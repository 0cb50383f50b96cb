//! Peers of the organisation's own.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// Rewrite a stopped peer's LevelDB files without what was deleted.
    ///
    /// A peer deletes an erased record's keys and metadata by its block, but LevelDB keeps deleted
    /// bytes in its files until it happens to compact them. This ends them: stop the peer, run it on
    /// the peer's data folder, start the peer again. What the peer holds stays as it is. It may be
    /// interrupted and run again at any time; it refuses while the peer runs. It needs room on the
    /// disk for one more copy of the peer's biggest data base.
    ///
    /// Where the state data base is CouchDB, compact that with its own `POST /DATABASE/_compact`.
    Compact(PeersCompact),
}

#[derive(Debug, Args)]
pub(crate) struct PeersCompact {
    /// The peer's data folder: `peer.fileSystemPath`, often /var/hyperledger/production.
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
}
