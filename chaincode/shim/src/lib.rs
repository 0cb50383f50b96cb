//! Hyperledger Fabric chaincode in Rust.
//!
//! A contract is an `impl` block with [`macro@contract`] on it. Its functions get a [`Stub`],
//! through which they reach the ledger, and their arguments as Rust types. [`Chaincode`] gathers
//! contracts, [`Server`] offers them to peers as chaincode as a service, and
//! [`testing::MemoryLedger`] runs them in a test without a network.
//!
//! ```
//! use fabric_shim::{Chaincode, ContractError, Stub, contract};
//!
//! struct Greeter;
//!
//! #[contract(name = "greeter")]
//! impl Greeter {
//!     #[transaction(submit)]
//!     async fn set_greeting(&self, ctx: &Stub, text: String) -> Result<(), ContractError> {
//!         Ok(ctx.put_state("greeting", text).await?)
//!     }
//!
//!     #[transaction(evaluate)]
//!     async fn greet(&self, ctx: &Stub, name: String) -> Result<String, ContractError> {
//!         let text = ctx.get_state("greeting").await?.unwrap_or_default();
//!         Ok(format!("{}, {name}", String::from_utf8_lossy(&text)))
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! use fabric_shim::testing::{MemoryLedger, Tx};
//!
//! let chaincode = Chaincode::new().with(Greeter);
//! let ledger = MemoryLedger::new("mychannel");
//! ledger.invoke(&chaincode, Tx::submit("SetGreeting").argument("Salve")).await;
//! let answer = ledger.invoke(&chaincode, Tx::evaluate("greeter:Greet").argument("Ada")).await;
//! assert_eq!(answer.response.payload, b"Salve, Ada");
//! # });
//! ```
//!
//! Contracts MUST give equal results on every endorser: no clock, no random numbers, no order of
//! hash maps. Time is [`Stub::tx_timestamp`].

// The macros name this crate by its public name, also in its own tests.
#[cfg(test)]
extern crate self as fabric_shim;

pub use fabric_shim_macros::{ContractType, contract};

pub use chaincode::Chaincode;
pub use codec::{Codec, CodecError, Json};
pub use config::{Limits, ServerConfig, TlsConfig};
pub use contract::{
    Access, Contract, ContractError, Next, Target, TransactionInfo, TransactionResult,
};
pub use endorsement::{EndorserRole, KeyEndorsementPolicy, PolicyError};
pub use error::{
    ChaincodeError, ClientIdentityError, ConfigError, KeyError, ServerError, StubError,
    TransactionError,
};
pub use identity::ClientIdentity;
pub use key::{create_composite_key, split_composite_key};
pub use metadata::ContractType;
pub use response::{Response, STATUS_ERROR_THRESHOLD, STATUS_INTERNAL, STATUS_OK};
pub use server::Server;
pub use stub::{
    HistoryIterator, KeyModification, KeyValue, QueryIterator, QueryRecord, QueryResponseMetadata,
    StateIterator, Stub,
};
pub use transaction::{SignedProposal, Timestamp};

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod batch;
mod chaincode;
mod codec;
mod config;
mod contract;
mod endorsement;
mod error;
mod handler;
mod identity;
mod key;
mod link;
pub mod metadata;
mod response;
mod server;
mod stub;
pub mod testing;
mod transaction;

/// Certificates and signatures for contracts that check them themselves.
pub mod x509 {
    pub use fabric_msp::{
        Certificate, CertificateError, IdentityError, MspId, MspIdError, SignatureError, jws,
        parse_serialized_identity, serialized_identity,
    };
}
