//! The way out of a record: decide on the ledger first, then release the key.
//!
//! The order is the promise of this module. The oracle MUST have the decision committed as `VALID`
//! before it unwraps a data key, and it MUST release a key only wrapped for the key that the
//! reader registered. What can be checked without a decision (does the record exist, is the key
//! here, can the reader receive one) is checked before, so that a read which cannot be served is
//! not recorded as one.

mod error;
mod object;

use std::sync::Arc;

use cid::Cid;
use contract_interface::{
    AuthorizeRead, Decision, KeyWrap, Participant, Record, RecordId, SignedRequest,
};
use sealed_object::{AssociatedData, DataKey, PrivateKey, PublicKey};

pub use self::error::ReadError;
pub use self::object::{Fetched, WHOLE_OBJECT_BYTES_MAX};

use crate::clock;
use crate::ledger::{Ledger, Viewer};
use crate::store::Kubo;

/// Bytes of the largest sealed object that the oracle opens for a reader; it is opened in memory.
pub const OPEN_BYTES_MAX: u64 = 32 << 20;

/// Serves reads with the oracle's own decryption key.
#[derive(Clone)]
pub struct Opener {
    ledger: Ledger,
    store: Kubo,
    key: Arc<PrivateKey>,
}

/// A read that was permitted, on the ledger, with the key for its reader.
pub struct Release {
    /// The transaction that permitted it.
    pub read_id: String,
    /// The block that the transaction is in.
    pub block_number: u64,
    /// What may be read.
    pub record: Record,
    /// The data key, wrapped for the reader's registered key.
    pub wrapped_key: String,
    data_key: DataKey,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Release")
            .field("read_id", &self.read_id)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// An opener over the ledger, the store and the oracle's private key.
    #[must_use]
    pub fn new(ledger: Ledger, store: Kubo, key: Arc<PrivateKey>) -> Self {
        Self { ledger, store, key }
    }

    /// The record's metadata, for the oracle's own decisions.
    ///
    /// # Errors
    ///
    /// [`ReadError::UnknownRecord`], or [`ReadError::Ledger`].
    pub async fn record(&self, id: &RecordId) -> Result<Record, ReadError> {
        self.ledger
            .record(Viewer::Oracle, id)
            .await?
            .ok_or(ReadError::UnknownRecord)
    }

    /// Has the read decided and, when it is permitted, wraps the data key for the reader.
    ///
    /// `request` is the verified content of `jws`, `reader` the registered participant who signed
    /// it, `record` the record it is about.
    ///
    /// # Errors
    ///
    /// [`ReadError::Denied`] with the recorded decision; other variants when no decision was made
    /// or the key could not be released.
    pub async fn release(
        &self,
        jws: &str,
        request: &SignedRequest<AuthorizeRead>,
        reader: &Participant,
        record: Record,
    ) -> Result<Release, ReadError> {
        let record_id = &request.body.record_id;
        let reader_key = reader_key(reader)?;
        let finding = self.ledger.find_grant(
            record_id,
            &reader.participant_id,
            request.body.purpose,
            clock::now(),
        );
        let finding = async { Ok(finding.await?) };
        let (own, found) = tokio::try_join!(self.own_wrap(record_id, &record), finding)?;
        let decided = self.ledger.authorize_read(jws, found.grant_id).await?;
        let read_id = decided.receipt.transaction_id;
        if decided.receipt.result.decision != Decision::Permit {
            return Err(ReadError::Denied {
                record_id: *record_id,
                read_id,
                block_number: decided.receipt.block_number,
                reason: decided.reason,
            });
        }
        let key = Arc::clone(&self.key);
        let rewrapped = tokio::task::spawn_blocking(move || rewrap(&key, &own, &reader_key));
        let (data_key, wrapped_key) = rewrapped.await.map_err(ReadError::Cancelled)??;
        Ok(Release {
            read_id,
            block_number: decided.receipt.block_number,
            record,
            wrapped_key,
            data_key,
        })
    }

    /// Fetches the sealed object, verified against the CID and the registered hash.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] or [`ReadError::ObjectMismatch`].
    pub async fn fetch(&self, record: &Record) -> Result<Fetched, ReadError> {
        let cid: Cid = record
            .metadata
            .cid
            .parse()
            .map_err(|_| ReadError::ObjectMismatch)?;
        let stream = self.store.fetch(&cid).await?;
        object::verified(stream, record.metadata.size, record.state.object_sha256).await
    }

    /// Fetches the sealed object and opens it here.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLarge`] above [`OPEN_BYTES_MAX`]; [`ReadError::Sealed`] when it does not
    /// open; else as [`Opener::fetch`].
    pub async fn open(&self, release: Release) -> Result<Vec<u8>, ReadError> {
        if release.record.metadata.size > OPEN_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        let sealed = self.fetch(&release.record).await?.collect().await?;
        let associated_data = AssociatedData {
            record_id: *release.record.metadata.record_id.as_bytes(),
            commitment: *release.record.state.commitment.as_bytes(),
        };
        let opening = tokio::task::spawn_blocking(move || {
            sealed_object::open(&release.data_key, &associated_data, &sealed)
        });
        Ok(opening.await.map_err(ReadError::Cancelled)??)
    }

    /// The data key as it was wrapped for this oracle.
    async fn own_wrap(&self, id: &RecordId, record: &Record) -> Result<KeyWrap, ReadError> {
        let wraps = self.ledger.wraps(id).await?;
        wraps
            .for_kid(self.key.public_key().thumbprint())
            .cloned()
            .ok_or_else(|| ReadError::NoKeyHere {
                msp_id: record.state.msp_id.clone(),
            })
    }
}

/// The key that the reader registered to receive data keys with.
fn reader_key(reader: &Participant) -> Result<PublicKey, ReadError> {
    let jwk = reader
        .encryption_key
        .as_ref()
        .ok_or(ReadError::ReaderHasNoKey)?;
    let json = serde_json::to_string(jwk).map_err(|_| ReadError::ReaderHasNoKey)?;
    PublicKey::from_jwk(&json).map_err(ReadError::ReaderKey)
}

/// Opens the oracle's wrap and closes it again for the reader. Slow: for a blocking thread.
fn rewrap(
    key: &PrivateKey,
    own: &KeyWrap,
    reader: &PublicKey,
) -> Result<(DataKey, String), ReadError> {
    let data_key = key.unwrap(&own.jwe)?;
    let wrapped = reader.wrap(&data_key)?;
    Ok((data_key, wrapped))
}
