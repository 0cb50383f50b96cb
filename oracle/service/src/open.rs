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
    AuthorizeRead, Decision, KeyWrap, Participant, Record, RecordId, RecordState, RecordWraps,
    SignedRequest,
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
        let kid = self.key.public_key().thumbprint();
        usable_wrap(&record.state, &wraps, self.ledger.msp_id().as_str(), kid)
    }
}

/// The wrap for `kid`, of a record that the oracle's own organisation registered.
///
/// A wrap does not say which record it belongs to, and every member of the collection sees all of
/// them. Another organisation could put one of this oracle's wraps into a record of its own, permit
/// itself to read that, and have this oracle open the key of the first record for it. So a wrap
/// MUST NOT be opened on another organisation's word.
fn usable_wrap(
    state: &RecordState,
    wraps: &RecordWraps,
    own_msp_id: &str,
    kid: &str,
) -> Result<KeyWrap, ReadError> {
    let wrap = wraps
        .for_kid(kid)
        .filter(|_| state.msp_id.as_str() == own_msp_id);
    wrap.cloned().ok_or_else(|| ReadError::NoKeyHere {
        msp_id: state.msp_id.clone(),
    })
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

#[cfg(test)]
mod tests {
    use contract_interface::{Digest, RecordStatus};

    use super::*;

    const KID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_wrap_copied_into_another_organisations_record_is_not_opened() {
        let state = |msp_id: &str| RecordState {
            object_sha256: Digest::of(b"object"),
            commitment: Digest::of(b"commitment"),
            msp_id: msp_id.parse().unwrap(),
            tx_id: "tx".to_owned(),
            version: 1,
            previous: None,
            status: RecordStatus::Active,
        };
        let wraps = RecordWraps {
            record_id: RecordId::from_bytes([1; 16]),
            wraps: vec![KeyWrap {
                kid: KID.to_owned(),
                jwe: "a.b.c.d.e".to_owned(),
            }],
        };
        let own = usable_wrap(&state("Org1MSP"), &wraps, "Org1MSP", KID).unwrap();
        assert_eq!(own, wraps.wraps[0]);
        for (registrar, kid) in [("Org2MSP", KID), ("Org1MSP", "other")] {
            let refused = usable_wrap(&state(registrar), &wraps, "Org1MSP", kid);
            assert!(
                matches!(refused, Err(ReadError::NoKeyHere { msp_id }) if msp_id.as_str() == registrar)
            );
        }
    }
}
