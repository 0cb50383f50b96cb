//! Taking a signed proposal apart and checking it.

use aws_lc_rs::digest::{Context, SHA256};
use fabric_msp::{MspManager, ValidIdentity};
use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::{
    ChaincodeHeaderExtension, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    Proposal, SignedProposal,
};
use prost::Message;

use crate::ledger::transaction_id;

/// What Go's protobuf library says of bytes that are no message.
pub(crate) const MALFORMED: &str = "proto: cannot parse invalid wire-format data";

/// A proposal whose parts decode; nothing else is known about it yet.
#[derive(Clone, Debug)]
pub(crate) struct UnpackedProposal {
    pub(crate) header: Header,
    pub(crate) channel_header: ChannelHeader,
    pub(crate) signature_header: SignatureHeader,
    pub(crate) chaincode: String,
    pub(crate) input: ChaincodeInput,
    pub(crate) payload: ChaincodeProposalPayload,
    /// What endorsers sign instead of the proposal itself.
    pub(crate) hash: Vec<u8>,
}

/// Takes a signed proposal apart; the error is the text that clients see.
pub(crate) fn unpack(signed: &SignedProposal) -> Result<UnpackedProposal, String> {
    let proposal: Proposal = decode(&signed.proposal_bytes, "Proposal")?;
    let header: Header = decode(&proposal.header, "Header")?;
    let channel_header: ChannelHeader = decode(&header.channel_header, "ChannelHeader")?;
    let signature_header: SignatureHeader = decode(&header.signature_header, "SignatureHeader")?;
    let extension: ChaincodeHeaderExtension =
        decode(&channel_header.extension, "ChaincodeHeaderExtension")?;
    let chaincode = extension
        .chaincode_id
        .ok_or("ChaincodeHeaderExtension.ChaincodeId is nil")?
        .name;
    if chaincode.is_empty() {
        return Err("ChaincodeHeaderExtension.ChaincodeId.Name is empty".to_owned());
    }
    let payload: ChaincodeProposalPayload = decode(&proposal.payload, "ChaincodeProposalPayload")?;
    let spec: ChaincodeInvocationSpec = decode(&payload.input, "ChaincodeInvocationSpec")?;
    let spec = spec
        .chaincode_spec
        .ok_or("chaincode invocation spec did not contain chaincode spec")?;
    let input = spec
        .input
        .ok_or("chaincode input did not contain any input")?;
    let hash = proposal_hash(&header, &payload);
    Ok(UnpackedProposal {
        header,
        channel_header,
        signature_header,
        chaincode,
        input,
        payload,
        hash,
    })
}

fn decode<M: Message + Default>(bytes: &[u8], name: &str) -> Result<M, String> {
    M::decode(bytes).map_err(|_| format!("error unmarshalling {name}: {MALFORMED}"))
}

/// The proposal payload as it goes into a transaction: without the transient data.
pub(crate) fn without_transient(payload: &ChaincodeProposalPayload) -> Vec<u8> {
    let public = ChaincodeProposalPayload {
        input: payload.input.clone(),
        ..ChaincodeProposalPayload::default()
    };
    public.encode_to_vec()
}

fn proposal_hash(header: &Header, payload: &ChaincodeProposalPayload) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    hash.update(&header.channel_header);
    hash.update(&header.signature_header);
    hash.update(&without_transient(payload));
    hash.finish().as_ref().to_vec()
}

impl UnpackedProposal {
    pub(crate) fn channel_id(&self) -> &str {
        &self.channel_header.channel_id
    }

    pub(crate) fn tx_id(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// Checks form, identity and signature; gives the creator.
    pub(crate) fn validate(
        &self,
        signed: &SignedProposal,
        msps: &MspManager,
    ) -> Result<ValidIdentity, String> {
        self.check_form()?;
        if signed.signature.is_empty() {
            return Err("empty signature bytes".to_owned());
        }
        let channel = self.channel_id();
        let creator = &self.signature_header.creator;
        let (msp_id, certificate) =
            fabric_msp::parse_serialized_identity(creator).map_err(|_| unknown_creator(channel))?;
        let msp = msps.msp(&msp_id).ok_or_else(|| unknown_creator(channel))?;
        let denied = || format!("access denied: channel [{channel}] creator org [{msp_id}]");
        let identity = msp.validate(&certificate).map_err(|error| {
            tracing::warn!(channel, %msp_id, %error, "access denied: identity is not valid");
            denied()
        })?;
        identity
            .verify(&signed.proposal_bytes, &signed.signature)
            .map_err(|error| {
                tracing::warn!(channel, %msp_id, %error, "access denied: bad signature");
                denied()
            })?;
        Ok(identity)
    }

    fn check_form(&self) -> Result<(), String> {
        let kind = self.channel_header.r#type;
        match HeaderType::try_from(kind) {
            Ok(HeaderType::EndorserTransaction | HeaderType::Config) => {}
            Ok(other) => return Err(format!("invalid header type {}", other.as_str_name())),
            Err(_) => return Err(format!("invalid header type {kind}")),
        }
        if self.channel_header.epoch != 0 {
            return Err("epoch is non-zero".to_owned());
        }
        let SignatureHeader { creator, nonce } = &self.signature_header;
        if nonce.is_empty() {
            return Err("nonce is empty".to_owned());
        }
        if creator.is_empty() {
            return Err("creator is empty".to_owned());
        }
        let expected = transaction_id(nonce, creator);
        let tx_id = self.tx_id();
        if tx_id != expected {
            return Err(format!(
                "incorrectly computed txid '{tx_id}' -- expected '{expected}'"
            ));
        }
        Ok(())
    }
}

fn unknown_creator(channel: &str) -> String {
    format!("access denied: channel [{channel}] creator org unknown, creator is malformed")
}
