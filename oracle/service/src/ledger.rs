//! The channel as the oracle sees it: one typed call per transaction of the contracts.
//!
//! Nothing above this module knows transaction names, transient fields or gRPC. Queries are
//! *evaluated*: they answer questions and release nothing. Everything that changes the ledger is
//! *submitted*, and a call returns only after its commit was `VALID`; see [`LedgerError`] for what
//! each failure means for a second try.

mod blocks;
mod consent;
mod custody;
mod error;
mod queries;
mod registration;
mod signed;

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand;
use contract_interface::{Salt, canonical_json, names::transient};
use fabric_gateway::{Call, Contract, Endpoint, Gateway, GatewayConfig, RetryPolicy};
use fabric_msp::{Certificate, MspId, SigningIdentity};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::blocks::Stretch;
pub use self::error::LedgerError;
pub use self::queries::ReadQuestion;
pub use self::registration::{Registered, RegistrationBatch};
pub use self::signed::DecidedRead;

use crate::config::FabricConfig;
use crate::metrics::{ledger_failure, observe_upstream};

/// Bytes of the salt in a submitted transaction's transient map.
const SALT_BYTES: usize = 32;
/// A connection to the channel under the oracle's identity; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    contract: Contract,
    blocks: blocks::Blocks,
    /// The chaincode's name on the channel.
    chaincode: Arc<str>,
    channel: String,
    msp_id: MspId,
    /// PEM of the CA certificate that issued the oracle's own.
    issuer: Arc<str>,
}

/// For whom a query is made: the contract shows each only what is theirs to see.
#[derive(Debug, Clone, Copy)]
pub enum Viewer<'a> {
    /// The oracle itself.
    Oracle,
    /// The REST caller with this certificate, as it was shown in the TLS handshake.
    Caller(&'a Certificate),
}

/// Proof that a submitted transaction is on the ledger, with what the contract answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<T> {
    /// The transaction.
    pub transaction_id: String,
    /// The block it is in.
    pub block_number: u64,
    /// The contract's answer.
    pub result: T,
}

impl Ledger {
    /// Prepares the connection; peers are first spoken to by the first call. `issuer` is the CA
    /// certificate that issued the identity's.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Connect`] when an endpoint or the TLS roots cannot be used.
    pub fn connect(
        config: &FabricConfig,
        identity: SigningIdentity,
        issuer: &Certificate,
    ) -> Result<Self, LedgerError> {
        let msp_id = identity.msp_id().clone();
        let roots = std::fs::read(&config.tls_ca_file).map_err(|source| LedgerError::Roots {
            path: config.tls_ca_file.clone(),
            source,
        })?;
        let endpoints = config.endpoints.iter().map(|endpoint| Endpoint {
            address: endpoint.address.clone(),
            server_name: endpoint.server_name.clone(),
        });
        let gateway = Gateway::connect(GatewayConfig::new(endpoints, roots), identity)
            .map_err(LedgerError::Connect)?;
        let network = gateway.network(&config.channel);
        Ok(Self {
            contract: network.contract(&config.chaincode),
            blocks: blocks::Blocks::new(network),
            chaincode: config.chaincode.as_str().into(),
            channel: config.channel.clone(),
            msp_id,
            issuer: issuer.pem().into(),
        })
    }

    /// The channel's name, which signed requests must carry.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The chaincode's name on the channel.
    #[must_use]
    pub fn chaincode(&self) -> &str {
        &self.chaincode
    }

    /// The oracle's organisation.
    #[must_use]
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// Whether a peer answers and the contracts with it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] of the query made for it.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        let nobody = contract_interface::Digest::from_bytes([0; 32]);
        match self
            .participant_by_thumbprint(Viewer::Oracle, &nobody)
            .await
        {
            Ok(_) => Ok(()),
            Err(LedgerError::Contract { code: Some(_), .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Evaluates one transaction and reads its JSON answer.
    async fn evaluate<T: DeserializeOwned>(&self, call: Call) -> Result<T, LedgerError> {
        let began = Instant::now();
        let answer = self.contract.evaluate(call).await;
        let read = answer
            .map_err(LedgerError::from)
            .and_then(|answer| serde_json::from_slice(&answer).map_err(LedgerError::Answer));
        let failure = read.as_ref().err().and_then(ledger_failure);
        observe_upstream("fabric", "evaluate", began, failure);
        read
    }

    /// Submits one transaction, endorsing anew after conflicts, and reads its JSON answer.
    async fn submit<T: DeserializeOwned>(
        &self,
        call: impl Fn() -> Call,
    ) -> Result<Receipt<T>, LedgerError> {
        let began = Instant::now();
        let submitted = self
            .contract
            .submit_with_retry(call, RetryPolicy::default())
            .await;
        let receipt = submitted.map_err(LedgerError::from).and_then(|committed| {
            Ok(Receipt {
                result: serde_json::from_slice(&committed.result).map_err(LedgerError::Answer)?,
                transaction_id: committed.transaction_id,
                block_number: committed.block_number,
            })
        });
        let failure = receipt.as_ref().err().and_then(ledger_failure);
        observe_upstream("fabric", "submit", began, failure);
        receipt
    }
}

/// The transaction named `name`, seen by `viewer`.
fn query(name: &str, viewer: Viewer<'_>) -> Call {
    let call = Call::new(name);
    match viewer {
        Viewer::Oracle => call,
        Viewer::Caller(certificate) => {
            call.transient(transient::CALLER, certificate.pem().into_bytes())
        }
    }
}

/// Canonical JSON of a value that is always JSON.
fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, LedgerError> {
    canonical_json(value).map_err(LedgerError::Argument)
}

/// Fresh salt for one submitted transaction.
fn fresh_salt() -> Result<Salt, LedgerError> {
    let mut bytes = [0; SALT_BYTES];
    rand::fill(&mut bytes).map_err(|_| LedgerError::NoRandomness)?;
    Salt::from_bytes(bytes).map_err(|_| LedgerError::NoRandomness)
}
