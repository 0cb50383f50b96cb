//! Private data: hashes, purge, conflicts, permissions.

use fabric_protos::{kvrwset::HashedRwSet, rwset::TxReadWriteSet};
use prost::Message as _;

use super::{super::*, Script, answer, ledger};
use crate::create_composite_key;

fn private(steps: &[(&str, &str, &str)]) -> Tx {
    Tx::submit("Private").json(steps)
}

#[tokio::test]
async fn private_values_go_apart_and_leave_hashes() {
    let (ledger, chaincode) = ledger();
    let result = ledger
        .invoke(&chaincode, private(&[("put", "k", "v")]))
        .await;
    assert_eq!(result.private_writes[0].value, Some(b"v".to_vec()));
    let set = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
    let collection = &set.ns_rwset[0].collection_hashed_rwset[0];
    let hashed = HashedRwSet::decode(collection.hashed_rwset.as_slice()).unwrap();
    assert_eq!(hashed.hashed_writes[0].key_hash, state::sha256(b"k"));
    assert_eq!(hashed.hashed_writes[0].value_hash, state::sha256(b"v"));
    let private_set =
        fabric_protos::rwset::TxPvtReadWriteSet::decode(result.private_rwset.as_slice()).unwrap();
    let private_bytes = &private_set.ns_pvt_rwset[0].collection_pvt_rwset[0].rwset;
    assert_eq!(collection.pvt_rwset_hash, state::sha256(private_bytes));
    assert!(
        !result.rwset.windows(1).any(|byte| byte == b"v"),
        "the value is not public"
    );
    let read = ledger
        .invoke(
            &chaincode,
            private(&[("get", "k", ""), ("hash", "k", ""), ("get", "x", "")]),
        )
        .await;
    assert_eq!(answer(&read), r#"["v","32",""]"#);
}

#[tokio::test]
async fn deleted_and_purged_private_values_are_gone() {
    for how in ["del", "purge"] {
        let (ledger, chaincode) = ledger();
        ledger
            .invoke(&chaincode, private(&[("put", "k", "v")]))
            .await;
        let result = ledger.invoke(&chaincode, private(&[(how, "k", "")])).await;
        let set = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
        let collection = &set.ns_rwset[0].collection_hashed_rwset[0];
        let hashed = HashedRwSet::decode(collection.hashed_rwset.as_slice()).unwrap();
        assert!(hashed.hashed_writes[0].is_delete);
        assert_eq!(hashed.hashed_writes[0].is_purge, how == "purge");
        let read = ledger
            .invoke(&chaincode, private(&[("get", "k", ""), ("hash", "k", "")]))
            .await;
        assert_eq!(answer(&read), r#"["",""]"#);
        assert!(ledger.private_keys("c").is_empty());
    }
}

#[tokio::test]
async fn private_metadata_belong_to_the_hash() {
    let (ledger, chaincode) = ledger();
    ledger
        .invoke(
            &chaincode,
            private(&[("put", "k", "v"), ("policy", "k", "P")]),
        )
        .await;
    let read = ledger
        .invoke(
            &chaincode,
            private(&[("getpolicy", "k", ""), ("get", "k", "")]),
        )
        .await;
    assert_eq!(answer(&read), r#"["P","v"]"#);
}

#[tokio::test]
async fn private_reads_conflict_like_public_ones() {
    let (ledger, chaincode) = ledger();
    ledger
        .invoke(&chaincode, private(&[("put", "k", "1")]))
        .await;
    let steps = [("get", "k", ""), ("put", "k", "2")];
    let one = ledger.simulate(&chaincode, private(&steps)).await;
    let two = ledger.simulate(&chaincode, private(&steps)).await;
    let codes = ledger.commit(&[one, two]);
    assert_eq!(
        codes,
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
}

#[tokio::test]
async fn a_value_that_has_not_arrived_is_refused() {
    let (ledger, chaincode) = ledger();
    ledger
        .invoke(&chaincode, private(&[("put", "k", "v")]))
        .await;
    ledger.lose_private_value("c", "k");
    let read = ledger
        .invoke(&chaincode, private(&[("get", "k", "")]))
        .await;
    assert!(
        read.response.message.ends_with(
            "private data matching public hash version is not available. Public hash version = \
             {BlockNum: 1, TxNum: 0}, Private data version = <nil>"
        ),
        "{}",
        read.response.message
    );
}

#[tokio::test]
async fn private_ranges_and_writes_exclude_each_other() {
    let (ledger, chaincode) = ledger();
    let composite = |part: &str| create_composite_key("t", &["p", part]).unwrap();
    let (a, b) = (composite("a"), composite("b"));
    let steps = [("put", "x", "1"), ("put", &a, "2"), ("put", &b, "3")];
    ledger.invoke(&chaincode, private(&steps)).await;
    let range = ("range", "", "");
    let read = ledger
        .invoke(
            &chaincode,
            private(&[range, ("after", "p", ""), ("after", "p", &a)]),
        )
        .await;
    assert_eq!(answer(&read), r#"["x","|t|p|a|,|t|p|b|","|t|p|b|"]"#);
    // A private range leaves nothing in the read set.
    let result = ledger.simulate(&chaincode, private(&[range])).await;
    assert!(
        TxReadWriteSet::decode(result.rwset.as_slice())
            .unwrap()
            .ns_rwset
            .is_empty()
    );
    for steps in [[range, ("put", "y", "1")], [("put", "y", "1"), range]] {
        let refused = ledger.invoke(&chaincode, private(&steps)).await;
        assert!(
            refused.response.message.contains("unsuppored transaction"),
            "{refused:?}"
        );
    }
    let outside = ledger
        .invoke(&chaincode, private(&[("after", "q", &a)]))
        .await;
    assert_eq!(outside.response.status, 400);
}

#[tokio::test]
async fn collections_must_be_defined_and_may_be_closed_to_strangers() {
    let chaincode = Chaincode::new().with(Script);
    for ledger in [
        MemoryLedger::new("ch"),
        MemoryLedger::new("ch").with_collections(&["d"]),
    ] {
        for step in ["put", "get"] {
            let result = ledger
                .invoke(&chaincode, private(&[(step, "k", "v")]))
                .await;
            let text = "collection ch/chaincode/c could not be found";
            assert!(result.response.message.ends_with(text), "{result:?}");
        }
        let result = ledger
            .invoke(&chaincode, private(&[("hash", "k", "")]))
            .await;
        assert!(!result.response.is_success());
    }
    let closed = CollectionConfig::new("c")
        .members(&["Org1MSP"])
        .member_only_read()
        .member_only_write();
    let closed = MemoryLedger::new("ch").with_collection(closed);
    for (msp_id, step, refused) in [
        ("Org1MSP", "put", None),
        ("Org1MSP", "get", None),
        ("Org2MSP", "put", Some("write access permission")),
        ("Org2MSP", "get", Some("read access permission")),
        ("Org2MSP", "hash", None),
    ] {
        let identity = fabric_protos::msp::SerializedIdentity {
            mspid: msp_id.to_owned(),
            id_bytes: vec![],
        };
        let client = closed.as_client(identity.encode_to_vec());
        let result = client
            .invoke(&chaincode, private(&[(step, "k", "v")]))
            .await;
        match refused {
            None => assert!(result.response.is_success(), "{msp_id} {step}"),
            Some(text) => assert!(result.response.message.contains(text), "{msp_id} {step}"),
        }
    }
}
