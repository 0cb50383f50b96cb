//! A transaction's way, one type for each stage.
//!
//! Proposal → endorsed transaction → commit → status. Each stage has a form that is still to be
//! signed, whose bytes can be carried to a key that lies elsewhere; with a key at hand the signed
//! form follows at once.

use std::time::Duration;

use fabric_msp::SignatureError;
use fabric_protos::common::Envelope;
use fabric_protos::gateway::{
    CommitStatusRequest, EndorseRequest, EvaluateRequest, SignedCommitStatusRequest, SubmitRequest,
};
use fabric_protos::protos::SignedProposal;
use prost::Message as _;

use crate::error::{CommitStatusError, EndorseError, EvaluateError, SubmitError};
use crate::network::Network;
use crate::proposal::ProposalBytes;
use crate::rpc_status::{RpcCode, RpcStatus};
use crate::transaction;
use crate::validation_code::ValidationCode;

/// A proposal without signature.
#[derive(Debug, Clone)]
pub struct UnsignedProposal {
    pub(crate) network: Network,
    pub(crate) proposal: ProposalBytes,
    pub(crate) organizations: Vec<String>,
}

impl UnsignedProposal {
    /// The transaction's ID.
    pub fn transaction_id(&self) -> &str {
        &self.proposal.transaction_id
    }

    /// The bytes to sign: SHA-256 and ECDSA in DER with low S.
    pub fn bytes(&self) -> &[u8] {
        &self.proposal.bytes
    }

    /// Adds the signature.
    pub fn signed(self, signature: Vec<u8>) -> Proposal {
        Proposal {
            network: self.network,
            transaction_id: self.proposal.transaction_id,
            organizations: self.organizations,
            signed: SignedProposal {
                proposal_bytes: self.proposal.bytes,
                signature,
            },
        }
    }

    pub(crate) fn sign(self) -> Result<Proposal, SignatureError> {
        let signature = self.network.gateway.inner.signer.sign(self.bytes())?;
        Ok(self.signed(signature))
    }
}

/// A signed proposal.
#[derive(Debug, Clone)]
pub struct Proposal {
    network: Network,
    transaction_id: String,
    organizations: Vec<String>,
    signed: SignedProposal,
}

impl Proposal {
    /// The transaction's ID.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// Asks for the answer only; nothing is ordered.
    ///
    /// # Errors
    /// [`EvaluateError`] with what the peers said.
    pub async fn evaluate(&self) -> Result<Vec<u8>, EvaluateError> {
        let inner = &self.network.gateway.inner;
        let request = EvaluateRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.network.channel.to_string(),
            proposed_transaction: Some(self.signed.clone()),
            target_organizations: self.organizations.clone(),
        };
        let invoke = |mut client: Client, request| async move { client.evaluate(request).await };
        let response = inner
            .peers
            .call(inner.deadlines.evaluate, &request, invoke)
            .await;
        match response {
            Ok(response) => Ok(response.result.unwrap_or_default().payload),
            Err(status) => Err(EvaluateError {
                transaction_id: self.transaction_id.clone(),
                status,
            }),
        }
    }

    /// Collects endorsements. Nothing is ordered yet.
    ///
    /// # Errors
    /// [`EndorseError`] with what the peers said.
    pub async fn endorse(&self) -> Result<UnsignedTransaction, EndorseError> {
        let inner = &self.network.gateway.inner;
        let request = EndorseRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.network.channel.to_string(),
            proposed_transaction: Some(self.signed.clone()),
            endorsing_organizations: self.organizations.clone(),
        };
        let invoke = |mut client: Client, request| async move { client.endorse(request).await };
        let prepared = inner
            .peers
            .call(inner.deadlines.endorse, &request, invoke)
            .await
            .and_then(|response| {
                let envelope = response.prepared_transaction.unwrap_or_default();
                let result = transaction::result(&envelope).ok_or_else(|| {
                    RpcStatus::new(
                        RpcCode::DataLoss,
                        "the peer returned no readable transaction",
                    )
                })?;
                Ok((envelope, result))
            });
        match prepared {
            Ok((envelope, result)) => Ok(UnsignedTransaction {
                network: self.network.clone(),
                transaction_id: self.transaction_id.clone(),
                payload: envelope.payload,
                result,
            }),
            Err(status) => Err(EndorseError {
                transaction_id: self.transaction_id.clone(),
                status,
            }),
        }
    }
}

/// An endorsed transaction without signature.
#[derive(Debug, Clone)]
pub struct UnsignedTransaction {
    network: Network,
    transaction_id: String,
    payload: Vec<u8>,
    result: Vec<u8>,
}

impl UnsignedTransaction {
    /// The transaction's ID.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// What the chaincode answered.
    pub fn result(&self) -> &[u8] {
        &self.result
    }

    /// The bytes to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.payload
    }

    /// Adds the signature.
    pub fn signed(self, signature: Vec<u8>) -> Transaction {
        Transaction {
            network: self.network,
            transaction_id: self.transaction_id,
            result: self.result,
            envelope: Envelope {
                payload: self.payload,
                signature,
            },
        }
    }

    /// Signs with the gateway's identity.
    ///
    /// # Errors
    /// [`SignatureError`] if its key lies elsewhere.
    pub fn sign(self) -> Result<Transaction, SignatureError> {
        let signature = self.network.gateway.inner.signer.sign(self.bytes())?;
        Ok(self.signed(signature))
    }
}

/// An endorsed and signed transaction: an envelope that can take effect at most once, however
/// often it is sent.
#[derive(Debug, Clone)]
pub struct Transaction {
    network: Network,
    transaction_id: String,
    result: Vec<u8>,
    envelope: Envelope,
}

impl Transaction {
    /// The transaction's ID.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// What the chaincode answered.
    pub fn result(&self) -> &[u8] {
        &self.result
    }

    /// Hands the envelope to the orderer. May be repeated with the same transaction.
    ///
    /// # Errors
    /// [`SubmitError`]: refused, or not known to have arrived.
    pub async fn submit(&self) -> Result<(), SubmitError> {
        let inner = &self.network.gateway.inner;
        let request = SubmitRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.network.channel.to_string(),
            prepared_transaction: Some(self.envelope.clone()),
        };
        let invoke = |mut client: Client, request| async move { client.submit(request).await };
        match inner
            .peers
            .call(inner.deadlines.submit, &request, invoke)
            .await
        {
            Ok(_) => Ok(()),
            Err(status) => Err(SubmitError {
                transaction_id: self.transaction_id.clone(),
                status,
            }),
        }
    }

    /// The commit of this transaction, to be asked about.
    pub fn commit(&self) -> Commit {
        Commit {
            network: self.network.clone(),
            transaction_id: self.transaction_id.clone(),
        }
    }
}

/// A transaction's commit, which may yet be to come.
#[derive(Debug, Clone)]
pub struct Commit {
    pub(crate) network: Network,
    pub(crate) transaction_id: String,
}

impl Commit {
    /// The transaction's ID.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// Waits until the transaction is in a block, valid or not.
    ///
    /// # Errors
    /// [`CommitStatusError`] if that is not learnt within the deadline.
    pub async fn status(&self) -> Result<CommitStatus, CommitStatusError> {
        let deadline = self.network.gateway.inner.deadlines.commit_status;
        self.status_within(deadline).await
    }

    /// Waits as [`Commit::status`], but for as long as said.
    ///
    /// # Errors
    /// As [`Commit::status`]. A peer never says that it does not know a transaction; it waits.
    pub async fn status_within(
        &self,
        deadline: Duration,
    ) -> Result<CommitStatus, CommitStatusError> {
        let request = self.prepare();
        let signer = &self.network.gateway.inner.signer;
        match signer.sign(request.bytes()) {
            Ok(signature) => request.status(signature, deadline).await,
            Err(error) => Err(CommitStatusError {
                transaction_id: self.transaction_id.clone(),
                status: RpcStatus::new(RpcCode::Unauthenticated, error.to_string()),
            }),
        }
    }

    /// The question for the status, to be signed elsewhere.
    pub fn prepare(&self) -> UnsignedCommitStatus {
        let request = CommitStatusRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.network.channel.to_string(),
            identity: self.network.gateway.inner.signer.creator(),
        };
        UnsignedCommitStatus {
            commit: self.clone(),
            request: request.encode_to_vec(),
        }
    }
}

/// A question for a commit's status, without signature.
#[derive(Debug, Clone)]
pub struct UnsignedCommitStatus {
    commit: Commit,
    request: Vec<u8>,
}

impl UnsignedCommitStatus {
    /// The bytes to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.request
    }

    /// Asks with a signature over [`UnsignedCommitStatus::bytes`].
    ///
    /// # Errors
    /// As [`Commit::status`].
    pub async fn status(
        self,
        signature: Vec<u8>,
        deadline: Duration,
    ) -> Result<CommitStatus, CommitStatusError> {
        let inner = &self.commit.network.gateway.inner;
        let request = SignedCommitStatusRequest {
            request: self.request,
            signature,
        };
        let invoke =
            |mut client: Client, request| async move { client.commit_status(request).await };
        match inner.peers.call(deadline, &request, invoke).await {
            Ok(response) => Ok(CommitStatus {
                transaction_id: self.commit.transaction_id,
                block_number: response.block_number,
                code: ValidationCode::from_wire(response.result),
            }),
            Err(status) => Err(CommitStatusError {
                transaction_id: self.commit.transaction_id,
                status,
            }),
        }
    }
}

/// Where a transaction ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// The transaction.
    pub transaction_id: String,
    /// The block it is in.
    pub block_number: u64,
    /// Whether it took effect, or why not.
    pub code: ValidationCode,
}

type Client = fabric_protos::gateway::gateway_client::GatewayClient<tonic::transport::Channel>;
