//! Bytes that Fabric's own code made of the same input, under `tests/golden/ledger`.

use std::collections::BTreeMap;

use fabric_protos::common::{BlockData, BlockHeader};
use fabric_protos::kvrwset::range_query_info::ReadsInfo;
use fabric_protos::kvrwset::{KvRead, QueryReads, RangeQueryInfo};
use prost::Message;
use serde::Deserialize;

use super::super::commit_hash::{commit_hash, update_bytes};
use super::super::hash::sha256;
use super::super::range_reads::{CollectedReads, MAX_DEGREE, RangeReads};
use super::super::rwset::{Metadata, RwSetBuilder};
use super::super::state::{CollectionId, HashedValue, PublicValue, Update, UpdateBatch};
use super::super::*;
use crate::policy::parse_policy;

#[derive(Deserialize)]
struct Golden {
    rwset: BTreeMap<String, String>,
    range_queries: BTreeMap<u64, String>,
    headers: Vec<BTreeMap<String, String>>,
    data_hash: String,
    transaction_id: String,
    versions: BTreeMap<String, String>,
    updates: BTreeMap<String, String>,
    policies: BTreeMap<String, String>,
}

fn golden() -> Golden {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/ledger/fabric.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The query over `count` keys, `key000000` and so on, ten to a block.
fn query(start: &str, end: &str, exhausted: bool, count: u64) -> RangeQueryInfo {
    let mut reads = RangeReads::new(MAX_DEGREE);
    for i in 0..count {
        reads.add(KvRead {
            key: format!("key{i:06}"),
            version: Some(Version::new(i / 10 + 1, i % 10).to_proto()),
        });
    }
    let reads_info = match reads.finish() {
        CollectedReads::Raw(reads) if reads.is_empty() => None,
        CollectedReads::Raw(kv_reads) => Some(ReadsInfo::RawReads(QueryReads { kv_reads })),
        CollectedReads::Summary(summary) => Some(ReadsInfo::ReadsMerkleHashes(summary)),
    };
    RangeQueryInfo {
        start_key: start.to_owned(),
        end_key: end.to_owned(),
        itr_exhausted: exhausted,
        reads_info,
    }
}

fn metadata(entries: &[(&str, &str)]) -> Metadata {
    let entries = entries.iter();
    entries
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

#[test]
fn read_write_sets_are_fabrics_byte_for_byte() {
    let mut sets = RwSetBuilder::default();
    let at = |block, tx| Some(Version::new(block, tx));
    sets.read("ns2", "absent", None);
    sets.read("ns2", "present", at(3, 1));
    sets.read("ns1", "genesis", at(0, 0));
    sets.write("ns1", "k2", b"value two".to_vec());
    sets.write("ns1", "k1", b"value one".to_vec());
    sets.write("ns1", "k1", b"value one again".to_vec());
    sets.write("ns1", "gone", Vec::new());
    sets.write_metadata("ns1", "k1", metadata(&[("b", "2"), ("a", "1")]));
    sets.write_metadata("ns1", "k3", Metadata::new());
    sets.range_query("ns2", query("a", "b", true, 0));
    sets.range_query("ns2", query("key", "key000002", false, 3));
    sets.range_query("ns2", query("", "", true, 120));
    sets.read_private("ns1", "coll2", "pk0", at(4, 2));
    sets.read_private("ns1", "coll1", "pk0", None);
    sets.write_private("ns1", "coll1", "pk2", b"private two".to_vec());
    sets.write_private("ns1", "coll1", "pk1", b"private one".to_vec());
    sets.write_private("ns1", "coll1", "pk3", Vec::new());
    sets.purge_private("ns1", "coll1", "pk4");
    sets.write_private_metadata("ns1", "coll1", "pk1", metadata(&[("m", "x")]));
    sets.write_private_metadata("ns3", "coll1", "pk9", metadata(&[("m", "x")]));
    let (public, private) = sets.build();
    let golden = golden();
    assert_eq!(hex::encode(public.encode_to_vec()), golden.rwset["public"]);
    let private = private.unwrap().encode_to_vec();
    assert_eq!(hex::encode(private), golden.rwset["private"]);
}

#[test]
fn range_queries_are_listed_and_summarised_as_fabric_does() {
    let golden = golden();
    assert!(golden.range_queries.len() > 10);
    for (count, expected) in golden.range_queries {
        let bytes = query("s", "e", true, count).encode_to_vec();
        assert_eq!(hex::encode(bytes), expected, "{count} results");
    }
}

#[test]
fn headers_hash_as_in_fabric() {
    let golden = golden();
    assert!(golden.headers.len() > 5);
    for expected in golden.headers {
        let number: u64 = expected["number"].parse().unwrap();
        let header = BlockHeader {
            number,
            previous_hash: if number == 0 {
                Vec::new()
            } else {
                sha256(b"previous")
            },
            data_hash: sha256(b"data"),
        };
        assert_eq!(hex::encode(block_header_bytes(&header)), expected["bytes"]);
        assert_eq!(hex::encode(block_header_hash(&header)), expected["hash"]);
    }
    let data = BlockData {
        data: vec![b"one".to_vec(), b"two".to_vec(), Vec::new()],
    };
    assert_eq!(hex::encode(block_data_hash(&data)), golden.data_hash);
    assert_eq!(transaction_id(b"nonce", b"creator"), golden.transaction_id);
}

#[test]
fn versions_are_ordered_bytes() {
    for (number, expected) in golden().versions {
        let number = number.parse().unwrap();
        let bytes = Version::new(number, number).ordered_bytes();
        assert_eq!(hex::encode(bytes), expected, "{number}");
    }
}

#[test]
fn the_commit_hash_is_fabrics() {
    let mut batch = UpdateBatch::default();
    let mut public = |namespace: &str, key: &str, value: Option<&str>, tx: u64| {
        let version = Version::new(7, tx);
        let value = value.map(|value| PublicValue {
            value: value.as_bytes().to_vec(),
            metadata: Some(b"metadata".to_vec()),
            version,
        });
        let keys = batch.public.entry(namespace.to_owned()).or_default();
        keys.insert(key.to_owned(), Update { value, version });
    };
    public("ns2", "b", Some("vb"), 1);
    public("ns2", "a", Some("va"), 0);
    public("ns2", "c", None, 2);
    public("ns1", "m", Some("vm"), 300);
    public("", "config", Some("left out"), 0);
    let mut hashed = |namespace: &str, collection: &str, key: &str, value: Option<&str>, tx| {
        let version = Version::new(7, tx);
        let value = value.map(|value| HashedValue {
            value_hash: value.as_bytes().to_vec(),
            metadata: None,
            version,
        });
        let id = CollectionId::new(namespace, collection);
        let keys = batch.hashed.entry(id).or_default();
        keys.insert(key.as_bytes().to_vec(), Update { value, version });
    };
    hashed("ns1", "coll2", "kh1", Some("vh1"), 3);
    hashed("ns1", "coll1", "kh3", Some("vh3"), 3);
    hashed("ns1", "coll1", "kh2", None, 4);
    hashed("ns0", "coll1", "kh0", Some("vh0"), 5);
    let golden = golden();
    assert_eq!(hex::encode(update_bytes(&batch)), golden.updates["bytes"]);
    let hash = commit_hash(&[0, 11, 0], &batch, b"previous commit hash");
    assert_eq!(hex::encode(hash), golden.updates["commit_hash"]);
}

#[test]
fn policies_encode_as_the_peer_command_encodes_them() {
    let golden = golden();
    assert!(golden.policies.len() > 4);
    for (text, expected) in golden.policies {
        let policy = parse_policy(&text).unwrap();
        assert_eq!(hex::encode(policy.encode_to_vec()), expected, "{text}");
    }
}
