//! Requests that were refused and of which the ledger knows nothing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::scalars::{Hash, Id, Name, PageToken, Time};
use crate::refusals::{Line, Page};

/// One refusal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "seq": 17,
    "time": "2026-01-02T03:04:05Z",
    "method": "GET",
    "path": "/v1/records/{id}/content",
    "status": 401,
    "code": "SIGNATURE_INVALID",
    "caller": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "msp_id": "Org2MSP",
    "trace_id": "00112233445566778899aabbccddeeff",
    "prev": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
}))]
pub(crate) struct RefusalLine {
    /// 1, and one more with each line.
    seq: u64,
    time: Time,
    /// The HTTP method.
    method: String,
    /// The address as this document has it, without the IDs; `-` for one that is not in it.
    path: String,
    /// The HTTP status.
    status: u16,
    /// The problem's code.
    code: String,
    /// SHA-256 of the certificate that the caller showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<Hash>,
    /// The organisation whose MSP accepts that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msp_id: Option<Name>,
    /// Names the request in the oracle's log.
    trace_id: Id,
    /// Refusals between the line before and this one that could not be kept; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    /// SHA-256 of the line before.
    prev: Hash,
}

/// A page of refusals, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalPage {
    #[schema(value_type = Vec<RefusalLine>)]
    refusals: Vec<Line>,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PageToken>)]
    next_page_token: Option<String>,
    /// Whether every line fits the one before it.
    intact: bool,
    /// The first line that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_at: Option<u64>,
    /// SHA-256 of the last line of all. Who keeps it elsewhere notices a log that was cut off.
    #[schema(value_type = Hash)]
    head: contract_interface::Digest,
    /// Refusals since the oracle's start that could not be kept.
    lost: u64,
}

impl From<Page> for RefusalPage {
    fn from(page: Page) -> Self {
        let last = page.lines.last().filter(|_| page.more);
        Self {
            next_page_token: last.map(|line| line.seq.to_string()),
            refusals: page.lines,
            intact: page.state.intact,
            broken_at: page.broken_at,
            head: page.head,
            lost: page.state.lost,
        }
    }
}
