//! Taking an envelope apart, with the checks that need nothing but the envelope and the MSPs.

use fabric_msp::MspManager;
use fabric_protos::common::{
    ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ChaincodeHeaderExtension, Endorsement,
    ProposalResponsePayload, Transaction, TxValidationCode,
};
use fabric_protos::queryresult::KeyModification;
use prost::Message;

use super::block::transaction_id;
use super::hash::sha256;
use super::rwset::{TxRwSet, is_delete};

/// An endorsed transaction that is well formed and signed by its creator.
#[derive(Clone, Debug)]
pub(crate) struct EndorsedTransaction {
    pub(crate) tx_id: String,
    pub(crate) channel_id: String,
    /// Chaincode that was invoked.
    extension: Vec<u8>,
    pub(crate) proposal_response_payload: Vec<u8>,
    pub(crate) endorsements: Vec<Endorsement>,
}

/// What the endorsers signed, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) chaincode: String,
    pub(crate) rwset: TxRwSet,
}

/// Why a transaction is not valid: the code that goes on the channel, and for people the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) code: TxValidationCode,
    pub(crate) detail: String,
}

pub(crate) fn reject(code: TxValidationCode, detail: impl Into<String>) -> Rejection {
    Rejection {
        code,
        detail: detail.into(),
    }
}

/// Takes an envelope of a block apart, in the order and with the codes of a Fabric peer.
pub(crate) fn check_envelope(
    envelope: &[u8],
    msps: &MspManager,
) -> Result<EndorsedTransaction, Rejection> {
    use TxValidationCode as Code;
    if envelope.is_empty() {
        return Err(reject(Code::NilEnvelope, "the envelope is empty"));
    }
    let envelope = Envelope::decode(envelope)
        .map_err(|_| reject(Code::InvalidOtherReason, "the envelope cannot be decoded"))?;
    let payload = Payload::decode(envelope.payload.as_slice())
        .map_err(|_| reject(Code::BadPayload, "the payload cannot be decoded"))?;
    let (header, channel, signature) = check_header(&payload)?;
    let creator = msps
        .identity(&signature.creator)
        .map_err(|error| reject(Code::BadCreatorSignature, error.to_string()))?;
    creator
        .verify(&envelope.payload, &envelope.signature)
        .map_err(|error| reject(Code::BadCreatorSignature, error.to_string()))?;
    match HeaderType::try_from(channel.r#type) {
        Ok(HeaderType::EndorserTransaction) => {}
        Ok(HeaderType::Config) => {
            return Err(reject(
                Code::InvalidConfigTransaction,
                "the configuration of this channel cannot be changed",
            ));
        }
        _ => return Err(reject(Code::UnsupportedTxPayload, "not a transaction")),
    }
    if channel.tx_id != transaction_id(&signature.nonce, &signature.creator) {
        return Err(reject(
            Code::BadProposalTxid,
            "the transaction ID is not the hash of nonce and creator",
        ));
    }
    let (proposal_response_payload, endorsements) = check_action(&payload, header)
        .map_err(|detail| reject(Code::InvalidEndorserTransaction, detail))?;
    Ok(EndorsedTransaction {
        tx_id: channel.tx_id,
        channel_id: channel.channel_id,
        extension: channel.extension,
        proposal_response_payload,
        endorsements,
    })
}

/// The headers of a payload, decoded, with their own rules checked.
fn check_header(payload: &Payload) -> Result<(&Header, ChannelHeader, SignatureHeader), Rejection> {
    let bad = |detail: &str| reject(TxValidationCode::BadCommonHeader, detail);
    let header = payload.header.as_ref().ok_or_else(|| bad("no header"))?;
    let channel = ChannelHeader::decode(header.channel_header.as_slice())
        .map_err(|_| bad("the channel header cannot be decoded"))?;
    let signature = SignatureHeader::decode(header.signature_header.as_slice())
        .map_err(|_| bad("the signature header cannot be decoded"))?;
    let known = matches!(
        HeaderType::try_from(channel.r#type),
        Ok(HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config)
    );
    if !known {
        return Err(bad("the header type is not one of a transaction"));
    }
    if channel.epoch != 0 {
        return Err(bad("the epoch is not 0"));
    }
    if signature.nonce.is_empty() {
        return Err(bad("no nonce"));
    }
    if signature.creator.is_empty() {
        return Err(bad("no creator"));
    }
    Ok((header, channel, signature))
}

/// What the endorsers signed and their signatures, once the action binds to its proposal.
fn check_action(
    payload: &Payload,
    header: &Header,
) -> Result<(Vec<u8>, Vec<Endorsement>), &'static str> {
    let transaction = Transaction::decode(payload.data.as_slice())
        .map_err(|_| "the transaction cannot be decoded")?;
    let [action] = transaction.actions.as_slice() else {
        return Err("there is not exactly one action");
    };
    let signature = SignatureHeader::decode(action.header.as_slice())
        .map_err(|_| "the signature header of the action cannot be decoded")?;
    if signature.nonce.is_empty() || signature.creator.is_empty() {
        return Err("the signature header of the action has no nonce or no creator");
    }
    let action_payload = ChaincodeActionPayload::decode(action.payload.as_slice())
        .map_err(|_| "the action cannot be decoded")?;
    let endorsed = action_payload.action.ok_or("the action is empty")?;
    let response = ProposalResponsePayload::decode(endorsed.proposal_response_payload.as_slice())
        .map_err(|_| "the proposal response cannot be decoded")?;
    let proposal = [
        header.channel_header.as_slice(),
        &action.header,
        &action_payload.chaincode_proposal_payload,
    ];
    // An empty part cannot be told from a missing one, and a missing one makes no hash.
    if proposal.iter().any(|part| part.is_empty())
        || sha256(&proposal.concat()) != response.proposal_hash
    {
        return Err("proposal hash does not match");
    }
    Ok((endorsed.proposal_response_payload, endorsed.endorsements))
}

impl EndorsedTransaction {
    /// Takes apart what the endorsers signed, up to the point where policies matter.
    pub(crate) fn outcome(&self) -> Result<Outcome, Rejection> {
        use TxValidationCode as Code;
        let extension = ChaincodeHeaderExtension::decode(self.extension.as_slice())
            .map_err(|_| reject(Code::BadHeaderExtension, "cannot be decoded"))?;
        let response = ProposalResponsePayload::decode(self.proposal_response_payload.as_slice())
            .map_err(|_| reject(Code::BadResponsePayload, "cannot be decoded"))?;
        if response.extension.is_empty() {
            return Err(reject(Code::BadResponsePayload, "it has no extension"));
        }
        let action = ChaincodeAction::decode(response.extension.as_slice())
            .map_err(|_| reject(Code::BadResponsePayload, "cannot be decoded"))?;
        let rwset = TxRwSet::decode(&action.results)
            .map_err(|_| reject(Code::BadRwset, "the read-write set cannot be decoded"))?;
        let invoked = extension.chaincode_id.ok_or_else(|| {
            reject(
                Code::InvalidOtherReason,
                "no chaincode in the header extension",
            )
        })?;
        let endorsed = action
            .chaincode_id
            .ok_or_else(|| reject(Code::InvalidOtherReason, "no chaincode in the action"))?;
        if invoked.name.is_empty() || invoked.name != endorsed.name {
            return Err(reject(
                Code::InvalidChaincode,
                format!(
                    "inconsistent ccid info ({}/{})",
                    invoked.name, endorsed.name
                ),
            ));
        }
        if endorsed.version.is_empty() {
            return Err(reject(Code::InvalidChaincode, "invalid chaincode version"));
        }
        if !action.events.is_empty() {
            check_event(&action.events, &invoked.name)?;
        }
        let mut namespaces = std::collections::BTreeSet::new();
        for set in &rwset.namespaces {
            if !namespaces.insert(set.namespace.as_str()) {
                return Err(reject(
                    Code::IllegalWriteset,
                    format!(
                        "duplicate namespace '{}' in the read-write set",
                        set.namespace
                    ),
                ));
            }
        }
        Ok(Outcome {
            chaincode: invoked.name,
            rwset,
        })
    }
}

fn check_event(event: &[u8], chaincode: &str) -> Result<(), Rejection> {
    let bad = |detail| reject(TxValidationCode::InvalidOtherReason, detail);
    let event = ChaincodeEvent::decode(event).map_err(|_| bad("invalid chaincode event"))?;
    if event.chaincode_id == chaincode {
        Ok(())
    } else {
        Err(bad(
            "chaincode event chaincode id does not match chaincode action chaincode id",
        ))
    }
}

/// The ID of the transaction in an envelope, if it has a header; also of invalid ones.
pub(crate) fn envelope_tx_id(envelope: &[u8]) -> Option<String> {
    let (_, header) = payload_and_header(envelope)?;
    (!header.tx_id.is_empty()).then_some(header.tx_id)
}

fn payload_and_header(envelope: &[u8]) -> Option<(Payload, ChannelHeader)> {
    let envelope = Envelope::decode(envelope).ok()?;
    let payload = Payload::decode(envelope.payload.as_slice()).ok()?;
    let header = payload.header.as_ref()?;
    let header = ChannelHeader::decode(header.channel_header.as_slice()).ok()?;
    Some((payload, header))
}

/// The read-write set of a transaction that is known to be valid.
pub(crate) fn committed_rwset(envelope: &[u8]) -> Option<TxRwSet> {
    let (payload, header) = payload_and_header(envelope)?;
    if header.r#type != i32::from(HeaderType::EndorserTransaction) {
        return None;
    }
    let transaction = Transaction::decode(payload.data.as_slice()).ok()?;
    let action = transaction.actions.first()?;
    let action = ChaincodeActionPayload::decode(action.payload.as_slice()).ok()?;
    let payload = action.action?.proposal_response_payload;
    let response = ProposalResponsePayload::decode(payload.as_slice()).ok()?;
    let action = ChaincodeAction::decode(response.extension.as_slice()).ok()?;
    TxRwSet::decode(&action.results).ok()
}

/// What the transaction made of a public key.
pub(crate) fn key_modification(
    envelope: &[u8],
    namespace: &str,
    key: &str,
) -> Option<KeyModification> {
    let (_, header) = payload_and_header(envelope)?;
    let rwset = committed_rwset(envelope)?;
    let set = rwset.namespaces.into_iter();
    let set = set.into_iter().find(|set| set.namespace == namespace)?;
    let mut writes = set.public.writes.into_iter();
    let write = writes.find(|write| write.key == key)?;
    Some(KeyModification {
        tx_id: header.tx_id,
        is_delete: is_delete(&write),
        value: write.value,
        timestamp: header.timestamp,
    })
}
