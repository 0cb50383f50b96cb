//! Where records come from: a device that was bound to the patient, or a participant who signed
//! for what it submits.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::limits::REQUEST_WINDOW_SECONDS;
use contract_interface::{
    Device, DeviceId, Digest, ErrorCode, Participant, ParticipantId, RecordEntry, RecordId,
    RecordPrivate, Role, SignedRequest, Source, Status, SubmitRecord, UtcTime,
};
use fabric_shim::x509::{Certificate, jws::Jws};

use crate::actor::Creator;
use crate::failure::Failure;
use crate::ledger::Ledger;

/// The sources of one batch.
pub(super) struct Sources<'a> {
    ledger: &'a Ledger<'a>,
    creator: &'a Creator,
    tx_time: UtcTime,
    /// Devices, each read once.
    devices: BTreeMap<DeviceId, Device>,
    /// Keys of the submissions used: a transaction does not see its own writes.
    submissions: BTreeSet<String>,
}

impl<'a> Sources<'a> {
    pub(super) const fn new(
        ledger: &'a Ledger<'a>,
        creator: &'a Creator,
        tx_time: UtcTime,
    ) -> Self {
        Self {
            ledger,
            creator,
            tx_time,
            devices: BTreeMap::new(),
            submissions: BTreeSet::new(),
        }
    }

    /// Checks that the record may come from where it says.
    pub(super) async fn check(
        &mut self,
        entry: &RecordEntry,
        record: &RecordPrivate,
    ) -> Result<(), Failure> {
        match (&record.source, &record.submission) {
            (Source::DeviceId(device), None) => self.check_device(device, record).await,
            (Source::ParticipantId(id), Some(jws)) => {
                let source = self.participant(id, record).await?;
                self.check_submission(&source, jws, entry, record).await
            }
            (Source::DeviceId(_), Some(_)) => Err(Failure::argument(format!(
                "record {} of a device carries a participant's submission",
                record.record_id
            ))),
            (Source::ParticipantId(_), None) => Err(Failure::argument(format!(
                "record {} does not carry its source's submission",
                record.record_id
            ))),
        }
    }

    async fn check_device(
        &mut self,
        device_id: &DeviceId,
        record: &RecordPrivate,
    ) -> Result<(), Failure> {
        let id = record.record_id;
        let device = self.device(device_id).await?;
        if !device.measured(&record.patient, &record.period) {
            return Err(Failure::new(
                ErrorCode::DeviceNotBound,
                format!("the device of record {id} was not bound to the patient then"),
            ));
        }
        if !device.active_at(record.period.end) {
            return Err(Failure::new(
                ErrorCode::DeviceNotActive,
                format!("the device of record {id} was suspended or revoked then"),
            ));
        }
        Ok(())
    }

    async fn device(&mut self, id: &DeviceId) -> Result<&Device, Failure> {
        if !self.devices.contains_key(id) {
            let device = self.ledger.device(&self.creator.msp_id, id).await?;
            let device = device.ok_or_else(|| {
                Failure::new(
                    ErrorCode::DeviceNotFound,
                    "no such device in this organisation",
                )
            })?;
            self.devices.insert(id.clone(), device);
        }
        self.devices
            .get(id)
            .ok_or_else(|| Failure::corrupt("a device"))
    }

    /// The source, which must be the patient or a provider of the registering organisation.
    async fn participant(
        &self,
        id: &ParticipantId,
        record: &RecordPrivate,
    ) -> Result<Participant, Failure> {
        let patient = self.ledger.participant(&record.patient.into()).await?;
        if patient.is_some_and(|found| found.role == Role::Patient)
            && let Some(source) = self.ledger.participant(id).await?
        {
            let is_patient = record.patient == (*id).into();
            let is_provider = source.role == Role::Provider && source.msp_id == self.creator.msp_id;
            if is_patient || is_provider {
                return Ok(source);
            }
        }
        Err(Failure::new(
            ErrorCode::ParticipantNotFound,
            format!(
                "record {} needs a registered patient, and that patient or a provider of {} as its \
                 author",
                record.record_id, self.creator.msp_id
            ),
        ))
    }

    /// The submission must be of the source's hand, for this record, and not have served before.
    /// It may be old: records wait for their registration while the network is away.
    async fn check_submission(
        &mut self,
        source: &Participant,
        compact: &str,
        entry: &RecordEntry,
        record: &RecordPrivate,
    ) -> Result<(), Failure> {
        let id = record.record_id;
        if source.status != Status::Active {
            return Err(Failure::forbidden("the source is suspended or revoked"));
        }
        let request = verified(source, compact, id)?;
        if request.channel != self.ledger.stub.channel_id() {
            return Err(Failure::argument(format!(
                "the submission of record {id} is for another channel"
            )));
        }
        let latest = self.tx_time.unix_seconds() + REQUEST_WINDOW_SECONDS;
        if request.iat.unix_seconds() > latest {
            return Err(Failure::new(
                ErrorCode::RequestExpired,
                format!("the submission of record {id} is dated into the future"),
            ));
        }
        if !describes(&request.body, entry, record) {
            return Err(Failure::argument(format!(
                "record {id} is not what its source submitted"
            )));
        }
        let key = self
            .ledger
            .blinding
            .submission(&source.thumbprint, &request.nonce)?;
        let used: Option<RecordId> = self.ledger.get_salted(&key, "a submission").await?;
        if used.is_some() || !self.submissions.insert(key.clone()) {
            return Err(Failure::new(
                ErrorCode::RecordConflict,
                format!("the submission of record {id} was for another record"),
            ));
        }
        self.ledger.put_salted(&key, &id, &record.salt).await
    }
}

/// The request inside a submission that its source signed while its certificate was valid.
fn verified(
    source: &Participant,
    compact: &str,
    id: RecordId,
) -> Result<SignedRequest<SubmitRecord>, Failure> {
    let invalid = |what: &str| {
        Failure::new(
            ErrorCode::SignatureInvalid,
            format!("the submission of record {id} {what}"),
        )
    };
    let jws = Jws::parse(compact)
        .map_err(|error| Failure::argument(format!("the submission of record {id}: {error}")))?;
    if Digest::from_bytes(jws.header_thumbprint) != source.thumbprint {
        return Err(invalid("is not signed by its source"));
    }
    let certificate = Certificate::from_pem(source.certificate.as_bytes())
        .map_err(|_| Failure::corrupt("a certificate"))?;
    jws.verify(&certificate)
        .map_err(|_| invalid("does not verify"))?;
    let request = SignedRequest::<SubmitRecord>::from_payload(&jws.payload)?;
    let validity = certificate.not_before()..=certificate.not_after();
    if validity.contains(&request.iat.unix_seconds()) {
        Ok(request)
    } else {
        Err(invalid("was signed when its certificate was not valid"))
    }
}

/// Whether what was signed and what is registered agree. The content's hash is for those who open
/// the record: the contract sees no content.
fn describes(signed: &SubmitRecord, entry: &RecordEntry, record: &RecordPrivate) -> bool {
    let SubmitRecord {
        patient,
        record_type,
        period,
        content_type,
        content_sha256: _,
        context,
        confidentiality,
        sensitivity,
        previous,
    } = signed;
    *patient == record.patient
        && *record_type == record.record_type
        && *period == record.period
        && *content_type == record.content_type
        && *context == record.context
        && *confidentiality == record.confidentiality
        && *sensitivity == record.sensitivity
        && *previous == entry.previous
}
