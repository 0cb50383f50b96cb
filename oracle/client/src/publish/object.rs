//! Publishing one large object: a manifest, chunks, and the receipt.
//!
//! What the oracle has is asked of the oracle, never remembered here: after a broken connection, or in another run of
//! the program with the same object ID, the manifest is sent again and the status that comes back names the missing
//! chunks. The file is read twice, once for its hash and once to be sent; memory holds the chunks in flight.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use contract_interface::{DeviceId, RecordId};
use fabric_msp::SigningIdentity;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::receipts::{Awaited, Refusal};
use super::session::{Connection, Step};
use super::{Options, PublishError, ReadingName, Receipt, bridge};
use crate::evidence::device;

/// Bytes of an object, at most.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a chunk that fit every limit, also that of MQTT over WebSockets.
pub const CHUNK_BYTES_DEFAULT: u32 = 512 << 10;
/// Chunks on their way without an acknowledgement.
const WINDOW: usize = 8;
/// Wait before the oracle is called again, or asked again after a refusal that may pass.
const AGAIN: Duration = Duration::from_secs(2);

/// What to publish.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// The file.
    pub file: PathBuf,
    /// The device's name for it: 1 to 64 letters, digits, `.`, `_` or `-`. Without one it follows from
    /// the content, so that another run goes on with the same object.
    pub object_id: Option<DeviceId>,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// The device's sequence number, shared with its readings.
    pub seq: Option<u64>,
    /// LOINC code or category; else the oracle makes a category of the content type.
    pub record_type: Option<String>,
    /// RFC 3339 time of the measurement.
    pub time: Option<String>,
    /// Signs the manifest.
    pub signer: Option<SigningIdentity>,
}

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Chunks that are durable at the oracle.
    pub chunks_done: usize,
    /// Chunks of the object.
    pub chunks: usize,
}

/// Publishes a file as one object and waits until it is on the ledger. `progress` is called when the oracle has
/// more of it than before.
///
/// # Errors
///
/// [`PublishError`]. Whatever it is, calling again goes on where this ended.
pub async fn publish_object(
    options: &Options,
    object: &ObjectOptions,
    progress: impl FnMut(Progress) + Send,
) -> Result<Receipt, PublishError> {
    let planned = object.clone();
    let content_type = options.content_type.clone();
    let plan = tokio::task::spawn_blocking(move || Plan::make(&planned, &content_type));
    let plan = plan.await.map_err(io::Error::other)??;
    let bridge = bridge::Bridge::start(options)?;
    let mut delivery = Delivery {
        options,
        awaited: Awaited::of(plan.name.clone()),
        plan,
        progress,
        deadline: Instant::now() + options.patience,
        done: 0,
        refusal: None,
    };
    let result = delivery.run(&bridge.socket()).await;
    bridge.stop().await;
    result
}

/// What is sent.
struct Plan {
    file: File,
    bytes: u64,
    chunk_bytes: u32,
    topic: String,
    manifest: Vec<u8>,
    /// What the receipt calls it.
    name: ReadingName,
}

impl Plan {
    fn make(object: &ObjectOptions, content_type: &str) -> Result<Self, PublishError> {
        let mut file = File::open(&object.file)?;
        let mut hash = Context::new(&SHA256);
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            hash.update(&buffer[..count]);
        }
        if bytes == 0 || bytes > OBJECT_BYTES_MAX {
            return Err(PublishError::ObjectSize { bytes });
        }
        let sha256: String = hash
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let manifest = manifest(object, content_type, bytes, &sha256)?;
        let id = match &object.object_id {
            Some(id) => id.to_string(),
            None => sha256[..32].to_owned(),
        };
        Ok(Self {
            file,
            bytes,
            chunk_bytes: object.chunk_bytes,
            topic: format!("objects/{id}"),
            manifest,
            name: match object.seq {
                Some(seq) => ReadingName::Seq(seq),
                None => ReadingName::Sha256(sha256),
            },
        })
    }

    fn chunks(&self) -> usize {
        usize::try_from(self.bytes.div_ceil(u64::from(self.chunk_bytes))).unwrap_or(usize::MAX)
    }

    fn chunk(&self, number: u32) -> io::Result<Vec<u8>> {
        let start = u64::from(number) * u64::from(self.chunk_bytes);
        let length = self
            .bytes
            .saturating_sub(start)
            .min(self.chunk_bytes.into());
        let mut chunk = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut chunk, start)?;
        Ok(chunk)
    }
}

fn manifest(
    object: &ObjectOptions,
    content_type: &str,
    bytes: u64,
    sha256: &str,
) -> Result<Vec<u8>, PublishError> {
    let mut members = Map::new();
    members.insert("content_type".to_owned(), content_type.into());
    members.insert("size".to_owned(), bytes.into());
    members.insert("sha256".to_owned(), sha256.into());
    members.insert("chunk_size".to_owned(), object.chunk_bytes.into());
    let optional = [
        ("seq", object.seq.map(Value::from)),
        ("type", object.record_type.clone().map(Value::from)),
        ("time", object.time.clone().map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    }
    let manifest = json!(members).to_string().into_bytes();
    match &object.signer {
        None => Ok(manifest),
        Some(signer) => {
            let signed = device::sign(signer, &manifest);
            signed.map_err(|error| PublishError::Identity(error.to_string()))
        }
    }
}

/// A message on the object's status topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    missing: Vec<[u32; 2]>,
    #[serde(default)]
    received: usize,
    #[serde(default)]
    reason: String,
    record_id: Option<RecordId>,
    transaction_id: Option<String>,
    block_number: Option<u64>,
}

impl Status {
    /// The receipt of an object that is done.
    fn receipt(self, name: &ReadingName) -> Option<Receipt> {
        Some(Receipt {
            record_id: self.record_id?,
            transaction_id: self.transaction_id?,
            block_number: self.block_number?,
            readings: vec![name.clone()],
        })
    }
}

/// One object on its way, over as many connections as it takes.
struct Delivery<'a, P> {
    options: &'a Options,
    plan: Plan,
    awaited: Awaited,
    progress: P,
    /// When to give up; moves when the oracle has more than before.
    deadline: Instant,
    done: usize,
    /// Why the oracle last refused something for the time being.
    refusal: Option<String>,
}

/// How a connection ended.
enum End {
    Done(Receipt),
    /// It broke, or the oracle wants to be asked again.
    Again(PublishError),
}

impl<P: FnMut(Progress) + Send> Delivery<'_, P> {
    async fn run(&mut self, socket: &Path) -> Result<Receipt, PublishError> {
        loop {
            let mut connection = Connection::new(self.options, socket);
            let played = self.play(&mut connection).await;
            connection.disconnect().await;
            match played? {
                End::Done(receipt) => return Ok(receipt),
                End::Again(error) if Instant::now() + AGAIN >= self.deadline => return Err(error),
                End::Again(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn play(&mut self, connection: &mut Connection) -> Result<End, PublishError> {
        let mut turn = Turn::default();
        loop {
            let step = match timeout_at(self.deadline, connection.poll()).await {
                Err(_) => return Err(self.timed_out()),
                Ok(Err(source)) => return Ok(End::Again(self.broken(source))),
                Ok(Ok(step)) => step,
            };
            let sent = match step {
                Step::Connected => {
                    turn.subscriptions = 2;
                    let status = self.topic("status");
                    let receipts = format!("v1/devices/{}/receipts", self.options.device_id);
                    connection
                        .subscribe(&receipts)
                        .and_then(|()| connection.subscribe(&status))
                }
                Step::Subscribed => {
                    turn.subscriptions = turn.subscriptions.saturating_sub(1);
                    match turn.subscriptions {
                        // Subscribed first, so that no answer is missed.
                        0 => self.send(connection, &mut turn, Piece::Manifest)?,
                        _ => Ok(()),
                    }
                }
                Step::Sent(packet_id) => {
                    if let Some(piece) = turn.requested.pop_front() {
                        turn.in_flight.insert(packet_id, piece);
                    }
                    Ok(())
                }
                Step::Acknowledged { packet_id, refusal } => {
                    let piece = turn.in_flight.remove(&packet_id);
                    if let Some(reason) = refusal {
                        return self.refused(reason);
                    }
                    if let Some(Piece::Chunk(_)) = piece {
                        self.advance(self.done + 1);
                    }
                    self.fill(connection, &mut turn)?
                }
                Step::Received(payload) => match self.received(&payload, &mut turn)? {
                    Some(receipt) => return Ok(End::Done(receipt)),
                    None => self.fill(connection, &mut turn)?,
                },
                Step::Other => Ok(()),
            };
            if let Err(source) = sent {
                return Ok(End::Again(self.broken(source)));
            }
        }
    }

    /// A status, a receipt, or a message about something else.
    fn received(
        &mut self,
        payload: &[u8],
        turn: &mut Turn,
    ) -> Result<Option<Receipt>, PublishError> {
        if let Ok(status) = serde_json::from_slice::<Status>(payload) {
            return self.told(status, turn);
        }
        let awaited = self.awaited.take(payload).map_err(|refusal| {
            let Refusal {
                record_id, refused, ..
            } = refusal;
            PublishError::NotRegistered { record_id, refused }
        })?;
        Ok(awaited
            .then(|| self.awaited.arrived().last().cloned())
            .flatten())
    }

    fn told(&mut self, status: Status, turn: &mut Turn) -> Result<Option<Receipt>, PublishError> {
        match status.state.as_str() {
            "done" => return Ok(status.receipt(&self.plan.name)),
            "refused" => {
                let reason = status.reason;
                return Err(PublishError::ObjectRefused { reason });
            }
            "expired" | "unknown" => {
                let reason = status.state;
                return Err(PublishError::ObjectRefused { reason });
            }
            "open" => {
                let chunks = u32::try_from(self.plan.chunks()).unwrap_or(u32::MAX);
                let runs = status.missing.iter();
                let missing = runs.flat_map(|[first, last]| *first..=*last);
                let missing = missing.take_while(|number| *number < chunks);
                turn.wanted = missing
                    .filter(|number| !turn.is_under_way(*number))
                    .collect();
                self.advance(status.received);
            }
            // All are there: what comes next comes by itself.
            _ => self.advance(self.plan.chunks()),
        }
        Ok(None)
    }

    /// Sends what is wanted, as far as the window allows, and asks for more when nothing is.
    fn fill(
        &mut self,
        connection: &Connection,
        turn: &mut Turn,
    ) -> Result<Result<(), BoxError>, PublishError> {
        while turn.under_way() < WINDOW {
            let Some(number) = turn.wanted.pop_front() else {
                break;
            };
            if let Err(source) = self.send(connection, turn, Piece::Chunk(number))? {
                return Ok(Err(source));
            }
            turn.to_ask = true;
        }
        // After the last one the oracle says by itself that all are there; it may want others first.
        if turn.to_ask && turn.under_way() == 0 && turn.wanted.is_empty() {
            turn.to_ask = false;
            return self.send(connection, turn, Piece::Inquiry);
        }
        Ok(Ok(()))
    }

    fn send(
        &self,
        connection: &Connection,
        turn: &mut Turn,
        piece: Piece,
    ) -> Result<Result<(), BoxError>, PublishError> {
        let (level, payload) = match piece {
            Piece::Manifest => ("manifest".to_owned(), self.plan.manifest.clone()),
            Piece::Inquiry => ("status/get".to_owned(), Vec::new()),
            Piece::Chunk(number) => (format!("chunks/{number}"), self.plan.chunk(number)?),
        };
        let sent = connection.send(&self.topic(&level), payload.into());
        if sent.is_ok() {
            turn.requested.push_back(piece);
        }
        Ok(sent)
    }

    fn topic(&self, level: &str) -> String {
        format!(
            "v1/devices/{}/{}/{level}",
            self.options.device_id, self.plan.topic
        )
    }

    /// What is refused for want of room is tried again, anything else is not.
    fn refused(&mut self, reason: String) -> Result<End, PublishError> {
        let refused = PublishError::ObjectRefused {
            reason: reason.clone(),
        };
        if reason.starts_with("QuotaExceeded") {
            self.refusal = Some(reason);
            Ok(End::Again(refused))
        } else {
            Err(refused)
        }
    }

    fn advance(&mut self, done: usize) {
        if done > self.done {
            self.done = done.min(self.plan.chunks());
            self.deadline = Instant::now() + self.options.patience;
            (self.progress)(Progress {
                chunks_done: self.done,
                chunks: self.plan.chunks(),
            });
        }
    }

    fn timed_out(&self) -> PublishError {
        if let Some(reason) = self.refusal.clone() {
            return PublishError::ObjectRefused { reason };
        }
        PublishError::TimedOut {
            seconds: self.options.patience.as_secs(),
            acknowledged: self.done,
            receipted: 0,
            messages: self.plan.chunks(),
        }
    }

    fn broken(&self, source: BoxError) -> PublishError {
        let Options { host, port, .. } = self.options;
        PublishError::Connection {
            address: format!("{host}:{port}"),
            source,
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Manifest,
    Chunk(u32),
    Inquiry,
}

/// What is under way on one connection.
#[derive(Default)]
struct Turn {
    /// Subscriptions not acknowledged yet.
    subscriptions: usize,
    /// Chunks to be sent.
    wanted: VecDeque<u32>,
    /// Handed to the client, not written out.
    requested: VecDeque<Piece>,
    in_flight: HashMap<u16, Piece>,
    /// Chunks were sent since the oracle was last asked what it misses.
    to_ask: bool,
}

impl Turn {
    fn under_way(&self) -> usize {
        self.requested.len() + self.in_flight.len()
    }

    fn is_under_way(&self, number: u32) -> bool {
        let piece = Piece::Chunk(number);
        self.requested.contains(&piece) || self.in_flight.values().any(|one| *one == piece)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn options(file: &Path) -> ObjectOptions {
        ObjectOptions {
            file: file.to_owned(),
            object_id: None,
            chunk_bytes: 1024,
            seq: None,
            record_type: Some("18748-4".to_owned()),
            time: None,
            signer: None,
        }
    }

    #[test]
    fn a_plan_names_the_content_and_cuts_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..2500_u32).map(|n| n as u8).collect();
        file.write_all(&content).unwrap();
        let plan = Plan::make(&options(file.path()), "application/dicom").unwrap();
        assert_eq!(plan.chunks(), 3);
        let chunks: Vec<_> = (0..3).map(|number| plan.chunk(number).unwrap()).collect();
        assert_eq!(chunks.concat(), content);
        assert_eq!(chunks[2].len(), 452);
        let manifest: Value = serde_json::from_slice(&plan.manifest).unwrap();
        assert_eq!(manifest["size"], 2500);
        assert_eq!(manifest["type"], "18748-4");
        assert!(manifest.get("seq").is_none());
        let ReadingName::Sha256(sha256) = &plan.name else {
            panic!()
        };
        assert_eq!(manifest["sha256"], sha256.as_str());
        assert_eq!(plan.topic, format!("objects/{}", &sha256[..32]));
        let again = Plan::make(&options(file.path()), "application/dicom").unwrap();
        assert_eq!((again.topic, again.manifest), (plan.topic, plan.manifest));
        let named = ObjectOptions {
            object_id: Some("scan-1".parse().unwrap()),
            seq: Some(7),
            ..options(file.path())
        };
        let plan = Plan::make(&named, "application/dicom").unwrap();
        assert_eq!(plan.topic, "objects/scan-1");
        assert_eq!(plan.name, ReadingName::Seq(7));
    }

    #[test]
    fn an_empty_file_is_no_object() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let made = Plan::make(&options(file.path()), "text/plain");
        assert!(matches!(made, Err(PublishError::ObjectSize { bytes: 0 })));
        // One byte more than a gigabyte, without a block on the disk.
        file.as_file().set_len(OBJECT_BYTES_MAX + 1).unwrap();
        let made = Plan::make(&options(file.path()), "text/plain");
        assert!(matches!(made, Err(PublishError::ObjectSize { .. })));
    }

    #[test]
    fn statuses_are_read() {
        let read = |text: &str| serde_json::from_str::<Status>(text).unwrap();
        let open = read(
            r#"{"object_id":"a","state":"open","size":9,"chunk_size":3,"chunks":3,"received":1,"missing":[[1,2]]}"#,
        );
        assert_eq!((open.missing, open.received), (vec![[1, 2]], 1));
        let record = "ab".repeat(16);
        let done = read(&format!(
            r#"{{"object_id":"a","state":"done","record_id":"{record}","transaction_id":"t","block_number":4}}"#
        ));
        let receipt = done.receipt(&ReadingName::Seq(1)).unwrap();
        assert_eq!(
            (receipt.record_id.to_string(), receipt.block_number),
            (record, 4)
        );
        let receipt = r#"{"record_id":"x","transaction_id":"t","block_number":4,"readings":[]}"#;
        assert!(serde_json::from_str::<Status>(receipt).is_err());
    }
}
