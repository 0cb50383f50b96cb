//! Which organisation's an object is.
//!
//! Every organisation removes an erased record's object from its node. Who could register another
//! organisation's object as a record of its own could so have it destroyed, by erasing that. An
//! object therefore belongs to the organisation that registers it first, until it is erased.
//!
//! It is told by the SHA-256 in its CID, not by the CID's text: the same blocks have a CID for each
//! codec and each multibase, and nodes know them by their hash.

use std::collections::BTreeMap;

use contract_interface::{ErrorCode, MspId, RecordPrivate, Salt};

use crate::actor::Creator;
use crate::failure::Failure;
use crate::ledger::Ledger;

/// What stands before the hash in a CID: version 1, the codec, SHA-256, its 32 bytes.
const HEAD_BYTES: usize = 4;
/// Bytes of SHA-256.
const HASH_BYTES: usize = 32;
/// Codecs of objects: raw, and DAG-PB where there is more than one block.
const CODECS: [u8; 2] = [0x55, 0x70];
/// Bits of one character in base32.
const CHARACTER_BITS: u32 = 5;

/// Notes that the objects of these records belong to the creator's organisation, and refuses those
/// of another.
pub(super) async fn claim(
    ledger: &Ledger<'_>,
    creator: &Creator,
    records: impl Iterator<Item = &RecordPrivate>,
) -> Result<(), Failure> {
    let mut salts: BTreeMap<String, Salt> = BTreeMap::new();
    for record in records {
        let hash = hash(&record.cid).ok_or_else(|| {
            Failure::argument(format!(
                "record {} has a CID that is not one of version 1 in base32 with SHA-256",
                record.record_id
            ))
        })?;
        salts.insert(ledger.blinding.object(&hash)?, record.salt);
    }
    let keys: Vec<String> = salts.keys().cloned().collect();
    let holders: Vec<Option<MspId>> = ledger.get_many_salted(&keys, "an object").await?;
    for ((key, salt), holder) in salts.iter().zip(holders) {
        match holder {
            None => ledger.put_salted(key, &creator.msp_id, salt).await?,
            Some(holder) if holder == creator.msp_id => {}
            Some(_) => {
                return Err(Failure::new(
                    ErrorCode::RecordConflict,
                    "an object of the batch belongs to another organisation",
                ));
            }
        }
    }
    Ok(())
}

/// The key of a record's object, to be purged with the record.
pub(super) fn key(ledger: &Ledger<'_>, record: &RecordPrivate) -> Result<Option<String>, Failure> {
    let key = hash(&record.cid).map(|hash| ledger.blinding.object(&hash));
    Ok(key.transpose()?)
}

/// The hash in a CID of an object, which has one text only.
fn hash(cid: &str) -> Option<[u8; HASH_BYTES]> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + HASH_BYTES);
    let (mut bits, mut count) = (0_u32, 0);
    for character in cid.strip_prefix('b')?.bytes() {
        let value = match character {
            b'a'..=b'z' => character - b'a',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return None,
        };
        bits = (bits << CHARACTER_BITS) | u32::from(value);
        count += CHARACTER_BITS;
        if count >= u8::BITS {
            count -= u8::BITS;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    let (head, hash) = bytes.split_at_checked(HEAD_BYTES)?;
    let is_object = matches!(head, [1, codec, 0x12, 0x20] if CODECS.contains(codec));
    if is_object && bits == 0 && count < CHARACTER_BITS {
        hash.try_into().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `ipfs add --cid-version=1` of an empty file, and other texts of it and its like.
    #[test]
    fn an_object_has_one_hash_and_a_cid_one_text() {
        let empty = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        let expected = *contract_interface::Digest::of(b"").as_bytes();
        assert_eq!(hash(empty), Some(expected));
        // The same hash as DAG-PB.
        let node = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        assert_eq!(hash(node), Some(expected));
        for other in [
            "",
            "b",
            "bafkrei",
            &empty[1..],
            &empty.to_uppercase(),
            &format!("{empty}a"),
            &empty[..empty.len() - 1],
            // The last bits are not zero.
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",
            "zb2rhmy65F3REf8SZp7De11gxtECBGgUKaLdiDj7MCGCHxbDW",
            "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        ] {
            assert_eq!(hash(other), None, "{other:?}");
        }
    }
}
