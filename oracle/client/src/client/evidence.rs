//! Evidence and the completeness of the audit.

use contract_interface::RecordId;
use contract_interface::evidence::{AuditCompleteness, EVIDENCE_BYTES_MAX, Evidence};

use super::{Client, pages::text};
use crate::error::ClientError;

impl Client {
    /// What shows a record to be the registered one. Nothing of it is believed yet: see
    /// [`crate::evidence::verify`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such record that the caller may see.
    pub async fn evidence(&self, id: &RecordId) -> Result<Evidence, ClientError> {
        let path = format!("/v1/records/{id}/evidence");
        let body = self.http.get_within(&path, EVIDENCE_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Malformed {
            what: "a bundle of evidence",
        })
    }

    /// Has the oracle compare a stretch of blocks with the recorded reads. For auditors and
    /// administrators. The answer may end before `to_block`: then ask again behind its end.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or for blocks that are not there yet.
    pub async fn audit_completeness(
        &self,
        from_block: u64,
        to_block: Option<u64>,
    ) -> Result<AuditCompleteness, ClientError> {
        let query = [
            ("from_block", text(Some(from_block))),
            ("to_block", text(to_block)),
        ];
        self.http.get("/v1/audit/completeness", &query).await
    }
}
