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

#[cfg(test)]
mod tests {
    use fabric_protos::protos::{ChaincodeSpec, SignedProposal as WireProposal};

    use super::*;

    fn key() -> TransactionKey {
        TransactionKey {
            channel_id: "ch".to_owned(),
            tx_id: "tx".to_owned(),
        }
    }

    fn input(args: &[&str]) -> ChaincodeInput {
        ChaincodeInput {
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            ..ChaincodeInput::default()
        }
    }

    struct Parts {
        kind: i32,
        epoch: u64,
        proposed: ChaincodeInput,
    }

    fn signed(parts: Parts) -> WireProposal {
        let channel = ChannelHeader {
            r#type: parts.kind,
            epoch: parts.epoch,
            ..ChannelHeader::default()
        };
        let signature = SignatureHeader {
            creator: b"creator".to_vec(),
            nonce: b"nonce".to_vec(),
        };
        let header = Header {
            channel_header: channel.encode_to_vec(),
            signature_header: signature.encode_to_vec(),
        };
        let spec = ChaincodeInvocationSpec {
            chaincode_spec: Some(ChaincodeSpec {
                input: Some(parts.proposed),
                ..ChaincodeSpec::default()
            }),
        };
        let payload = ChaincodeProposalPayload {
            input: spec.encode_to_vec(),
            ..ChaincodeProposalPayload::default()
        };
        let proposal = Proposal {
            header: header.encode_to_vec(),
            payload: payload.encode_to_vec(),
            ..Proposal::default()
        };
        WireProposal {
            proposal_bytes: proposal.encode_to_vec(),
            signature: vec![],
        }
    }

    fn parse(args: &[&str], parts: Parts) -> Result<Transaction, TransactionError> {
        let bytes = input(args).encode_to_vec();
        Transaction::parse(key(), &bytes, Some(signed(parts)))
    }

    fn parts() -> Parts {
        Parts {
            kind: HeaderType::EndorserTransaction.into(),
            epoch: 0,
            proposed: input(&["f", "x"]),
        }
    }

    #[test]
    fn a_call_without_proposal_has_arguments_only() {
        let bytes = input(&["f"]).encode_to_vec();
        let transaction = Transaction::parse(key(), &bytes, None).unwrap();
        assert_eq!(transaction.args, [b"f"]);
        assert!(transaction.creator.is_empty() && transaction.binding.is_empty());
    }

    #[test]
    fn the_epoch_is_part_of_the_binding_in_little_endian() {
        let with_epoch = |epoch| {
            let parts = Parts { epoch, ..parts() };
            parse(&["f", "x"], parts).unwrap().binding
        };
        let expected = digest(&SHA256, b"noncecreator\x02\x01\0\0\0\0\0\0");
        assert_eq!(with_epoch(0x0102), expected.as_ref());
        assert_ne!(with_epoch(0), with_epoch(1));
    }

    #[test]
    fn a_call_that_is_not_the_proposed_one_comes_from_another_chaincode() {
        assert!(!parse(&["f", "x"], parts()).unwrap().nested);
        assert!(parse(&["g"], parts()).unwrap().nested);
    }

    #[test]
    fn only_transactions_headers_are_taken() {
        for (kind, taken) in [
            (HeaderType::EndorserTransaction, true),
            (HeaderType::Config, true),
            (HeaderType::Message, false),
            (HeaderType::DeliverSeekInfo, false),
        ] {
            let kind = kind.into();
            let parsed = parse(&["f"], Parts { kind, ..parts() });
            assert_eq!(parsed.is_ok(), taken, "{kind}");
        }
    }

    #[test]
    fn broken_parts_are_named() {
        let broken = |proposal: Proposal| {
            let signed = WireProposal {
                proposal_bytes: proposal.encode_to_vec(),
                signature: vec![],
            };
            Transaction::parse(key(), &[], Some(signed))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(broken(Proposal::default()), "proposal header is missing");
        let header = |header: Header| Proposal {
            header: header.encode_to_vec(),
            ..Proposal::default()
        };
        let bad_channel = Header {
            channel_header: b"\xff".to_vec(),
            ..Header::default()
        };
        assert_eq!(
            broken(header(bad_channel)),
            "channel header cannot be decoded"
        );
        let input = Transaction::parse(key(), b"\xff", None).unwrap_err();
        assert_eq!(input.to_string(), "chaincode input cannot be decoded");
    }
}
