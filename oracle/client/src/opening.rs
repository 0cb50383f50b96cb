//! Checking and opening what an oracle released.
//!
//! Nothing is taken on trust: the object's SHA-256 and the commitment are the ledger's, the
//! metadata must commit to that commitment, the object opens only under it, and the opened
//! readings must have the Merkle root that the metadata names.

use std::io::{Seek as _, SeekFrom, Write};

use contract_interface::{
    ReadId, Record,
    segment::{self, SegmentItem},
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sealed_object::{AssociatedData, OpenError, Opener, PrivateKey};
use sha2::{Digest as _, Sha256};

use crate::error::ClientError;

/// Largest record opened in memory, bytes. A larger one is opened into a file.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

const WRAPPED_KEY: &str = "salus-wrapped-key";
const READ_ID: &str = "salus-read-id";
const BLOCK: &str = "salus-block";

/// A record that was released: its entry on the ledger, the key wrapped for the reader, and the
/// sealed object on its way.
#[derive(Debug)]
pub struct SealedRecord {
    /// The record's entry on the ledger.
    pub record: Record,
    /// The transaction that recorded the read: the reader's receipt.
    pub read_id: ReadId,
    /// The block that holds it.
    pub block_number: u64,
    /// The data key, wrapped for the reader, a compact JWE.
    pub wrapped_key: String,
    body: Incoming,
}

/// A record that was checked and opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedRecord {
    /// The record's entry on the ledger.
    pub record: Record,
    /// The transaction that recorded the read.
    pub read_id: ReadId,
    /// The block that holds it.
    pub block_number: u64,
    /// The readings, each with its payload as the device sent it.
    pub readings: Vec<SegmentItem>,
}

impl SealedRecord {
    pub(crate) fn new(record: Record, response: Response<Incoming>) -> Result<Self, ClientError> {
        let (head, body) = response.into_parts();
        let sealed = Self {
            read_id: header(&head.headers, READ_ID)?
                .parse()
                .map_err(|_| ClientError::Malformed { what: "a read ID" })?,
            block_number: header(&head.headers, BLOCK)?.parse().map_err(|_| {
                ClientError::Malformed {
                    what: "a block number",
                }
            })?,
            wrapped_key: header(&head.headers, WRAPPED_KEY)?.to_owned(),
            record,
            body,
        };
        // The commitment binds the metadata; the object is bound to the commitment by its AEAD.
        if sealed.record.metadata.commitment() != sealed.record.state.commitment {
            return Err(sealed.mismatch("the metadata's commitment"));
        }
        Ok(sealed)
    }

    /// Checks and opens a segment in memory.
    ///
    /// # Errors
    /// [`ClientError::Integrity`], [`ClientError::Key`] or [`ClientError::TooLarge`]; the readings
    /// are handed out only when every check has passed.
    pub async fn open(mut self, key: &PrivateKey) -> Result<OpenedRecord, ClientError> {
        if self.record.metadata.content_type != segment::MEDIA_TYPE {
            return Err(ClientError::NotReadings {
                record_id: self.record.metadata.record_id,
                content_type: self.record.metadata.content_type,
            });
        }
        if self.record.metadata.plaintext_size > MEMORY_BYTES_MAX {
            return Err(ClientError::TooLarge {
                limit: MEMORY_BYTES_MAX,
            });
        }
        let mut plaintext = Vec::new();
        self.open_into(key, &mut plaintext).await?;
        let readings = self.readings(&plaintext)?;
        Ok(OpenedRecord {
            record: self.record,
            read_id: self.read_id,
            block_number: self.block_number,
            readings,
        })
    }

    /// Checks and opens the object into `out`, in constant memory. What `out` received MUST be
    /// thrown away when this fails. The sealed bytes pass through a temporary file.
    ///
    /// # Errors
    /// As [`SealedRecord::open`], and when a file cannot be written.
    pub async fn open_into(
        &mut self,
        key: &PrivateKey,
        out: &mut impl Write,
    ) -> Result<(), ClientError> {
        let mut sealed = tempfile::tempfile()?;
        self.receive_into(&mut sealed).await?;
        sealed.seek(SeekFrom::Start(0))?;
        let data_key = key
            .unwrap(&self.wrapped_key)
            .map_err(|error| ClientError::Key {
                problem: error.to_string(),
            })?;
        let associated_data = AssociatedData {
            record_id: *self.record.metadata.record_id.as_bytes(),
            commitment: *self.record.state.commitment.as_bytes(),
        };
        let reader = std::io::BufReader::new(sealed);
        let mut opener =
            Opener::new(reader, &data_key, &associated_data).map_err(|e| self.not_opened(e))?;
        let total = opener
            .write_to(out)
            .map_err(|e| self.not_opened(e.into()))?;
        if total != self.record.metadata.plaintext_size {
            return Err(self.mismatch("the opened size"));
        }
        Ok(())
    }

    /// Checks and opens a record that is no segment, such as a letter, in memory.
    ///
    /// # Errors
    /// As [`SealedRecord::open`]; the content is handed out only when every check has passed.
    pub async fn open_content(mut self, key: &PrivateKey) -> Result<Vec<u8>, ClientError> {
        if self.record.metadata.plaintext_size > MEMORY_BYTES_MAX {
            return Err(ClientError::TooLarge {
                limit: MEMORY_BYTES_MAX,
            });
        }
        let mut content = Vec::new();
        self.open_into(key, &mut content).await?;
        Ok(content)
    }

    /// Takes in the object as it is, still sealed, for opening it with other programs; it has the
    /// registered size and SHA-256. It arrives once: afterwards there is nothing left to open.
    ///
    /// # Errors
    /// [`ClientError::Integrity`] when it is not the registered object, and when `out` fails. What
    /// `out` received MUST then be thrown away.
    pub async fn receive_into(&mut self, out: &mut impl Write) -> Result<(), ClientError> {
        let limit = self.record.metadata.size;
        let mut hash = Sha256::new();
        let mut received = 0_u64;
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|_| ClientError::Malformed {
                what: "a whole object",
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            received += data.len() as u64;
            if received > limit {
                return Err(self.mismatch("the size"));
            }
            hash.update(&data);
            out.write_all(&data)?;
        }
        if hash.finalize().as_slice() != self.record.state.object_sha256.as_bytes() {
            return Err(self.mismatch("the object's SHA-256"));
        }
        Ok(())
    }

    /// Splits a segment into its readings and checks them against the Merkle root.
    fn readings(&self, plaintext: &[u8]) -> Result<Vec<SegmentItem>, ClientError> {
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut readings = Vec::new();
        for item in segment::decode(plaintext) {
            let item = item.map_err(|_| self.mismatch("the form of a segment"))?;
            tree.push(item.bytes.to_vec());
            readings.push(item.item);
        }
        let count_matches = usize::try_from(self.record.metadata.readings)
            .is_ok_and(|expected| expected == readings.len());
        if !count_matches {
            return Err(self.mismatch("the number of readings"));
        }
        if tree.root().as_bytes().as_slice() != self.record.metadata.merkle_root.as_bytes() {
            return Err(self.mismatch("the Merkle root"));
        }
        Ok(readings)
    }

    fn not_opened(&self, error: OpenError) -> ClientError {
        match error {
            OpenError::Io(error) => ClientError::Io(error),
            _ => self.mismatch("the sealed object"),
        }
    }

    fn mismatch(&self, what: &'static str) -> ClientError {
        ClientError::Integrity {
            record_id: self.record.metadata.record_id,
            what,
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, ClientError> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or(ClientError::Malformed { what: name })
}
