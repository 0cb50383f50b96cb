//! Typed calls of the oracle's REST API: who calls, and the calls by subject.

mod consent;
mod directory;
mod enrolment;
mod evidence;
mod operation;
mod oversight;
mod pages;
mod records;

use std::sync::Arc;

use contract_interface::{Participant, RequestBody};
use fabric_msp::SigningIdentity;
use sealed_object::PrivateKey;
use serde::Deserialize;

pub use directory::Registered;
pub use enrolment::{EnrolmentRequest, EnrolmentToken};
pub use operation::{DeadLetter, DeadLetters, Job, WaitingReadings};
pub use oversight::AccessExplained;
pub use records::{HeldWraps, RecordSubmitted, Submission};

use crate::{
    error::ClientError,
    http::{Http, signing_identity},
    key_files::{self, EncryptionKeys},
    letters,
    profile::{Custody, Profile},
    signing,
    trust::Trust,
};

/// A person's connection to an oracle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    identity: SigningIdentity,
    channel: Arc<str>,
    encryption_keys: Option<EncryptionKeys>,
    custody: Custody,
    trust: Option<Arc<Trust>>,
}

/// Where a change is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Recorded {
    /// The transaction that recorded it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
}

impl Client {
    /// Prepares calls as the person of a profile; connects at the first call.
    ///
    /// # Errors
    /// When the certificate, a key or the CA file cannot be used.
    pub fn new(profile: &Profile) -> Result<Self, ClientError> {
        let encryption_keys = match &profile.encryption_key_file {
            Some(file) => Some(key_files::load(file)?),
            None => None,
        };
        // Anchors are for who wraps keys; who does not, needs none that can be read.
        let trust = match (profile.custody, profile.anchors.as_slice()) {
            (Custody::Organization, []) => None,
            _ => Some(Arc::new(Trust::of(profile)?)),
        };
        Ok(Self {
            http: Http::new(profile)?,
            identity: signing_identity(profile)?,
            channel: profile.channel.as_str().into(),
            encryption_keys,
            custody: profile.custody,
            trust,
        })
    }

    /// The private key that opens what is released to this person.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the profile names none.
    pub fn encryption_key(&self) -> Result<&PrivateKey, ClientError> {
        Ok(self.keys()?.current())
    }

    /// The private key that opens `wrapped_key`: the profile's, or while keys are being changed
    /// the one before.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the profile names none. Whether the key fits is known only when
    /// it is used.
    pub fn key_for(&self, wrapped_key: &str) -> Result<&PrivateKey, ClientError> {
        Ok(self.keys()?.for_wrap(wrapped_key))
    }

    /// Opens words that were sealed for this person, with the profile's key or the one before.
    ///
    /// # Errors
    /// [`ClientError::Key`] when neither opens them.
    pub fn open_letter(&self, letter: &str) -> Result<String, ClientError> {
        let keys = self.keys()?;
        let opened = letters::open(keys.current(), letter);
        match (opened, keys.previous()) {
            (Err(_), Some(previous)) => letters::open(previous, letter),
            (opened, _) => opened,
        }
    }

    /// Where the data keys of this person's records are, as the profile says.
    #[must_use]
    pub fn custody(&self) -> Custody {
        self.custody
    }

    /// The caller as the channel's directory has it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when nobody is registered with the profile's certificate.
    pub async fn me(&self) -> Result<Participant, ClientError> {
        self.http.get("/v1/participants/me", &[]).await
    }

    /// What is pinned of the organisations' CAs.
    ///
    /// # Errors
    /// [`ClientError::Sharing`] where keys are the organisation's, and the profile names no anchors.
    pub fn trust(&self) -> Result<&Trust, ClientError> {
        self.trust.as_deref().ok_or(ClientError::Sharing {
            problem: "the profile names no anchors",
        })
    }

    pub(crate) fn keys(&self) -> Result<&EncryptionKeys, ClientError> {
        self.encryption_keys
            .as_ref()
            .ok_or_else(|| ClientError::Key {
                problem: "the profile names no encryption_key_file".to_owned(),
            })
    }

    /// Signs `body` and posts it to `path`.
    async fn post_signed<B: RequestBody>(
        &self,
        path: &str,
        body: B,
    ) -> Result<Recorded, ClientError> {
        let request = signing::sign(&self.identity, &self.channel, body)?;
        self.http.post_jws(path, request).await
    }
}
