//! A channel of three organisations to test on: certificates, endorsement, ordering.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fabric_msp::{Msp, MspId, SigningIdentity};
use fabric_protos::common::{
    ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_protos::protos::{
    ApplicationPolicy, ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction,
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeProposalPayload, Endorsement,
    ProposalResponsePayload, Response, Transaction, TransactionAction, TxValidationCode,
};
use prost::Message;
use prost_types::Timestamp;
use tempfile::TempDir;

use super::super::hash::sha256;
use super::super::*;
use crate::genesis::{
    BatchProfile, NetworkProfile, OrdererProfile, OrganizationProfile, genesis_block,
};
use crate::policy::{application_policy, parse_collections};

pub(super) const CHANNEL: &str = "testchannel";
pub(super) const CHAINCODE: &str = "basic";

/// Certificates are made once for all tests of the process.
static CRYPTO: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fabric_mspgen::cryptogen(dir.path(), 3).unwrap();
    dir
});

pub(super) fn msp_id(number: usize) -> MspId {
    MspId::parse(&format!("Org{number}MSP")).unwrap()
}

fn organization_dir(number: usize) -> PathBuf {
    let name = format!("org{number}.example.com");
    CRYPTO.path().join("peerOrganizations").join(name)
}

fn signer(number: usize, folder: &str, name: &str) -> SigningIdentity {
    let name = format!("{name}.org{number}.example.com");
    let name = match folder {
        "users" => name.replacen('.', "@", 1),
        _ => name,
    };
    let dir = organization_dir(number).join(folder).join(name).join("msp");
    SigningIdentity::from_msp_dir(msp_id(number), &dir).unwrap()
}

pub(super) fn peer(number: usize) -> SigningIdentity {
    signer(number, "peers", "peer0")
}

pub(super) fn user(number: usize) -> SigningIdentity {
    signer(number, "users", "User1")
}

pub(super) fn orderer() -> SigningIdentity {
    let dir = "ordererOrganizations/example.com/orderers/orderer.example.com/msp";
    let msp_id = MspId::parse("OrdererMSP").unwrap();
    SigningIdentity::from_msp_dir(msp_id, &CRYPTO.path().join(dir)).unwrap()
}

pub(super) fn profile() -> NetworkProfile {
    let config = |msp_id: MspId, dir: &Path| Msp::from_dir(msp_id, dir).unwrap().to_config();
    let orderer = CRYPTO.path().join("ordererOrganizations/example.com/msp");
    NetworkProfile {
        channel_id: CHANNEL.to_owned(),
        orderer: OrdererProfile {
            msp: config(MspId::parse("OrdererMSP").unwrap(), &orderer),
            addresses: vec!["127.0.0.1:7050".to_owned()],
        },
        organizations: (1..=3)
            .map(|number| OrganizationProfile {
                msp: config(msp_id(number), &organization_dir(number).join("msp")),
                anchor_peers: vec![("127.0.0.1".to_owned(), 7051)],
            })
            .collect(),
        batch: BatchProfile::default(),
    }
}

/// A channel in a folder of its own.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) channel: Channel,
    nonce: u64,
}

/// An endorsed transaction in the making.
pub(super) struct Tx {
    pub(super) chaincode: String,
    pub(super) endorsers: Vec<usize>,
    pub(super) results: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) version: String,
    pub(super) event: Vec<u8>,
    pub(super) channel: String,
    pub(super) creator: usize,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let timestamp = Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        };
        let genesis = genesis_block(&profile(), timestamp, [7; 24]).unwrap();
        let channel = Channel::create(&dir.path().join("ledger"), &genesis).unwrap();
        Self {
            dir,
            channel,
            nonce: 0,
        }
    }

    /// A world where the chaincode is defined with the policy and the collections.
    pub(super) fn with(policy: Option<&str>, collections: &str) -> Self {
        let mut world = Self::new();
        world.define(CHAINCODE, 1, policy, collections);
        world
    }

    pub(super) fn reopen(self) -> Self {
        let Self {
            dir,
            channel,
            nonce,
        } = self;
        drop(channel);
        let channel = Channel::open(&dir.path().join("ledger")).unwrap();
        Self {
            dir,
            channel,
            nonce,
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("ledger/blocks.log")
    }

    pub(super) fn define(
        &mut self,
        name: &str,
        sequence: i64,
        policy: Option<&str>,
        collections: &str,
    ) {
        let reference = policy
            .is_none()
            .then_some("/Channel/Application/Endorsement");
        let policy: ApplicationPolicy = application_policy(policy, reference).unwrap().unwrap();
        let definition = ChaincodeDefinition {
            name: name.to_owned(),
            sequence,
            version: "1.0".to_owned(),
            init_required: false,
            endorsement_plugin: "escc".to_owned(),
            validation_plugin: "vscc".to_owned(),
            validation_parameter: policy.encode_to_vec(),
            collections: parse_collections(collections.as_bytes()).unwrap(),
        };
        let tx = self.tx("_lifecycle", &[1, 2], |sim| {
            for (key, value) in definition.to_state() {
                sim.put_state("_lifecycle", &key, value).unwrap();
            }
        });
        assert_eq!(self.commit(&[&tx]), [TxValidationCode::Valid]);
    }

    pub(super) fn simulator(&self, organization: usize) -> Simulator {
        self.channel.simulator("test", &msp_id(organization))
    }

    /// Simulates at the first organisation and endorses. Private writes are put aside.
    pub(super) fn tx(
        &mut self,
        chaincode: &str,
        endorsers: &[usize],
        run: impl FnOnce(&mut Simulator),
    ) -> Tx {
        self.nonce += 1;
        let nonce = sha256(&self.nonce.to_le_bytes())[..24].to_vec();
        let tx_id = transaction_id(&nonce, &user(1).serialized());
        let mut simulator = self.channel.simulator(&tx_id, &msp_id(1));
        run(&mut simulator);
        let results = simulator.finish();
        if let Some(private) = &results.private {
            self.channel.store_transient(&tx_id, private).unwrap();
        }
        Tx {
            chaincode: chaincode.to_owned(),
            endorsers: endorsers.to_vec(),
            results: results.public,
            nonce,
            version: "1.0".to_owned(),
            event: Vec::new(),
            channel: CHANNEL.to_owned(),
            creator: 1,
        }
    }

    /// Simulates and endorses a transaction of the chaincode with all organisations.
    pub(super) fn basic(&mut self, run: impl FnOnce(&mut Simulator)) -> Tx {
        self.tx(CHAINCODE, &[1, 2, 3], run)
    }

    /// Commits the transactions in one block and gives their codes.
    pub(super) fn commit(&mut self, txs: &[&Tx]) -> Vec<TxValidationCode> {
        let envelopes = txs.iter().map(|tx| tx.envelope()).collect();
        self.commit_envelopes(envelopes)
            .into_iter()
            .map(|transaction| transaction.code)
            .collect()
    }

    pub(super) fn commit_envelopes(
        &mut self,
        envelopes: Vec<Vec<u8>>,
    ) -> Vec<CommittedTransaction> {
        let mut block = self.channel.next_block(envelopes);
        sign_block(&mut block, &orderer(), [5; 24], 0).unwrap();
        let mut committed = self.channel.commit(vec![block]).unwrap();
        assert_eq!(committed.len(), 1);
        committed.remove(0).transactions
    }

    /// Commits one transaction and asserts that it is valid.
    pub(super) fn run(&mut self, run: impl FnOnce(&mut Simulator)) {
        let tx = self.basic(run);
        assert_eq!(self.commit(&[&tx]), [TxValidationCode::Valid]);
    }

    /// Writes public keys of the chaincode in one transaction; an empty value deletes.
    pub(super) fn put(&mut self, pairs: &[(&str, &str)]) {
        self.run(|sim| {
            for (key, value) in pairs {
                sim.put_state(CHAINCODE, key, value.as_bytes().to_vec())
                    .unwrap();
            }
        });
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        let value = self.simulator(1).get_state(CHAINCODE, key).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }
}

impl Tx {
    pub(super) fn tx_id(&self) -> String {
        transaction_id(&self.nonce, &user(self.creator).serialized())
    }

    fn header(&self) -> Header {
        let extension = ChaincodeHeaderExtension {
            chaincode_id: Some(ChaincodeId {
                name: self.chaincode.clone(),
                ..ChaincodeId::default()
            }),
        };
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            timestamp: Some(Timestamp {
                seconds: 1_700_000_001,
                nanos: 5,
            }),
            channel_id: self.channel.clone(),
            tx_id: self.tx_id(),
            extension: extension.encode_to_vec(),
            ..ChannelHeader::default()
        };
        Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: SignatureHeader {
                creator: user(self.creator).serialized(),
                nonce: self.nonce.clone(),
            }
            .encode_to_vec(),
        }
    }

    /// The payload of the envelope, unsigned.
    pub(super) fn payload(&self) -> Payload {
        let header = self.header();
        let proposal = ChaincodeProposalPayload {
            input: b"arguments".to_vec(),
            transient_map: BTreeMap::new(),
        }
        .encode_to_vec();
        let action = ChaincodeAction {
            results: self.results.clone(),
            events: self.event.clone(),
            response: Some(Response {
                status: 200,
                ..Response::default()
            }),
            chaincode_id: Some(ChaincodeId {
                name: self.chaincode.clone(),
                version: self.version.clone(),
                ..ChaincodeId::default()
            }),
        };
        let hashed = [
            header.channel_header.as_slice(),
            &header.signature_header,
            &proposal,
        ];
        let response = ProposalResponsePayload {
            proposal_hash: sha256(&hashed.concat()),
            extension: action.encode_to_vec(),
        }
        .encode_to_vec();
        let endorsements = self.endorsers.iter().map(|number| {
            let peer = peer(*number);
            let endorser = peer.serialized();
            Endorsement {
                signature: peer
                    .sign(&[response.as_slice(), &endorser].concat())
                    .unwrap(),
                endorser,
            }
        });
        let action = ChaincodeActionPayload {
            chaincode_proposal_payload: proposal,
            action: Some(ChaincodeEndorsedAction {
                endorsements: endorsements.collect(),
                proposal_response_payload: response,
            }),
        };
        let transaction = Transaction {
            actions: vec![TransactionAction {
                header: header.signature_header.clone(),
                payload: action.encode_to_vec(),
            }],
        };
        Payload {
            header: Some(header),
            data: transaction.encode_to_vec(),
        }
    }

    pub(super) fn envelope(&self) -> Vec<u8> {
        sign(&self.payload(), self.creator)
    }
}

/// An envelope of the payload signed by the user of the organisation.
pub(super) fn sign(payload: &Payload, creator: usize) -> Vec<u8> {
    let payload = payload.encode_to_vec();
    let signature = user(creator).sign(&payload).unwrap();
    Envelope { payload, signature }.encode_to_vec()
}
