//! What a transaction carries in: arguments, transient data, creator, time.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use fabric_protos::{
    common::{ChannelHeader, Header, HeaderType, SignatureHeader},
    protos::{self, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal},
};
use prost::Message;

use crate::{TransactionError, handler::TransactionKey};

/// A moment as the client stated it in its proposal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: i32,
}

impl From<prost_types::Timestamp> for Timestamp {
    fn from(timestamp: prost_types::Timestamp) -> Self {
        Self {
            seconds: timestamp.seconds,
            nanos: timestamp.nanos,
        }
    }
}

impl From<Timestamp> for prost_types::Timestamp {
    fn from(timestamp: Timestamp) -> Self {
        Self {
            seconds: timestamp.seconds,
            nanos: timestamp.nanos,
        }
    }
}

/// The proposal as the client signed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedProposal {
    /// An encoded `protos.Proposal`.
    pub proposal: Vec<u8>,
    /// The creator's signature over it.
    pub signature: Vec<u8>,
}

/// Everything that is known about a transaction before it asks the ledger anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) channel_id: String,
    pub(crate) tx_id: String,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) decorations: BTreeMap<String, Vec<u8>>,
    pub(crate) transient: BTreeMap<String, Vec<u8>>,
    pub(crate) creator: Vec<u8>,
    pub(crate) timestamp: Timestamp,
    pub(crate) binding: Vec<u8>,
    pub(crate) signed_proposal: Option<SignedProposal>,
    /// Whether another chaincode made the call: the proposal's own arguments differ.
    pub(crate) nested: bool,
}

impl Transaction {
    /// Reads the input and, when there is one, the proposal of a transaction.
    pub(crate) fn parse(
        key: TransactionKey,
        input: &[u8],
        proposal: Option<protos::SignedProposal>,
    ) -> Result<Self, TransactionError> {
        let input = decode::<ChaincodeInput>(input, "chaincode input")?;
        let mut transaction = Self {
            channel_id: key.channel_id,
            tx_id: key.tx_id,
            args: input.args,
            decorations: input.decorations,
            ..Self::default()
        };
        if let Some(signed) = proposal {
            transaction.read_proposal(signed)?;
        }
        Ok(transaction)
    }

    fn read_proposal(&mut self, signed: protos::SignedProposal) -> Result<(), TransactionError> {
        let proposal = decode::<Proposal>(&signed.proposal_bytes, "proposal")?;
        if proposal.header.is_empty() {
            return Err(TransactionError::Missing {
                part: "proposal header",
            });
        }
        let header = decode::<Header>(&proposal.header, "proposal header")?;
        let channel = decode::<ChannelHeader>(&header.channel_header, "channel header")?;
        let types = [HeaderType::EndorserTransaction, HeaderType::Config];
        if !types
            .iter()
            .any(|known| i32::from(*known) == channel.r#type)
        {
            let found = channel.r#type;
            return Err(TransactionError::HeaderType { found });
        }
        let signature = decode::<SignatureHeader>(&header.signature_header, "signature header")?;
        let payload = decode::<ChaincodeProposalPayload>(&proposal.payload, "proposal payload")?;
        self.nested = is_nested(&payload, &self.args);
        self.transient = payload.transient_map;
        self.timestamp = channel.timestamp.map(Timestamp::from).unwrap_or_default();
        self.binding = binding(&signature, channel.epoch);
        self.creator = signature.creator;
        self.signed_proposal = Some(SignedProposal {
            proposal: signed.proposal_bytes,
            signature: signed.signature,
        });
        Ok(())
    }
}

/// SHA-256 over nonce, creator and epoch (eight bytes, little endian), as all shims compute it.
fn binding(signature: &SignatureHeader, epoch: u64) -> Vec<u8> {
    let mut bytes = signature.nonce.clone();
    bytes.extend_from_slice(&signature.creator);
    bytes.extend_from_slice(&epoch.to_le_bytes());
    digest(&SHA256, &bytes).as_ref().to_vec()
}

fn is_nested(payload: &ChaincodeProposalPayload, args: &[Vec<u8>]) -> bool {
    let spec = ChaincodeInvocationSpec::decode(payload.input.as_slice()).ok();
    let proposed = spec
        .and_then(|spec| spec.chaincode_spec)
        .and_then(|spec| spec.input);
    proposed.is_some_and(|input| input.args != args)
}

fn decode<M: Message + Default>(bytes: &[u8], part: &'static str) -> Result<M, TransactionError> {
    M::decode(bytes).map_err(|source| TransactionError::Undecodable { part, source })
}
