//! For those who run an oracle: its background jobs, and readings that do not get on the ledger.

use contract_interface::{DeviceId, RecordId, UtcTime};
use serde::{Deserialize, Serialize};

use super::Client;
use crate::error::ClientError;

/// How far a background job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `clock`, `erasures`, `nonces` or `wraps`.
    pub job: String,
    /// Whether a pass goes on.
    pub running: bool,
    /// Passes that ended since the oracle's start.
    pub passes: u64,
    /// Items looked at in this pass, or in the last if none goes on.
    pub seen: u64,
    /// Items of them that were changed.
    pub changed: u64,
    /// Items of them that wait: for another organisation, for time to pass, for the next try.
    pub waiting: u64,
    /// When the last pass began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<UtcTime>,
    /// When the last pass ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UtcTime>,
    /// Why the last pass that ended did not finish; it goes on in the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

/// What is in an oracle's journal and does not get on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Records that the contract refuses, those refused first come first.
    pub dead_letters: Vec<DeadLetter>,
    /// How many there are; the list ends at 1,000.
    pub total: usize,
    /// Readings that can be no record yet; they go on by themselves when what they wait for is there.
    #[serde(default)]
    pub waiting: Vec<WaitingReadings>,
}

/// A record that the contract refuses. Its readings are durable in the oracle's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The ID it will have on the ledger.
    pub record_id: RecordId,
    /// The device its readings came from.
    pub device_id: DeviceId,
    /// Readings in it.
    pub readings: usize,
    /// The contract's code.
    pub code: String,
    /// The contract's sentence.
    pub reason: String,
    /// How often it was refused since the oracle's start.
    pub refusals: u32,
    /// When it was first refused since the oracle's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UtcTime>,
    /// Seconds until it is tried again; 0 while it is tried.
    pub retry_in_seconds: u64,
}

/// Readings of one device that can be no record yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReadings {
    /// The device.
    pub device_id: DeviceId,
    /// How many readings.
    pub readings: usize,
    /// What they wait for, such as `PATIENT_KEY_MISSING`.
    pub code: String,
    /// The same as a sentence.
    pub reason: String,
    /// Since when, but not before the oracle's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UtcTime>,
    /// Seconds until it is looked whether they can go on.
    pub retry_in_seconds: u64,
}

impl Client {
    /// How far the oracle's background jobs are. For administrators of its organisation.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right.
    pub async fn jobs(&self) -> Result<Vec<Job>, ClientError> {
        let Jobs { jobs } = self.http.get("/v1/jobs", &[]).await?;
        Ok(jobs)
    }

    /// What is in the oracle's journal and does not get on the ledger, and why. For administrators
    /// of its organisation.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the process takes no readings.
    pub async fn dead_letters(&self) -> Result<DeadLetters, ClientError> {
        self.http.get("/v1/dead-letters", &[]).await
    }

    /// Has a refused record tried again now. What came of it is in [`Client::dead_letters`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, when there is no such dead letter, or while it
    /// is being tried.
    pub async fn retry_dead_letter(&self, id: &RecordId) -> Result<(), ClientError> {
        let path = format!("/v1/dead-letters/{id}/retry");
        self.http.post_nothing(&path).await
    }

    /// Gives a refused record and its readings up for good.
    ///
    /// # Errors
    /// As [`Client::retry_dead_letter`].
    pub async fn drop_dead_letter(&self, id: &RecordId) -> Result<(), ClientError> {
        let path = format!("/v1/dead-letters/{id}/drop");
        self.http.post_nothing(&path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_oracle_writes_them() {
        let record_id = "ab".repeat(16);
        let letters: DeadLetters = serde_json::from_value(serde_json::json!({
            "dead_letters": [{
                "record_id": record_id, "device_id": "hr-1", "readings": 3,
                "code": "DEVICE_NOT_BOUND", "reason": "not bound", "refusals": 2,
                "since": "2026-01-02T03:04:05Z", "retry_in_seconds": 60,
            }],
            "total": 1,
            "waiting": [{
                "device_id": "hr-2", "readings": 5, "code": "PATIENT_KEY_MISSING",
                "reason": "no key", "retry_in_seconds": 4,
            }],
        }))
        .unwrap();
        assert_eq!(letters.dead_letters[0].record_id.to_string(), record_id);
        assert_eq!(letters.waiting[0].since, None);
        let before = r#"{"dead_letters":[],"total":0}"#;
        let before: DeadLetters = serde_json::from_str(before).unwrap();
        assert!(before.waiting.is_empty(), "an oracle of before has none");
        let jobs = r#"{"jobs":[{"job":"wraps","running":true,"passes":1,"seen":2,"changed":3,"waiting":4}]}"#;
        let Jobs { jobs } = serde_json::from_str(jobs).unwrap();
        assert_eq!((jobs[0].job.as_str(), jobs[0].ended_at), ("wraps", None));
    }
}
