//! Pieces of large objects on their way in: what the front hands over, until it is durable.

use std::time::Duration;

use bytes::Bytes;
use contract_interface::DeviceId;

use super::decode;
use super::intake::{Intake, IntakeError, Taken, check_signature, make_reading, now};
use super::topic::{Piece, TopicError};
use crate::journal::{Accepted, KeptObject, Mark};
use crate::objects::{
    Begun, Manifest, ObjectError, ObjectId, ObjectName, Objects, Signature, Submitted,
};

/// How long an acknowledgement is delayed for room on the disk before it is refused.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two tries meanwhile.
const DISK_RETRY: Duration = Duration::from_millis(500);

/// A piece in the writer's queue.
#[derive(Debug)]
pub(super) struct KeepingPiece {
    objects: Objects,
    order: Order,
    submitted: Submitted,
}

/// What the writer is asked for; kept to ask again while the disk is full.
#[derive(Debug, Clone)]
enum Order {
    Begin(Box<Begun>),
    Chunk(ObjectName, u32, Bytes),
    Tell(ObjectName),
}

impl Order {
    async fn submit(&self, objects: &Objects) -> Submitted {
        match self.clone() {
            Self::Begin(begun) => objects.begin(*begun).await,
            Self::Chunk(name, number, content) => objects.chunk(name, number, content).await,
            Self::Tell(name) => objects.tell(name).await,
        }
    }
}

impl KeepingPiece {
    /// Waits until the piece is durable; while the disk is full, for some time.
    pub(super) async fn outcome(self) -> Result<Taken, IntakeError> {
        let Self {
            objects,
            order,
            submitted,
        } = self;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut outcome = submitted.outcome().await;
        while outcome == Err(ObjectError::DiskFull) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(DISK_RETRY).await;
            outcome = order.submit(&objects).await.outcome().await;
        }
        Ok(outcome?)
    }
}

impl Intake {
    /// Checks a piece of a large object and submits it.
    pub(super) async fn submit_piece(
        &self,
        device: &DeviceId,
        thumbprint: Option<[u8; 32]>,
        (id, piece): (ObjectId, Piece),
        payload: &Bytes,
    ) -> Result<KeepingPiece, IntakeError> {
        let objects = self.objects().ok_or(TopicError::NotAllowed)?;
        let name = ObjectName {
            device: device.as_str().to_owned(),
            id: id.as_str().to_owned(),
        };
        let order = match piece {
            Piece::Manifest => {
                let begun = self.describe(device, thumbprint, &id, payload).await?;
                if !objects.knows(&name) {
                    self.check_number(&begun)?;
                }
                Order::Begin(Box::new(begun))
            }
            Piece::Chunk(number) => {
                self.admit(device, thumbprint).await?;
                Order::Chunk(name, number, payload.clone())
            }
            Piece::Inquiry => {
                self.admit(device, thumbprint).await?;
                Order::Tell(name)
            }
        };
        let submitted = order.submit(objects).await;
        Ok(KeepingPiece {
            objects: objects.clone(),
            order,
            submitted,
        })
    }

    /// Makes of a manifest what is kept of it.
    async fn describe(
        &self,
        device: &DeviceId,
        thumbprint: Option<[u8; 32]>,
        id: &ObjectId,
        payload: &[u8],
    ) -> Result<Begun, IntakeError> {
        let received = now();
        let manifest = Manifest::read(payload)?;
        let mut decoded = decode::describe(&manifest.hints, received).map_err(ObjectError::from)?;
        let known = self.admit(device, thumbprint).await?;
        // Signed as a compact reading is.
        check_signature(&known, decode::READING_JSON, payload)?;
        let not_kept = manifest.signature == Signature::NotKept;
        decoded.marks.add_if(not_kept, Mark::SignatureNotKept);
        let mut reading = make_reading(&known, decoded, received)?;
        reading.time_named = manifest.hints.time.is_some();
        if manifest.signature == Signature::Kept {
            reading.payload = payload.to_vec().into();
        }
        Ok(Begun {
            reading,
            id: id.as_str().to_owned(),
            bytes: manifest.bytes,
            sha256: manifest.sha256.into(),
            chunk_bytes: manifest.chunk_bytes,
            manifest: manifest.digest.into(),
        })
    }

    /// Refuses a number that was used for another message before a gigabyte is sent in vain.
    fn check_number(&self, begun: &Begun) -> Result<(), IntakeError> {
        let mut reading = begun.reading.clone();
        reading.object = Some(KeptObject {
            id: begun.id.clone(),
            bytes: begun.bytes,
            sha256: begun.sha256,
            leaf: [0; 32].into(),
        });
        match self.known(&reading) {
            Some(Accepted::SequenceReused) => Err(IntakeError::SequenceReused),
            Some(Accepted::SequenceTooOld) => Err(IntakeError::SequenceTooOld),
            // What is known already is found again when it is complete.
            Some(Accepted::New(_) | Accepted::Duplicate) | None => Ok(()),
        }
    }
}
