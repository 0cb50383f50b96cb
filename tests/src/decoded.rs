//! A channel taken apart: everything that its blocks show to every member, each piece under a name
//! that says where it stands.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use fabric_protos::common::{Block, ChannelHeader, Envelope, Payload, SignatureHeader};
use fabric_protos::kvrwset::{HashedRwSet, KvrwSet};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, ProposalResponsePayload, Transaction,
};
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message as _;

/// `common.HeaderType.ENDORSER_TRANSACTION`.
const ENDORSER_TRANSACTION: i32 = 3;

/// One piece of a transaction: where it stands, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The transaction's function, `contract:Function`.
    pub function: String,
    /// Where it stands: `argument 1`, `result`, `event RecordsRegistered`, `read record`,
    /// `write record`, `hashed read records`, `hashed write keys`, `creator`.
    pub place: String,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// The transactions of one chaincode, taken apart.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Blocks looked at.
    pub blocks: usize,
    /// Transactions of the chaincode.
    pub transactions: usize,
    /// Every piece, in order.
    pub pieces: Vec<Piece>,
    /// The blocks' bytes as they are.
    pub raw: Vec<Vec<u8>>,
}

impl Decoded {
    /// Takes blocks apart and keeps what belongs to `chaincode`.
    ///
    /// # Errors
    /// When a block is not what Fabric writes.
    pub fn of(blocks: &[Block], chaincode: &str) -> Result<Self> {
        let mut decoded = Self::default();
        for block in blocks {
            decoded.blocks += 1;
            decoded.raw.push(block.encode_to_vec());
            for envelope in block.data.iter().flat_map(|data| &data.data) {
                decoded.envelope(envelope, chaincode)?;
            }
        }
        Ok(decoded)
    }

    /// The names of JSON members at each place, as `place` to `member.member`; a place that holds
    /// something else than a JSON object has none.
    #[must_use]
    pub fn members(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut all: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for piece in &self.pieces {
            let place = all
                .entry((piece.function.clone(), piece.place.clone()))
                .or_default();
            if let Ok(value) = serde_json::from_slice(&piece.bytes) {
                collect(&value, "", place);
            }
        }
        all
    }

    fn envelope(&mut self, envelope: &[u8], chaincode: &str) -> Result<()> {
        let payload = Payload::decode(&*Envelope::decode(envelope)?.payload)?;
        let header = payload.header.context("a payload without header")?;
        if ChannelHeader::decode(&*header.channel_header)?.r#type != ENDORSER_TRANSACTION {
            return Ok(());
        }
        let creator = SignatureHeader::decode(&*header.signature_header)?.creator;
        for action in Transaction::decode(&*payload.data)?.actions {
            let action = ChaincodeActionPayload::decode(&*action.payload)?;
            let proposal = ChaincodeProposalPayload::decode(&*action.chaincode_proposal_payload)?;
            let spec = ChaincodeInvocationSpec::decode(&*proposal.input)?
                .chaincode_spec
                .context("a proposal without chaincode")?;
            if spec.chaincode_id.is_none_or(|id| id.name != chaincode) {
                continue;
            }
            let endorsed = action
                .action
                .context("a transaction without endorsements")?;
            let response = ProposalResponsePayload::decode(&*endorsed.proposal_response_payload)?;
            let result = ChaincodeAction::decode(&*response.extension)?;
            let arguments = spec.input.unwrap_or_default().args;
            self.action(&creator, &arguments, &proposal, &result, chaincode)?;
        }
        Ok(())
    }

    fn action(
        &mut self,
        creator: &[u8],
        arguments: &[Vec<u8>],
        proposal: &ChaincodeProposalPayload,
        result: &ChaincodeAction,
        chaincode: &str,
    ) -> Result<()> {
        self.transactions += 1;
        let function = arguments.first().map_or_else(String::new, |name| {
            String::from_utf8_lossy(name).into_owned()
        });
        let mut add = |place: String, bytes: &[u8]| {
            self.pieces.push(Piece {
                function: function.clone(),
                place,
                bytes: bytes.to_vec(),
            });
        };
        add("creator".to_owned(), creator);
        for (number, argument) in arguments.iter().enumerate().skip(1) {
            add(format!("argument {number}"), argument);
        }
        for (name, value) in &proposal.transient_map {
            add(format!("transient {name}"), value);
        }
        if let Some(response) = &result.response {
            add("result".to_owned(), &response.payload);
            add("message".to_owned(), response.message.as_bytes());
        }
        if !result.events.is_empty() {
            let event = ChaincodeEvent::decode(&*result.events)?;
            add(format!("event {}", event.event_name), &event.payload);
        }
        for space in TxReadWriteSet::decode(&*result.results)?.ns_rwset {
            if space.namespace != chaincode {
                continue;
            }
            let public = KvrwSet::decode(&*space.rwset)?;
            for read in &public.reads {
                add(format!("read {}", kind(&read.key)), read.key.as_bytes());
            }
            for write in &public.writes {
                add(
                    format!("write key {}", kind(&write.key)),
                    write.key.as_bytes(),
                );
                add(format!("write {}", kind(&write.key)), &write.value);
            }
            for collection in space.collection_hashed_rwset {
                let hashed = HashedRwSet::decode(&*collection.hashed_rwset)?;
                let name = &collection.collection_name;
                for read in &hashed.hashed_reads {
                    add(format!("hashed read {name}"), &read.key_hash);
                }
                for write in &hashed.hashed_writes {
                    add(format!("hashed write {name}"), &write.key_hash);
                    add(format!("hashed value {name}"), &write.value_hash);
                }
            }
        }
        Ok(())
    }
}

/// The object type of a composite key, else the key.
fn kind(key: &str) -> &str {
    key.strip_prefix('\0')
        .and_then(|rest| rest.split('\0').next())
        .unwrap_or(key)
}

fn collect(value: &serde_json::Value, path: &str, members: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, inner) in object {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                if !inner.is_object() && !inner.is_array() {
                    members.insert(path.clone());
                }
                collect(inner, &path, members);
            }
        }
        serde_json::Value::Array(items) => {
            if items.iter().all(|item| !item.is_object()) && !path.is_empty() {
                members.insert(path.to_owned());
            }
            for item in items {
                collect(item, path, members);
            }
        }
        _ => {}
    }
}
