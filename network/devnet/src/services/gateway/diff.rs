//! Where two endorsers' results differ, in words; helps to find non-deterministic chaincode.

use std::collections::BTreeMap;
use std::fmt::Write;

use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::protos::{ChaincodeAction, ChaincodeEvent, ProposalResponsePayload};
use fabric_protos::rwset::TxReadWriteSet;
use prost::Message;

/// Differences that are listed; more are only counted.
const LISTED_MAX: usize = 10;
/// Characters of a value that are shown.
const VALUE_CHARACTERS: usize = 80;

/// The differences of two payloads, beginning with a colon; empty when none can be named.
pub(super) fn describe(initial: &[u8], other: &[u8]) -> String {
    let differences = differences(initial, other).unwrap_or_default();
    let mut text = String::new();
    for (index, difference) in differences.iter().take(LISTED_MAX).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        text.push_str(separator);
        text.push_str(difference);
    }
    if differences.len() > LISTED_MAX {
        let more = differences.len() - LISTED_MAX;
        // Writing to a string does not fail.
        let _ = write!(text, "; and {more} more differences");
    }
    text
}

fn differences(initial: &[u8], other: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let action = |payload: &[u8]| {
        let payload = ProposalResponsePayload::decode(payload)?;
        ChaincodeAction::decode(payload.extension.as_slice())
    };
    let (initial, other) = (action(initial)?, action(other)?);
    let mut found = Vec::new();
    let entries = (entries(&initial.results)?, entries(&other.results)?);
    compare(&entries.0, &entries.1, &mut found);
    let events = (
        ChaincodeEvent::decode(initial.events.as_slice())?,
        ChaincodeEvent::decode(other.events.as_slice())?,
    );
    if events.0 != events.1 {
        let show =
            |event: &ChaincodeEvent| format!("{} {}", event.event_name, show_bytes(&event.payload));
        found.push(format!(
            "chaincode event mismatch: initial endorser {}, invoked endorser {}",
            show(&events.0),
            show(&events.1)
        ));
    }
    if initial.response != other.response {
        let show = |action: &ChaincodeAction| {
            let response = action.response.clone().unwrap_or_default();
            format!(
                "{} {} {}",
                response.status,
                response.message,
                show_bytes(&response.payload)
            )
        };
        found.push(format!(
            "chaincode response mismatch: initial endorser {}, invoked endorser {}",
            show(&initial),
            show(&other)
        ));
    }
    Ok(found)
}

/// Everything in a read-write set, by what it is.
type Entries = BTreeMap<(&'static str, String, String), String>;

fn entries(results: &[u8]) -> Result<Entries, prost::DecodeError> {
    let mut entries = Entries::new();
    for namespace in TxReadWriteSet::decode(results)?.ns_rwset {
        let name = namespace.namespace;
        let set = KvrwSet::decode(namespace.rwset.as_slice())?;
        for read in set.reads {
            let version = read.version.map_or_else(
                || "absent".to_owned(),
                |version| format!("{}:{}", version.block_num, version.tx_num),
            );
            entries.insert(("read", name.clone(), read.key), version);
        }
        for range in set.range_queries_info {
            let key = format!("{}..{}", range.start_key, range.end_key);
            let digest = hex::encode(range.encode_to_vec());
            entries.insert(("range query", name.clone(), key), digest);
        }
        for write in set.writes {
            let value = match write.is_delete {
                true => "deleted".to_owned(),
                false => show_bytes(&write.value),
            };
            entries.insert(("write", name.clone(), write.key), value);
        }
        for write in set.metadata_writes {
            for entry in write.entries {
                let key = format!("{} {}", write.key, entry.name);
                let value = hex::encode(entry.value);
                entries.insert(("metadata write", name.clone(), key), value);
            }
        }
        for collection in namespace.collection_hashed_rwset {
            let hash = hex::encode(&collection.pvt_rwset_hash);
            let reads = hex::encode(&collection.hashed_rwset);
            let key = (
                "private collection",
                name.clone(),
                collection.collection_name,
            );
            entries.insert(key, format!("{hash} {reads}"));
        }
    }
    Ok(entries)
}

fn compare(initial: &Entries, other: &Entries, found: &mut Vec<String>) {
    for ((kind, namespace, key), value) in initial {
        let index = (*kind, namespace.clone(), key.clone());
        match other.get(&index) {
            None => found.push(format!("missing {kind}: namespace {namespace}, key {key:?}")),
            Some(theirs) if theirs != value => found.push(format!(
                "{kind} mismatch: namespace {namespace}, key {key:?}, initial endorser {}, invoked endorser {}",
                shorten(value),
                shorten(theirs)
            )),
            Some(_) => {}
        }
    }
    for (kind, namespace, key) in other.keys() {
        let index = (*kind, namespace.clone(), key.clone());
        if !initial.contains_key(&index) {
            found.push(format!(
                "extraneous {kind}: namespace {namespace}, key {key:?}"
            ));
        }
    }
}

fn show_bytes(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use fabric_protos::kvrwset::{KvWrite, KvrwSet};
    use fabric_protos::protos::{ChaincodeAction, ProposalResponsePayload, Response};
    use fabric_protos::rwset::{NsReadWriteSet, TxReadWriteSet};
    use prost::Message;

    use super::describe;

    fn payload(value: &str, result: &str) -> Vec<u8> {
        let write = KvWrite {
            key: "k".to_owned(),
            is_delete: false,
            value: value.as_bytes().to_vec(),
        };
        let set = KvrwSet {
            writes: vec![write],
            ..KvrwSet::default()
        };
        let results = TxReadWriteSet {
            ns_rwset: vec![NsReadWriteSet {
                namespace: "cc".to_owned(),
                rwset: set.encode_to_vec(),
                ..NsReadWriteSet::default()
            }],
            ..TxReadWriteSet::default()
        };
        let action = ChaincodeAction {
            results: results.encode_to_vec(),
            response: Some(Response {
                status: 200,
                message: String::new(),
                payload: result.as_bytes().to_vec(),
            }),
            ..ChaincodeAction::default()
        };
        ProposalResponsePayload {
            proposal_hash: Vec::new(),
            extension: action.encode_to_vec(),
        }
        .encode_to_vec()
    }

    #[test]
    fn differences_name_key_and_values() {
        assert_eq!(describe(&payload("1", "r"), &payload("1", "r")), "");
        assert_eq!(
            describe(&payload("1", "r"), &payload("2", "r")),
            ": write mismatch: namespace cc, key \"k\", initial endorser \"1\", invoked endorser \"2\""
        );
        let response = describe(&payload("1", "r"), &payload("1", "s"));
        assert!(
            response.starts_with(": chaincode response mismatch"),
            "{response}"
        );
        assert_eq!(describe(b"\xff", b""), "");
    }
}
