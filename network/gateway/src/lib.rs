//! Client of Hyperledger Fabric's Gateway service.
//!
//! A [`Gateway`] speaks for one identity to the peers of one organisation. Of its [`Network`]s
//! (channels) it gives [`Contract`]s, on which a [`Call`] is evaluated (asked, changing nothing)
//! or submitted (endorsed, ordered and waited for until the block is committed):
//!
//! ```no_run
//! # async fn example(identity: fabric_msp::SigningIdentity) -> Result<(), Box<dyn std::error::Error>> {
//! use fabric_gateway::{Call, Endpoint, Gateway, GatewayConfig};
//!
//! let roots = std::fs::read("tlsca.org1.example.com-cert.pem")?;
//! let endpoint = Endpoint::new("localhost:7051").server_name("peer0.org1.example.com");
//! let gateway = Gateway::connect(GatewayConfig::new([endpoint], roots), identity)?;
//! let contract = gateway.network("mychannel").contract("basic");
//! let assets = contract.evaluate(Call::new("GetAllAssets")).await?;
//! let committed = contract.submit(Call::new("DeleteAsset").argument("asset7")).await?;
//! println!("{} bytes, then block {}", assets.len(), committed.block_number);
//! # Ok(())
//! # }
//! ```
//!
//! What happens to a transaction whose outcome is not known is decided here, once: the same
//! envelope is asked about and sent again, which can commit at most once; a new endorsement is
//! made only when the old one is known to be void. See [`Contract::submit`].

pub use call::Call;
pub use config::{ClientTls, Deadlines, Endpoint, GatewayConfig};
pub use contract::{Committed, Contract, RetryPolicy};
pub use error::{
    CommitError, CommitStatusError, ConnectError, EndorseError, EvaluateError, EventsError,
    SubmitError, TransactionError,
};
pub use events::{
    BlockEvent, BlockEvents, ChaincodeEvent, ChaincodeEvents, Checkpoint, Checkpointer,
    FileCheckpointer, FilteredBlockEvent, FilteredBlockEvents, FilteredTransaction,
    InMemoryCheckpointer, Start,
};
pub use flow::{
    Commit, CommitStatus, Proposal, Transaction, UnsignedCommitStatus, UnsignedProposal,
    UnsignedTransaction,
};
pub use gateway::Gateway;
pub use network::Network;
pub use rpc_status::{PeerDetail, RpcCode, RpcStatus};
pub use validation_code::ValidationCode;

mod call;
mod config;
mod contract;
mod error;
mod events;
mod flow;
mod gateway;
mod network;
mod proposal;
mod rpc_status;
mod signer;
mod transaction;
mod transport;
mod validation_code;

#[cfg(test)]
mod tests;
