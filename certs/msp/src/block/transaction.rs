//! An endorsed transaction: who made it, who endorsed it, what it reads and writes.

use aws_lc_rs::digest::{Context, SHA256};
use fabric_protos::common::{ChannelHeader, Envelope, HeaderType, Payload, SignatureHeader};
use fabric_protos::kvrwset::{HashedRwSet, KvrwSet};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, Endorsement, ProposalResponsePayload, Response,
    Transaction as TransactionData,
};
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message as _;

use super::error::{BlockError, malformed};
use super::policy::distinct;
use super::signatures::verified;
use crate::identity::{NodeOu, ValidIdentity};
use crate::manager::MspManager;

/// Endorsements of one transaction that are looked at.
const MAX_ENDORSEMENTS: usize = 128;

/// Where a value was written last: the block and the transaction's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The block.
    pub block: u64,
    /// The place of the transaction, from 0.
    pub transaction: u64,
}

/// The identity behind an endorsement, or why it does not count.
pub type Endorser = Result<ValidIdentity, BlockError>;

/// A transaction of one piece: its ID belongs to its creator, and what the endorsers signed
/// belongs to its proposal. Whether the signatures hold is for [`Transaction::verify_creator`]
/// and [`Transaction::verify_endorsers`].
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    header: ChannelHeader,
    creator: Vec<u8>,
    /// What the creator signed, and the signature.
    envelope: Envelope,
    chaincode: String,
    arguments: Vec<Vec<u8>>,
    /// What the endorsers signed, before their identity.
    response: Vec<u8>,
    endorsements: Vec<Endorsement>,
    action: ChaincodeAction,
    /// Namespaces with their public reads and writes.
    sets: Vec<(String, KvrwSet)>,
    hashed: Vec<Hashed>,
}

/// What a transaction reads and writes of one private data collection, hashed.
#[derive(Debug, Clone, PartialEq)]
struct Hashed {
    namespace: String,
    collection: String,
    writes: HashedRwSet,
}

/// The channel header of an envelope.
pub(super) fn channel_header(envelope: &[u8]) -> Result<ChannelHeader, BlockError> {
    let envelope = Envelope::decode(envelope).map_err(|_| malformed("envelope"))?;
    let payload = Payload::decode(envelope.payload.as_slice()).map_err(|_| malformed("payload"))?;
    let header = payload.header.ok_or(malformed("payload without header"))?;
    ChannelHeader::decode(header.channel_header.as_slice()).map_err(|_| malformed("channel header"))
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(part);
    }
    hash.finish().as_ref().to_vec()
}

impl Transaction {
    pub(super) fn read(envelope: &[u8]) -> Result<Self, BlockError> {
        const WHAT: &str = "endorsed transaction";
        let envelope = Envelope::decode(envelope).map_err(|_| malformed(WHAT))?;
        let payload = Payload::decode(envelope.payload.as_slice()).map_err(|_| malformed(WHAT))?;
        let headers = payload.header.ok_or(malformed(WHAT))?;
        let header = ChannelHeader::decode(headers.channel_header.as_slice())
            .map_err(|_| malformed(WHAT))?;
        if header.r#type != i32::from(HeaderType::EndorserTransaction) {
            return Err(malformed("transaction: it is not an endorsed one"));
        }
        let signer = SignatureHeader::decode(headers.signature_header.as_slice())
            .map_err(|_| malformed(WHAT))?;
        if hex::encode(sha256(&[&signer.nonce, &signer.creator])) != header.tx_id {
            return Err(BlockError::TransactionId {
                tx_id: header.tx_id,
            });
        }
        let data = TransactionData::decode(payload.data.as_slice()).map_err(|_| malformed(WHAT))?;
        let [action] = data.actions.as_slice() else {
            return Err(malformed("transaction: it has not exactly one action"));
        };
        if action.header != headers.signature_header {
            return Err(malformed("transaction: its action is somebody else's"));
        }
        let action = ChaincodeActionPayload::decode(action.payload.as_slice())
            .map_err(|_| malformed(WHAT))?;
        let proposal = &action.chaincode_proposal_payload;
        let endorsed = action.action.ok_or(malformed(WHAT))?;
        let response =
            ProposalResponsePayload::decode(endorsed.proposal_response_payload.as_slice())
                .map_err(|_| malformed(WHAT))?;
        let hash = sha256(&[&headers.channel_header, &headers.signature_header, proposal]);
        if response.proposal_hash != hash {
            return Err(BlockError::ProposalHash {
                tx_id: header.tx_id,
            });
        }
        if endorsed.endorsements.len() > MAX_ENDORSEMENTS {
            return Err(malformed("transaction: too many endorsements"));
        }
        let (chaincode, arguments) = invocation(proposal)?;
        let action =
            ChaincodeAction::decode(response.extension.as_slice()).map_err(|_| malformed(WHAT))?;
        let (sets, hashed) = sets(&action.results)?;
        Ok(Self {
            header,
            creator: signer.creator,
            envelope,
            chaincode,
            arguments,
            response: endorsed.proposal_response_payload,
            endorsements: endorsed.endorsements,
            sets,
            hashed,
            action,
        })
    }

    /// Its ID.
    pub fn tx_id(&self) -> &str {
        &self.header.tx_id
    }

    /// The channel that it is for.
    pub fn channel_id(&self) -> &str {
        &self.header.channel_id
    }

    /// The time that its creator claims, seconds since 1970.
    pub fn unix_seconds(&self) -> Option<i64> {
        self.header.timestamp.as_ref().map(|time| time.seconds)
    }

    /// The chaincode that was called.
    pub fn chaincode(&self) -> &str {
        &self.chaincode
    }

    /// The public arguments; the first is the function's name.
    pub fn arguments(&self) -> &[Vec<u8>] {
        &self.arguments
    }

    /// What the chaincode answered: status and payload.
    pub fn response(&self) -> Option<&Response> {
        self.action.response.as_ref()
    }

    /// Name and payload of the chaincode's event, if there is one.
    pub fn event(&self) -> Option<(String, Vec<u8>)> {
        let event = ChaincodeEvent::decode(self.action.events.as_slice()).ok()?;
        (!event.event_name.is_empty()).then_some((event.event_name, event.payload))
    }

    /// Checks that the creator is valid on the channel and signed the transaction.
    ///
    /// # Errors
    /// [`BlockError::Identity`] or [`BlockError::Signature`].
    pub fn verify_creator(&self, msps: &MspManager) -> Result<ValidIdentity, BlockError> {
        let Envelope { payload, signature } = &self.envelope;
        verified(msps, "creator", &self.creator, payload, signature)
    }

    /// Checks each endorsement: the endorser is a valid peer on the channel and signed this
    /// transaction's response with its reads and writes.
    pub fn verify_endorsers(&self, msps: &MspManager) -> Vec<Endorser> {
        let verify = |endorsement: &Endorsement| {
            let signed = [self.response.as_slice(), &endorsement.endorser].concat();
            let signature = &endorsement.signature;
            let peer = verified(msps, "endorser", &endorsement.endorser, &signed, signature)?;
            // An MSP without node OUs has no peers by name; its policies can only ask for members.
            match peer.node_ou {
                None | Some(NodeOu::Peer) => Ok(peer),
                Some(_) => Err(BlockError::NotPeer {
                    subject: peer.certificate.subject(),
                    msp_id: peer.msp_id.to_string(),
                }),
            }
        };
        self.endorsements.iter().map(verify).collect()
    }

    /// The endorsers whose signature holds, each once.
    pub fn valid_endorsers(&self, msps: &MspManager) -> Vec<ValidIdentity> {
        distinct(self.verify_endorsers(msps).into_iter().flatten().collect())
    }

    /// The value that the transaction writes under a public key, empty for a deletion; none if
    /// it does not write it.
    pub fn public_write(&self, namespace: &str, key: &str) -> Option<&[u8]> {
        let mut writes = self.public(namespace).flat_map(|set| &set.writes);
        let write = writes.find(|write| write.key == key)?;
        Some(&write.value)
    }

    /// The version of a public key that the transaction read; none if it did not read it, or
    /// there was nothing.
    pub fn public_read(&self, namespace: &str, key: &str) -> Option<Version> {
        let mut reads = self.public(namespace).flat_map(|set| &set.reads);
        let version = reads.find(|read| read.key == key)?.version.as_ref()?;
        Some(Version {
            block: version.block_num,
            transaction: version.tx_num,
        })
    }

    /// SHA-256 of the private keys of a collection that the transaction purges.
    pub fn purged(&self, namespace: &str, collection: &str) -> Vec<[u8; 32]> {
        let hashed = self.hashed.iter();
        let named = hashed.filter(|set| set.namespace == namespace && set.collection == collection);
        let writes = named.flat_map(|set| &set.writes.hashed_writes);
        let purges = writes.filter(|write| write.is_purge);
        purges
            .filter_map(|write| write.key_hash.as_slice().try_into().ok())
            .collect()
    }

    fn public(&self, namespace: &str) -> impl Iterator<Item = &KvrwSet> {
        let sets = self.sets.iter();
        sets.filter(move |(name, _)| name == namespace)
            .map(|(_, set)| set)
    }
}

/// Chaincode and arguments of a proposal.
fn invocation(proposal: &[u8]) -> Result<(String, Vec<Vec<u8>>), BlockError> {
    let what = || malformed("proposal of the transaction");
    let proposal = ChaincodeProposalPayload::decode(proposal).map_err(|_| what())?;
    let spec = ChaincodeInvocationSpec::decode(proposal.input.as_slice()).map_err(|_| what())?;
    let spec = spec.chaincode_spec.ok_or_else(what)?;
    let chaincode = spec.chaincode_id.ok_or_else(what)?.name;
    Ok((chaincode, spec.input.unwrap_or_default().args))
}

/// Public reads and writes by namespace, and those of collections.
type Sets = (Vec<(String, KvrwSet)>, Vec<Hashed>);

/// The read-write set.
fn sets(results: &[u8]) -> Result<Sets, BlockError> {
    let what = || malformed("read-write set of the transaction");
    let results = TxReadWriteSet::decode(results).map_err(|_| what())?;
    let (mut public, mut hashed) = (Vec::new(), Vec::new());
    for set in results.ns_rwset {
        for collection in set.collection_hashed_rwset {
            let writes = HashedRwSet::decode(collection.hashed_rwset.as_slice());
            hashed.push(Hashed {
                namespace: set.namespace.clone(),
                collection: collection.collection_name,
                writes: writes.map_err(|_| what())?,
            });
        }
        let own = KvrwSet::decode(set.rwset.as_slice()).map_err(|_| what())?;
        public.push((set.namespace, own));
    }
    Ok((public, hashed))
}
