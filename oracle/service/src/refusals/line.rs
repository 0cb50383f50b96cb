//! One line of the log, and the chain that lines form.

use contract_interface::{Digest, UtcTime};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// What the first line of all names as the line before it.
pub(super) const NO_LINE: Digest = Digest::from_bytes([0; 32]);

/// A line: compact JSON with its members in this order, ended by a line feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// 1, and one more with each line.
    pub(crate) seq: u64,
    /// When the request was refused.
    pub(crate) time: UtcTime,
    /// The HTTP method.
    pub(crate) method: String,
    /// The address as the API describes it, without the IDs in it.
    pub(crate) path: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The problem's code.
    pub(crate) code: String,
    /// SHA-256 of the certificate that the caller showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    /// The organisation whose MSP accepts that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) msp_id: Option<String>,
    /// Names the request in the oracle's log.
    pub(crate) trace_id: String,
    /// Refusals between the line before and this one that could not be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
    /// SHA-256 of the line before, without its line feed.
    pub(crate) prev: Digest,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Line {
    pub(super) fn new(seq: u64, refusal: Refusal, lost: u64, prev: Digest) -> Self {
        let Refusal {
            time,
            method,
            path,
            status,
            code,
            caller,
            msp_id,
            trace_id,
        } = refusal;
        Self {
            seq,
            time,
            method,
            path,
            status,
            code,
            caller,
            msp_id,
            trace_id,
            lost,
            prev,
        }
    }

    /// The line's bytes without the line feed.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// Walks along the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Number of the last line; 0 before the first.
    pub(super) seq: u64,
    /// Hash of the last line; none before the oldest line that is kept.
    pub(super) head: Option<Digest>,
    /// Number that the first line which does not fit has or should have.
    pub(super) broken_at: Option<u64>,
    /// Whether lines before the oldest kept one have been dropped for their age.
    pub(super) is_trimmed: bool,
}

impl Chain {
    /// Before the oldest line.
    pub(super) const fn new(is_trimmed: bool) -> Self {
        Self {
            seq: 0,
            head: None,
            broken_at: None,
            is_trimmed,
        }
    }

    /// Takes the next line. A line that does not fit is remembered, and the walk goes on from it.
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        let line = serde_json::from_slice::<Line>(bytes).ok();
        let fits = line.as_ref().is_some_and(|line| match self.head {
            Some(head) => line.prev == head && line.seq == self.seq + 1,
            None if self.is_trimmed => line.seq > 1,
            None => line.seq == 1 && line.prev == NO_LINE,
        });
        let seq = line.map_or(self.seq + 1, |line| line.seq);
        if !fits && self.broken_at.is_none() {
            self.broken_at = Some(seq);
        }
        self.seq = seq;
        self.head = Some(Digest::of(bytes));
    }

    /// What the next line names as the line before it.
    pub(super) fn head(&self) -> Digest {
        self.head.unwrap_or(NO_LINE)
    }
}
