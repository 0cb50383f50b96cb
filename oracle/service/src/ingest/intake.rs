//! From a checked PUBLISH to a durable reading: decode, find the patient, append to the journal.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract_interface::{Device, DeviceId, Period, UtcTime, reading};
use fabric_msp::detached;
use thiserror::Error;
use tokio::sync::mpsc;

use super::clock;
use super::decode::{self, DecodeError, Decoded, Hints};
use super::directory::{DeviceDirectory, LookupError};
use super::pieces::KeepingPiece;
use super::topic::{Target, TopicError};
use crate::journal::{Accepted, Entry, Journal, JournalError, Offer, Reading, Refused, Submitted};
use crate::objects::{ObjectError, Objects};
use crate::pipeline::Arrival;

/// How long a PUBACK is delayed for room in the journal before it is refused.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two tries while the journal's disk has no room.
const DISK_RETRY: Duration = Duration::from_millis(500);

/// Why a message was not kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// Its topic is not allowed or not readable.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Its content is not readable.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// The device is not registered.
    #[error("the device is not registered")]
    DeviceUnknown,
    /// The device may not measure now.
    #[error("the device is suspended or revoked")]
    DeviceInactive,
    /// The device measured nobody, or several, in the reading's period.
    #[error("the device is bound to no patient for the time of the reading")]
    NotBound,
    /// The reading carries a signature that is not its registered device's.
    #[error("the reading's signature is wrong: {reason}")]
    Signature {
        /// What is wrong with it.
        reason: String,
    },
    /// The sequence number was used for another payload.
    #[error("the sequence number was used before for another message")]
    SequenceReused,
    /// The sequence number is older than what is remembered.
    #[error("the sequence number is too old to tell whether it is kept already")]
    SequenceTooOld,
    /// The ledger cannot be asked and nothing recent is known of the device.
    #[error("the device's registration cannot be looked up now")]
    LookupFailed,
    /// A large object, or a piece of one, was not taken.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No room.
    #[error("no room is left, try again later")]
    Full,
    /// The journal has failed; the process ends.
    #[error("the message could not be made durable")]
    NotDurable,
}

impl IntakeError {
    /// The error's stable name, as dead letters, metrics and reason strings spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Topic(TopicError::Malformed) => "topic-malformed",
            Self::Topic(TopicError::NotAllowed) => "topic-not-allowed",
            Self::Topic(TopicError::Bag) => "topic-property-bag",
            Self::Topic(TopicError::Sequence) => "sequence-malformed",
            Self::Payload(error) => error.name(),
            Self::DeviceUnknown => "device-unknown",
            Self::DeviceInactive => "device-inactive",
            Self::NotBound => "device-not-bound",
            Self::Signature { .. } => "signature-wrong",
            Self::SequenceReused => "sequence-reused",
            Self::SequenceTooOld => "sequence-too-old",
            Self::LookupFailed => "device-lookup-failed",
            Self::Object(error) => error.name(),
            Self::Full => "journal-full",
            Self::NotDurable => "journal-failed",
        }
    }
}

/// A reading without its content, of the patient whom the device measured then.
pub(super) fn make_reading(
    device: &Device,
    decoded: Decoded,
    received: UtcTime,
) -> Result<Reading, IntakeError> {
    let placed = clock::place(device, decoded.period, received).ok_or(IntakeError::NotBound)?;
    let mut marks = decoded.marks;
    marks.add_all(placed.marks);
    for mark in marks.iter() {
        metrics::counter!("salus_mqtt_marked_total", "mark" => mark.name()).increment(1);
    }
    let Period { start, end } = placed.period;
    Ok(Reading {
        device: device.device_id.as_str().to_owned(),
        sequence: decoded.sequence,
        received_ms: now_ms(),
        content_type: decoded.content_type,
        code: decoded.code.as_str().to_owned(),
        period_start: start.unix_seconds(),
        period_end: end.unix_seconds(),
        patient: placed.patient.to_string(),
        alone: decoded.opaque,
        payload: Vec::new().into(),
        time_named: false,
        labels: decoded.labels,
        marks,
        object: None,
    })
}

/// Checks the signature of a compact reading or manifest, if it has one. The certificate comes with the
/// signature; it counts because the device is registered with it.
pub(super) fn check_signature(
    device: &Device,
    content_type: &str,
    payload: &[u8],
) -> Result<(), IntakeError> {
    let refused = |reason: String| IntakeError::Signature { reason };
    let signed = reading::of(content_type, payload).map_err(|e| refused(e.to_string()))?;
    let Some(signed) = signed else {
        return Ok(());
    };
    let certificate = detached::verify(&signed.signature, &signed.content);
    let certificate = certificate.map_err(|error| refused(error.to_string()))?;
    if certificate.thumbprint() == *device.thumbprint.as_bytes() {
        Ok(())
    } else {
        Err(refused(
            "it is made with another certificate than the registered one".to_owned(),
        ))
    }
}

impl From<JournalError> for IntakeError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full | JournalError::DiskRefused { .. } => Self::Full,
            _ => Self::NotDurable,
        }
    }
}

impl From<LookupError> for IntakeError {
    fn from(LookupError: LookupError) -> Self {
        Self::LookupFailed
    }
}

/// What became of a message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is durable now.
    Kept,
    /// It was durable before.
    Duplicate,
}

/// The intake; cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    journal: Journal,
    devices: Arc<DeviceDirectory>,
    /// To the pipeline's gathering. Bounded; the journal has the reading already, so waiting here loses nothing.
    readings_tx: mpsc::Sender<Arrival>,
    /// Where large objects go, if this oracle takes them.
    objects: Option<Objects>,
}

impl Intake {
    /// An intake that keeps readings in `journal` and tells `readings_tx` of them.
    #[must_use]
    pub fn new(
        journal: Journal,
        devices: Arc<DeviceDirectory>,
        readings_tx: mpsc::Sender<Arrival>,
    ) -> Self {
        Self {
            journal,
            devices,
            readings_tx,
            objects: None,
        }
    }

    /// One that takes large objects, too.
    #[must_use]
    pub fn with_objects(mut self, objects: Objects) -> Self {
        self.objects = Some(objects);
        self
    }

    pub(super) fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// What the journal says of a reading, if it is not new.
    pub(super) fn known(&self, reading: &Reading) -> Option<Accepted> {
        self.journal.known(reading)
    }

    /// Checks a message and submits it to where it is kept.
    ///
    /// # Errors
    ///
    /// [`IntakeError`] names what is wrong with it.
    pub async fn take(
        &self,
        device: &DeviceId,
        thumbprint: Option<[u8; 32]>,
        target: Target,
        payload: &Bytes,
    ) -> Result<Keeping, IntakeError> {
        match target {
            Target::Reading(hints) => {
                let reading = self.prepare(device, thumbprint, &hints, payload).await?;
                self.submit(reading).await
            }
            Target::Object(id, piece) => {
                let piece = self.submit_piece(device, thumbprint, (id, piece), payload);
                Ok(Keeping(Kept::Piece(Box::new(piece.await?))))
            }
        }
    }

    /// Tells of each device whose registration was changed here.
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<DeviceId> {
        self.devices.changes()
    }

    /// Whether a device may connect; `thumbprint` is its certificate's, if it showed one.
    ///
    /// # Errors
    ///
    /// [`IntakeError::DeviceUnknown`], [`IntakeError::DeviceInactive`] or [`IntakeError::LookupFailed`].
    pub async fn admit(
        &self,
        device: &DeviceId,
        thumbprint: Option<[u8; 32]>,
    ) -> Result<Arc<Device>, IntakeError> {
        let known = self.devices.device(device).await?;
        let known = known.ok_or(IntakeError::DeviceUnknown)?;
        if thumbprint.is_some_and(|shown| shown != *known.thumbprint.as_bytes()) {
            return Err(IntakeError::DeviceUnknown);
        }
        if known.active_at(now()) {
            Ok(known)
        } else {
            Err(IntakeError::DeviceInactive)
        }
    }

    /// Checks a message and makes of it what the journal keeps.
    ///
    /// # Errors
    ///
    /// [`IntakeError`] names what is wrong with it.
    pub async fn prepare(
        &self,
        device: &DeviceId,
        thumbprint: Option<[u8; 32]>,
        hints: &Hints,
        payload: &[u8],
    ) -> Result<Reading, IntakeError> {
        let received = now();
        let decoded = decode::decode(hints, payload, received)?;
        let known = self.admit(device, thumbprint).await?;
        check_signature(&known, &decoded.content_type, payload)?;
        let time_named = decoded.opaque && hints.time.is_some();
        let reading = make_reading(&known, decoded, received)?;
        Ok(Reading {
            payload: payload.to_vec().into(),
            time_named,
            ..reading
        })
    }

    /// Submits a prepared reading to the journal. Readings submitted one after the other are kept in that order,
    /// unless the journal is full.
    ///
    /// # Errors
    ///
    /// [`IntakeError::NotDurable`].
    pub async fn submit(&self, reading: Reading) -> Result<Keeping, IntakeError> {
        let offer = Offer::from(reading);
        let submitted = self.journal.submit(offer.clone()).await?;
        Ok(Keeping(Kept::Reading(Box::new(KeepingReading {
            intake: self.clone(),
            offer,
            submitted,
        }))))
    }

    /// Writes down that a message was refused, where the protocol cannot say so: who, when, why, never what.
    pub async fn dead_letter(&self, device: &DeviceId, reason: &'static str, payload: &[u8]) {
        metrics::counter!("salus_mqtt_dead_letters_total").increment(1);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload);
        let mut sha256 = [0_u8; 32];
        sha256.copy_from_slice(digest.as_ref());
        let refused = Refused {
            device: device.as_str().to_owned(),
            refused_ms: now_ms(),
            reason: reason.to_owned(),
            bytes: payload.len() as u64,
            sha256: sha256.into(),
        };
        if let Err(error) = self.journal.append(Entry::Refused(refused)).await {
            tracing::error!(%device, reason, %error, "dead letter could not be written");
        }
    }
}

/// A message on its way to the disk.
#[derive(Debug)]
pub struct Keeping(Kept);

#[derive(Debug)]
enum Kept {
    Reading(Box<KeepingReading>),
    Piece(Box<KeepingPiece>),
}

#[derive(Debug)]
struct KeepingReading {
    intake: Intake,
    offer: Offer,
    submitted: Submitted,
}

impl Keeping {
    /// Waits until the message is durable and MAY be acknowledged; while there is no room, for some time.
    ///
    /// # Errors
    ///
    /// [`IntakeError`]; nothing was kept then.
    pub async fn outcome(self) -> Result<Taken, IntakeError> {
        match self.0 {
            Kept::Reading(reading) => reading.outcome().await,
            Kept::Piece(piece) => piece.outcome().await,
        }
    }
}

impl KeepingReading {
    async fn outcome(self) -> Result<Taken, IntakeError> {
        let Self {
            intake,
            offer,
            submitted,
        } = self;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut outcome = submitted.outcome().await;
        while let Err(JournalError::Full | JournalError::DiskRefused { .. }) = outcome {
            let room = intake.journal.room();
            outcome = intake.journal.receive(offer.clone()).await;
            let waited = match outcome {
                Err(JournalError::Full) => tokio::time::timeout_at(deadline, room).await.is_ok(),
                // Nobody tells when another program frees the disk.
                Err(JournalError::DiskRefused { .. }) => {
                    tokio::time::sleep(DISK_RETRY).await;
                    tokio::time::Instant::now() < deadline
                }
                _ => true,
            };
            if !waited {
                break;
            }
        }
        // A closed pipeline finds a new reading in the journal at the next start.
        match outcome? {
            Accepted::New(pending) => {
                drop(intake.readings_tx.send(Arrival::New(pending)).await);
                Ok(Taken::Kept)
            }
            Accepted::Duplicate => {
                let again = Arrival::again(&offer);
                drop(intake.readings_tx.send(again).await);
                Ok(Taken::Duplicate)
            }
            Accepted::SequenceReused => Err(IntakeError::SequenceReused),
            Accepted::SequenceTooOld => Err(IntakeError::SequenceTooOld),
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The wall clock, to the second.
pub(crate) fn now() -> UtcTime {
    let seconds = i64::try_from(now_ms() / 1000).unwrap_or(0);
    UtcTime::from_unix_seconds(seconds).unwrap_or(UtcTime::MIN)
}

#[cfg(test)]
mod tests {
    use contract_interface::{Digest, Salt, Status};
    use fabric_msp::SigningIdentity;
    use fabric_mspgen::{Kind, Organization};

    use super::*;

    const READING: &[u8] =
        br#"{"code":"8867-4","seq":1,"time":1767323045,"unit":"/min","value":72}"#;

    #[test]
    fn a_signature_is_checked_if_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let msp_id = "Org1MSP".parse().unwrap();
        let organization =
            Organization::create(dir.path(), msp_id, "org1.example.com", Kind::Peer).unwrap();
        let identity = |name: &str| {
            let issued = organization.issue_device(name, None).unwrap();
            let msp_id = "Org1MSP".parse().unwrap();
            let (certificate, key) = (issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes());
            SigningIdentity::from_pem(msp_id, certificate, key).unwrap()
        };
        let (own, other) = (identity("hr-1"), identity("hr-2"));
        let device = Device {
            device_id: "hr-1".parse().unwrap(),
            msp_id: "Org1MSP".parse().unwrap(),
            thumbprint: Digest::from_bytes(own.certificate().thumbprint()),
            status: Status::Active,
            status_since: None,
            bindings: Vec::new(),
            salt: Salt::from_bytes(std::array::from_fn(|i| i as u8)).unwrap(),
        };
        let signed = |by: &SigningIdentity, value: &str| {
            let signature = detached::sign(by, READING).unwrap();
            let text = std::str::from_utf8(READING).unwrap().replace("72", value);
            text.replacen('{', &format!(r#"{{"sig":"{signature}","#), 1)
        };
        let json = "application/json";
        let check = |payload: &str| check_signature(&device, json, payload.as_bytes());
        assert!(check(std::str::from_utf8(READING).unwrap()).is_ok());
        assert!(check(&signed(&own, "72.0")).is_ok());
        for wrong in [
            signed(&own, "73"),
            signed(&other, "72"),
            signed(&own, "72").replace("..", "."),
            r#"{"sig":1}"#.to_owned(),
        ] {
            let refused = check(&wrong).unwrap_err();
            assert_eq!(refused.name(), "signature-wrong", "{wrong}");
        }
    }
}
