//! Block 0 written and read back.

use std::path::Path;

use fabric_msp::{Msp, MspId, SigningIdentity};
use prost_types::Timestamp;

use super::*;
use crate::ledger::{block_header_hash, chain_block, sign_block};
use crate::policy::{Layout, PolicyError, SignedData, combine, parse_policy};

struct Network {
    dir: tempfile::TempDir,
    profile: NetworkProfile,
}

fn network(organizations: usize) -> Network {
    let dir = tempfile::tempdir().unwrap();
    fabric_mspgen::cryptogen(dir.path(), organizations).unwrap();
    let config = |msp_id: &str, folder: &Path| {
        let msp_id = MspId::parse(msp_id).unwrap();
        Msp::from_dir(msp_id, folder).unwrap().to_config()
    };
    let organization = |number: usize| {
        let folder = format!("peerOrganizations/org{number}.example.com/msp");
        OrganizationProfile {
            msp: config(&format!("Org{number}MSP"), &dir.path().join(folder)),
            anchor_peers: vec![(format!("peer0.org{number}.example.com"), 7051)],
        }
    };
    let orderer = dir.path().join("ordererOrganizations/example.com/msp");
    let profile = NetworkProfile {
        channel_id: "mychannel".to_owned(),
        orderer: OrdererProfile {
            msp: config("OrdererMSP", &orderer),
            addresses: vec!["127.0.0.1:7050".to_owned()],
        },
        organizations: (1..=organizations).map(organization).collect(),
        batch: BatchProfile::default(),
    };
    Network { dir, profile }
}

impl Network {
    fn config(&self) -> ChannelConfig {
        ChannelConfig::from_block(&self.genesis()).unwrap()
    }

    fn genesis(&self) -> fabric_protos::common::Block {
        let timestamp = Timestamp {
            seconds: 1_700_000_000,
            nanos: 1,
        };
        genesis_block(&self.profile, timestamp, [3; 24]).unwrap()
    }

    /// `peer0`, `User1` or `Admin` of the organisation.
    fn identity(&self, organization: usize, name: &str) -> SigningIdentity {
        let domain = format!("org{organization}.example.com");
        let folder = if name == "peer0" {
            format!("peers/{name}.{domain}")
        } else {
            format!("users/{name}@{domain}")
        };
        let folder = format!("peerOrganizations/{domain}/{folder}/msp");
        let msp_id = MspId::parse(&format!("Org{organization}MSP")).unwrap();
        SigningIdentity::from_msp_dir(msp_id, &self.dir.path().join(folder)).unwrap()
    }

    fn signed(&self, signers: &[(usize, &str)]) -> Vec<SignedData> {
        let sign = |(organization, name): &(usize, &str)| {
            let signer = self.identity(*organization, name);
            SignedData {
                data: b"message".to_vec(),
                identity: signer.serialized(),
                signature: signer.sign(b"message").unwrap(),
            }
        };
        signers.iter().map(sign).collect()
    }
}

#[test]
fn what_is_written_is_read_back() {
    let network = network(2);
    let config = network.config();
    assert_eq!(config.channel_id(), "mychannel");
    let organizations: Vec<_> = config.organizations().iter().map(MspId::as_str).collect();
    assert_eq!(organizations, ["Org1MSP", "Org2MSP"]);
    let first = &config.organizations()[0];
    let anchors = [("peer0.org1.example.com".to_owned(), 7051)];
    assert_eq!(config.anchor_peers(first), anchors);
    assert_eq!(config.orderer_addresses(), ["127.0.0.1:7050"]);
    assert_eq!(config.batch(), &BatchProfile::default());
    assert!(config.has_application_capability("V2_5"));
    assert!(!config.has_application_capability("V1_4"));
    let msps = config.msps().msps().count();
    assert_eq!(msps, 3, "the orderer's MSP is one of them");
    assert_eq!(
        config
            .organization_policy_path("Org2MSP", "Endorsement")
            .as_deref(),
        Some("/Channel/Application/Org2MSP/Endorsement")
    );
    assert_eq!(
        config.organization_policy_path("OrdererMSP", "Endorsement"),
        None
    );
}

#[test]
fn equal_profiles_give_equal_blocks() {
    let network = network(2);
    let header = network.genesis().header.unwrap();
    assert!(header.previous_hash.is_empty());
    assert_eq!(network.genesis(), network.genesis());
}

#[test]
fn the_policies_are_those_of_test_network() {
    let network = network(3);
    let config = network.config();
    type Case<'c> = (&'c str, &'c [(usize, &'c str)], bool);
    let cases: &[Case<'_>] = &[
        ("/Channel/Application/Writers", &[(1, "User1")], true),
        ("/Channel/Application/Writers", &[(1, "Admin")], true),
        ("/Channel/Application/Writers", &[(1, "peer0")], false),
        ("/Channel/Application/Readers", &[(2, "peer0")], true),
        ("/Channel/Application/Readers", &[], false),
        (
            "/Channel/Application/Admins",
            &[(1, "Admin"), (2, "Admin")],
            true,
        ),
        ("/Channel/Application/Admins", &[(1, "Admin")], false),
        (
            "/Channel/Application/Admins",
            &[(1, "Admin"), (1, "Admin")],
            false,
        ),
        (
            "/Channel/Application/Admins",
            &[(1, "Admin"), (2, "User1")],
            false,
        ),
        (
            "/Channel/Application/Endorsement",
            &[(1, "peer0"), (3, "peer0")],
            true,
        ),
        ("/Channel/Application/Endorsement", &[(1, "peer0")], false),
        (
            "/Channel/Application/LifecycleEndorsement",
            &[(2, "peer0"), (3, "peer0")],
            true,
        ),
        ("/Channel/Application/Org1MSP/Admins", &[(1, "Admin")], true),
        (
            "/Channel/Application/Org1MSP/Admins",
            &[(2, "Admin")],
            false,
        ),
        ("/Channel/Readers", &[(1, "User1")], true),
    ];
    for (path, signers, expected) in cases {
        let outcome = config.evaluate(path, &network.signed(signers));
        assert_eq!(outcome.is_ok(), *expected, "{path} {signers:?} {outcome:?}");
    }
}

#[test]
fn a_refusal_says_what_is_missing() {
    let network = network(2);
    let config = network.config();
    let path = "/Channel/Application/Endorsement";
    let refused = config.evaluate(path, &network.signed(&[(1, "peer0")]));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy \
         requires 2 of the 'Endorsement' sub-policies to be satisfied"
    );
    for path in [
        "",
        "Writers",
        "/Other/Writers",
        "/Channel/None/Writers",
        "/Channel",
    ] {
        let unknown = PolicyError::Unknown {
            path: path.to_owned(),
        };
        assert_eq!(config.evaluate(path, &[]), Err(unknown), "{path:?}");
    }
}

#[test]
fn a_forged_signature_counts_for_nothing() {
    let network = network(1);
    let config = network.config();
    let mut signed = network.signed(&[(1, "User1")]);
    signed[0].data = b"another message".to_vec();
    let outcome = config.evaluate("/Channel/Application/Writers", &signed);
    assert!(outcome.is_err());
}

#[test]
fn layouts_of_the_default_policy_are_the_majorities() {
    let network = network(3);
    let config = network.config();
    let policy = crate::policy::application_policy(None, Some("/Channel/Application/Endorsement"));
    let requirement = config.requirement(&policy.unwrap().unwrap());
    let show = |layout: &Layout| {
        let names: Vec<_> = layout.organizations.keys().map(MspId::as_str).collect();
        names.join(" ")
    };
    let layouts: Vec<_> = combine(&[requirement]).iter().map(show).collect();
    assert_eq!(
        layouts,
        ["Org1MSP Org2MSP", "Org1MSP Org3MSP", "Org2MSP Org3MSP"]
    );
}

#[test]
fn bad_profiles_are_refused() {
    let good = network(1).profile;
    let write =
        |profile: &NetworkProfile| genesis_block(profile, Timestamp::default(), [0; 24]).map(drop);
    assert!(write(&good).is_ok());
    for name in ["", "1channel", "My-Channel", "a_b", &"a".repeat(250)] {
        let mut profile = good.clone();
        profile.channel_id = name.to_owned();
        let refused = write(&profile);
        assert!(
            matches!(refused, Err(GenesisError::ChannelName { .. })),
            "{name}"
        );
    }
    let mut twice = good.clone();
    twice.organizations.push(good.organizations[0].clone());
    assert!(matches!(
        write(&twice),
        Err(GenesisError::DuplicateMsp { .. })
    ));
    let mut unnameable = good;
    unnameable.organizations[0].msp.name = "Org 1".to_owned();
    assert!(matches!(write(&unnameable), Err(GenesisError::Policy(_))));
}

#[test]
fn a_block_of_anything_else_is_no_configuration() {
    let network = network(1);
    let mut block = network.genesis();
    block.data.as_mut().unwrap().data.clear();
    assert!(matches!(
        ChannelConfig::from_block(&block),
        Err(ConfigError::NotConfig)
    ));
    block.data.as_mut().unwrap().data.push(vec![0xff; 4]);
    assert!(matches!(
        ChannelConfig::from_block(&block),
        Err(ConfigError::Decode {
            part: "the envelope",
            ..
        })
    ));
}

#[test]
fn an_orderers_signature_covers_header_and_metadata() {
    use fabric_protos::common::{Metadata, OrdererBlockMetadata, SignatureHeader};
    use prost::Message;

    let network = network(1);
    let genesis = network.genesis();
    let signer = network.identity(1, "peer0");
    let mut block = chain_block(&genesis, vec![b"envelope".to_vec()]);
    sign_block(&mut block, &signer, [9; 24], 0).unwrap();
    let header = block.header.clone().unwrap();
    assert_eq!(
        header.previous_hash,
        block_header_hash(&genesis.header.unwrap())
    );
    let slots = block.metadata.unwrap().metadata;
    let metadata = Metadata::decode(slots[0].as_slice()).unwrap();
    let value = OrdererBlockMetadata::decode(metadata.value.as_slice()).unwrap();
    assert_eq!(value.last_config.unwrap().index, 0);
    let signature = &metadata.signatures[0];
    let signature_header = SignatureHeader::decode(signature.signature_header.as_slice()).unwrap();
    assert_eq!(signature_header.creator, signer.serialized());
    let signed = [
        metadata.value.as_slice(),
        &signature.signature_header,
        &crate::ledger::block_header_bytes(&header),
    ]
    .concat();
    let certificate = signer.certificate();
    certificate
        .verify_der(&signed, &signature.signature)
        .unwrap();
}

#[test]
fn key_policies_need_no_channel() {
    let policy = parse_policy("OR('Org1MSP.peer')").unwrap();
    let requirement = crate::policy::Requirement::from_signature_policy(&policy);
    assert_eq!(requirement.layouts().len(), 1);
}
