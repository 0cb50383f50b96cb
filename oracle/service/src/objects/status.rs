//! What a device is told of an object on `v1/devices/{id}/objects/{objectId}/status`. Pure.
//!
//! ```json
//! {"object_id":"scan-1","state":"open","size":3145728,"chunk_size":1048576,"chunks":3,"received":1,"missing":[[1,2]]}
//! {"object_id":"scan-1","state":"done","record_id":"…","transaction_id":"…","block_number":7}
//! {"object_id":"scan-1","state":"refused","reason":"hash-mismatch"}
//! ```
//!
//! | state | meaning |
//! |---|---|
//! | `open` | the chunks of `missing`, first and last of each run, are to be sent; of more than 256 runs the first |
//! | `checking` | all chunks are durable |
//! | `kept` | the content is right; a receipt follows |
//! | `duplicate` | the same reading is kept already; its receipt comes, or came |
//! | `done` | on the ledger |
//! | `refused` | given up for the named reason; may be sent anew |
//! | `expired` | given up because nothing came for too long; may be sent anew |
//! | `unknown` | no manifest came |

use serde::Serialize;

use super::finished::Finished;
use super::shelf::{Phase, Shelved};
use crate::journal::RecordKey;

/// Runs of missing chunks in one status.
const RUNS_MAX: usize = 256;

#[derive(Serialize)]
struct Message<'a> {
    object_id: &'a str,
    state: &'static str,
    #[serde(flatten)]
    open: Option<Open>,
    #[serde(flatten)]
    done: Option<Done<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Open {
    size: u64,
    chunk_size: u32,
    chunks: u32,
    received: u32,
    missing: Vec<[u32; 2]>,
}

#[derive(Serialize)]
struct Done<'a> {
    record_id: String,
    transaction_id: &'a str,
    block_number: u64,
}

fn plain<'a>(object_id: &'a str, state: &'static str) -> Message<'a> {
    Message {
        object_id,
        state,
        open: None,
        done: None,
        reason: None,
    }
}

fn json(message: &Message<'_>) -> Vec<u8> {
    serde_json::to_vec(message).expect("texts and integers are JSON")
}

/// Of an object on the shelf.
pub(super) fn of(object: &Shelved) -> Vec<u8> {
    let begun = &object.begun;
    let state = match object.phase {
        Phase::Open => "open",
        Phase::Checking => "checking",
        Phase::Kept => "kept",
    };
    json(&Message {
        open: Some(Open {
            size: begun.bytes,
            chunk_size: begun.chunk_bytes,
            chunks: begun.chunks(),
            received: object.received,
            missing: object.missing(RUNS_MAX),
        }),
        ..plain(&begun.id, state)
    })
}

/// Of an object whose record is on the ledger.
pub(super) fn done(finished: &Finished) -> Vec<u8> {
    json(&Message {
        done: Some(Done {
            record_id: RecordKey(finished.record.0).to_hex(),
            transaction_id: &finished.commitment.transaction_id,
            block_number: finished.commitment.block_number,
        }),
        ..plain(&finished.id, "done")
    })
}

/// Of an object that is the same reading as another.
pub(super) fn duplicate(id: &str) -> Vec<u8> {
    json(&plain(id, "duplicate"))
}

/// Of an object that was given up.
pub(super) fn refused(id: &str, reason: &'static str) -> Vec<u8> {
    json(&Message {
        reason: Some(reason),
        ..plain(id, "refused")
    })
}

/// Of an object to which nothing came.
pub(super) fn expired(id: &str) -> Vec<u8> {
    json(&plain(id, "expired"))
}

/// Of a name that stands for nothing.
pub(super) fn unknown(id: &str) -> Vec<u8> {
    json(&plain(id, "unknown"))
}
