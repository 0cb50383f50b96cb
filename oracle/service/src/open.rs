//! The way out of a record: decide on the ledger first, then release the key.
//!
//! The order is the promise of this module. The oracle MUST have the decision committed as `VALID`
//! before it opens a wrap of a data key, and it MUST release a key only wrapped for the key that
//! the reader registered. What can be checked without a decision (does the record exist, is a wrap
//! for the reader here) is checked before: a read that would be permitted and cannot be served is
//! not recorded as one, while a read that would be refused is always recorded.

mod error;
mod object;
mod way;

use cid::Cid;
use contract_interface::access::{Explanation, RuleRef};
use contract_interface::{
    AuthorizeRead, Decision, Participant, ReadId, Record, RecordId, SignedRequest,
};
use sealed_object::{AssociatedData, DataKey};

pub use self::error::ReadError;
pub use self::object::{Fetched, WHOLE_OBJECT_BYTES_MAX};

use self::way::{Holder, Way};
use crate::clock;
use crate::keys::OracleKeys;
use crate::ledger::{Ledger, ReadQuestion, Viewer};
use crate::store::Kubo;

/// Bytes of the largest sealed object that the oracle opens for a reader; it is opened in memory.
pub const OPEN_BYTES_MAX: u64 = 32 << 20;

/// Serves reads with the oracle's own keys.
#[derive(Clone)]
pub struct Opener {
    ledger: Ledger,
    store: Kubo,
    keys: OracleKeys,
}

/// A read that was permitted, on the ledger, with the key for its reader.
pub struct Release {
    /// The transaction that permitted it.
    pub read_id: String,
    /// The block that the transaction is in.
    pub block_number: u64,
    /// The rule that permitted it; absent for an own record, and when the ledger did not say in
    /// time.
    pub rule: Option<RuleRef>,
    /// What may be read.
    pub record: Record,
    /// The data key, wrapped for the reader's registered key.
    pub wrapped_key: String,
    /// The data key, where this oracle may open it.
    data_key: Option<DataKey>,
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
    /// An opener over the ledger, the store and the oracle's private keys.
    #[must_use]
    pub fn new(ledger: Ledger, store: Kubo, keys: OracleKeys) -> Self {
        Self {
            ledger,
            store,
            keys,
        }
    }

    /// Whether `kid` is a key of this oracle, the current one or one of before.
    #[must_use]
    pub fn holds(&self, kid: &str) -> bool {
        self.keys.holds(kid)
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

    /// Has the read decided and, when it is permitted, gets the data key for the reader.
    ///
    /// `request` is the verified content of `jws`, `reader` the registered participant who signed
    /// it, `record` the record it is about. `opened` says that the content is to be opened here,
    /// for which the oracle needs the data key itself.
    ///
    /// # Errors
    ///
    /// [`ReadError::Denied`] with the recorded decision; [`ReadError::NotServed`] when the read was
    /// permitted and the key could not be had after all; other variants when no decision was made.
    pub async fn release(
        &self,
        jws: &str,
        request: &SignedRequest<AuthorizeRead>,
        reader: &Participant,
        record: Record,
        opened: bool,
    ) -> Result<Release, ReadError> {
        let way = match self.way(reader, &record, opened).await {
            Ok(way) => Some(way),
            // A refusal belongs on the ledger even if nothing could have been released.
            Err(error) if error.is_of_the_key() => {
                let expected = self.explain(request, reader).await;
                if expected.is_none_or(|e| e.verdict.reason.decision() == Decision::Permit) {
                    return Err(error);
                }
                None
            }
            Err(error) => return Err(error),
        };
        let decided = self.ledger.authorize_read(jws).await?;
        let (read_id, block_number) =
            (decided.receipt.transaction_id, decided.receipt.block_number);
        if decided.receipt.result.decision != Decision::Permit {
            let explanation = self.explain(request, reader).await;
            return Err(ReadError::Denied {
                record_id: request.body.record_id,
                read_id,
                block_number,
                reason: decided.reason,
                explanation: explanation.map(Box::new),
            });
        }
        let keys = self.keys.clone();
        let taking = tokio::task::spawn_blocking(move || match way {
            Some(way) => way.take(&keys),
            None => Err(ReadError::NotShared),
        });
        let (taken, rule) = tokio::join!(taking, self.rule(&decided.receipt.result.read_id));
        let taken = taken.map_err(ReadError::Cancelled).flatten();
        let (data_key, wrapped_key) =
            taken.map_err(|error| error.after_permit(&read_id, block_number))?;
        Ok(Release {
            read_id,
            block_number,
            rule,
            record,
            wrapped_key,
            data_key,
        })
    }

    /// Whether the contract would permit the read now, as far as it can be asked.
    pub async fn would_permit(
        &self,
        request: &SignedRequest<AuthorizeRead>,
        reader: &Participant,
    ) -> bool {
        let expected = self.explain(request, reader).await;
        expected.is_some_and(|e| e.verdict.reason.decision() == Decision::Permit)
    }

    /// How the reader's key would be had.
    async fn way(
        &self,
        reader: &Participant,
        record: &Record,
        opened: bool,
    ) -> Result<Way, ReadError> {
        let holder = Holder::of(reader, record)?;
        let wraps = self.ledger.wraps(&record.metadata.record_id).await?;
        let own_msp_id = self.ledger.msp_id().as_str();
        way::find(&record.state, wraps, own_msp_id, &self.keys, holder, opened)
    }

    /// What the contract says to the request now, if it can be asked.
    async fn explain(
        &self,
        request: &SignedRequest<AuthorizeRead>,
        reader: &Participant,
    ) -> Option<Explanation> {
        let question = ReadQuestion {
            reader: reader.participant_id,
            purpose: request.body.purpose,
            project: request.body.project.clone(),
            at: clock::now(),
        };
        let asked = self
            .ledger
            .explain_read(Viewer::Oracle, &request.body.record_id, &question);
        match asked.await {
            Ok(explanation) => explanation,
            Err(error) => {
                tracing::warn!(%error, "a read cannot be explained");
                None
            }
        }
    }

    /// The rule that a committed read names. The read stands without it.
    async fn rule(&self, id: &ReadId) -> Option<RuleRef> {
        match self.ledger.read(Viewer::Oracle, id).await {
            Ok(entry) => entry?.rule,
            Err(error) => {
                tracing::warn!(%error, read_id = %id, "a read's rule cannot be looked up");
                None
            }
        }
    }

    /// Fetches the sealed object of a permitted read, verified against the CID and the registered
    /// hash.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotServed`] for whatever went wrong.
    pub async fn fetch(&self, release: &Release) -> Result<Fetched, ReadError> {
        let fetched = self.fetch_object(&release.record).await;
        fetched.map_err(|error| error.after_permit(&release.read_id, release.block_number))
    }

    async fn fetch_object(&self, record: &Record) -> Result<Fetched, ReadError> {
        let cid: Cid = record
            .metadata
            .cid
            .parse()
            .map_err(|_| ReadError::ObjectMismatch)?;
        let stream = self.store.fetch(&cid).await?;
        object::verified(stream, record.metadata.size, record.state.object_sha256).await
    }

    /// Fetches the sealed object of a permitted read and opens it here.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotServed`]: too large for [`OPEN_BYTES_MAX`], not the registered object, or
    /// the store does not answer.
    pub async fn open(&self, release: Release) -> Result<Vec<u8>, ReadError> {
        let (read_id, block_number) = (release.read_id.clone(), release.block_number);
        let opened = self.open_object(release).await;
        opened.map_err(|error| error.after_permit(&read_id, block_number))
    }

    async fn open_object(&self, release: Release) -> Result<Vec<u8>, ReadError> {
        let Release {
            record, data_key, ..
        } = release;
        if record.metadata.size > OPEN_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        let data_key = data_key.ok_or(ReadError::NotShared)?;
        let sealed = self.fetch_object(&record).await?.collect().await?;
        let associated_data = AssociatedData {
            record_id: *record.metadata.record_id.as_bytes(),
            commitment: *record.state.commitment.as_bytes(),
        };
        let opening = tokio::task::spawn_blocking(move || {
            sealed_object::open(&data_key, &associated_data, &sealed)
        });
        Ok(opening.await.map_err(ReadError::Cancelled)??)
    }
}
