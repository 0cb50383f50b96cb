//! Registration of a batch of records: all or nothing, and twice is once.
//!
//! A record that was erased stays erased: its public half is still there, so registering it again
//! adds nothing.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::limits::{BATCH_RECORDS_MAX, RECORD_VERSIONS_MAX};
use contract_interface::names::{collections, events, transient};
use contract_interface::record::RecordsRegistered;
use contract_interface::{
    ErrorCode, KeyWrap, ParticipantId, RecordEntry, RecordId, RecordPrivate, RecordState,
    RecordStatus, RecordWraps, RegisterRecords, RegisterRecordsResult, Role, Salt, canonical_json,
};
use fabric_shim::Stub;

use super::objects;
use super::sources::Sources;
use crate::actor::Creator;
use crate::failure::Failure;
use crate::input;
use crate::keys;
use crate::ledger::Ledger;

/// One record of the batch, its three parts brought together.
struct Submitted {
    entry: RecordEntry,
    private: RecordPrivate,
    wraps: RecordWraps,
}

pub(super) async fn register(
    stub: &Stub,
    batch: RegisterRecords,
) -> Result<RegisterRecordsResult, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let submitted = bring_together(stub, &creator, batch)?;
    let ids: Vec<RecordId> = submitted
        .iter()
        .map(|record| record.entry.record_id)
        .collect();
    let stored = ledger.record_states(&ids).await?;
    let new = submitted.iter().zip(&stored);
    let new = new.filter(|(_, stored)| stored.is_none());
    objects::claim(&ledger, &creator, new.map(|(record, _)| &record.private)).await?;
    let new = submitted.iter().zip(&stored);
    let new = new.filter(|(_, stored)| stored.is_none());
    check_patients(&ledger, new.map(|(record, _)| &record.private)).await?;
    let mut sources = Sources::new(&ledger, &creator, input::transaction_time(stub)?);
    let mut registered = Vec::new();
    for (record, stored) in submitted.iter().zip(stored) {
        if let Some(stored) = stored {
            check_equal(&creator, &record.entry, &stored)?;
            continue;
        }
        sources.check(&record.entry, &record.private).await?;
        amend_previous(&ledger, &creator, record).await?;
        write(&ledger, &creator, record).await?;
        registered.push(record.entry.record_id);
    }
    let result = RegisterRecordsResult {
        registered: count(registered.len()),
        unchanged: count(ids.len() - registered.len()),
    };
    if !registered.is_empty() {
        let event = RecordsRegistered {
            record_ids: registered,
        };
        stub.set_event(events::RECORDS_REGISTERED, canonical_json(&event)?)?;
    }
    Ok(result)
}

/// A batch has at most [`BATCH_RECORDS_MAX`] records.
fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// Every patient must have an encryption key: what is wrapped for the registrar alone the patient
/// could never open, and the registrar could not be kept from it.
async fn check_patients(
    ledger: &Ledger<'_>,
    records: impl Iterator<Item = &RecordPrivate>,
) -> Result<(), Failure> {
    let records: BTreeMap<ParticipantId, RecordId> = records
        .map(|record| (record.patient.into(), record.record_id))
        .collect();
    let ids: Vec<ParticipantId> = records.keys().copied().collect();
    let found = ledger.participants(&ids).await?;
    for (id, patient) in records.values().zip(found) {
        let (code, what) = match patient.filter(|found| found.role == Role::Patient) {
            None => (ErrorCode::ParticipantNotFound, "is not registered"),
            Some(patient) if patient.encryption_key.is_none() => {
                (ErrorCode::PatientKeyMissing, "has no encryption key yet")
            }
            Some(_) => continue,
        };
        return Err(Failure::new(
            code,
            format!("the patient of record {id} {what}"),
        ));
    }
    Ok(())
}

/// Joins the public argument and the two transient lists, which have one order, and checks what
/// can be checked without the ledger.
fn bring_together(
    stub: &Stub,
    creator: &Creator,
    batch: RegisterRecords,
) -> Result<Vec<Submitted>, Failure> {
    let RegisterRecords { records: entries } = batch;
    if entries.is_empty() {
        return Err(Failure::argument("the batch has no record"));
    }
    if entries.len() > BATCH_RECORDS_MAX {
        return Err(Failure::limit(format!(
            "the batch has more than {BATCH_RECORDS_MAX} records"
        )));
    }
    let privates: Vec<RecordPrivate> = input::json_transient(stub, transient::RECORDS)?;
    let wraps: Vec<RecordWraps> = input::json_transient(stub, transient::WRAPS)?;
    if privates.len() != entries.len() || wraps.len() != entries.len() {
        return Err(Failure::argument(
            "argument, records and wraps differ in length",
        ));
    }
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.record_id).collect();
    let salts: BTreeSet<_> = privates
        .iter()
        .map(|private| private.salt.as_bytes())
        .collect();
    if ids.len() != entries.len() || salts.len() != entries.len() {
        return Err(Failure::argument(
            "two records of the batch have one ID or one salt",
        ));
    }
    let submitted: Vec<Submitted> = entries
        .into_iter()
        .zip(privates)
        .zip(wraps)
        .map(|((entry, private), wraps)| Submitted {
            entry,
            private,
            wraps,
        })
        .collect();
    submitted
        .iter()
        .try_for_each(|record| check_record(creator, record))?;
    Ok(submitted)
}

fn check_record(creator: &Creator, record: &Submitted) -> Result<(), Failure> {
    let Submitted {
        entry,
        private,
        wraps,
    } = record;
    let id = entry.record_id;
    if private.record_id != id || wraps.record_id != id {
        return Err(Failure::argument(format!(
            "record {id} is not at its place in all lists"
        )));
    }
    let place = |error: contract_interface::ParseError| {
        Failure::argument(format!("record {id} is {error}"))
    };
    private.validate().map_err(place)?;
    wraps.validate().map_err(place)?;
    if private.registrar != creator.msp_id {
        return Err(Failure::argument(format!(
            "record {id} names another registrar than the creator's organisation"
        )));
    }
    // Which keys the wraps are for is not checked: one may have been replaced since the object
    // was sealed, and whoever seals has the data key in hand.
    if !wraps.wraps.iter().all(is_plain) {
        return Err(Failure::argument(format!(
            "record {id} has a wrap that only a grant allows"
        )));
    }
    if entry.version > RECORD_VERSIONS_MAX {
        return Err(Failure::limit(format!(
            "record {id} would have more than {RECORD_VERSIONS_MAX} versions"
        )));
    }
    if (entry.version == 1) != entry.previous.is_none() || entry.version == 0 {
        return Err(Failure::argument(format!(
            "record {id} has a version that does not fit"
        )));
    }
    if private.commitment() != entry.commitment {
        return Err(Failure::new(
            ErrorCode::CommitmentMismatch,
            format!("the commitment of record {id} is not to its metadata"),
        ));
    }
    Ok(())
}

const fn is_plain(wrap: &KeyWrap) -> bool {
    wrap.gate.is_none() && wrap.grant_id.is_none()
}

/// A record that is there must be this one. The wraps are left aside: a retry may wrap anew.
fn check_equal(
    creator: &Creator,
    entry: &RecordEntry,
    stored: &RecordState,
) -> Result<(), Failure> {
    let equal = stored.msp_id == creator.msp_id
        && stored.object_sha256 == entry.object_sha256
        && stored.commitment == entry.commitment
        && stored.version == entry.version
        && stored.previous == entry.previous;
    if equal {
        Ok(())
    } else {
        Err(conflict(
            &entry.record_id,
            "is registered with other content",
        ))
    }
}

fn conflict(id: &RecordId, what: &'static str) -> Failure {
    Failure::new(ErrorCode::RecordConflict, format!("record {id} {what}"))
}

/// Checks that a later version follows its predecessor, and marks that as amended. Predecessors
/// must be registered already: a transaction does not see its own writes.
async fn amend_previous(
    ledger: &Ledger<'_>,
    creator: &Creator,
    record: &Submitted,
) -> Result<(), Failure> {
    let Submitted { entry, private, .. } = record;
    let Some(previous) = entry.previous else {
        return Ok(());
    };
    let states = ledger.record_states(&[previous]).await?;
    let Some(Some(state)) = states.into_iter().next() else {
        return Err(conflict(
            &entry.record_id,
            "amends a record that is not registered",
        ));
    };
    let follows = state.msp_id == creator.msp_id
        && state.status == RecordStatus::Active
        && state.version.checked_add(1) == Some(entry.version);
    let metadata = ledger.record_private(&previous).await?;
    if !follows || metadata.is_none_or(|metadata| metadata.patient != private.patient) {
        return Err(conflict(
            &entry.record_id,
            "does not follow the record that it amends",
        ));
    }
    put_root(ledger, &entry.record_id, &previous, &private.salt).await?;
    let amended = RecordState {
        status: RecordStatus::Amended,
        ..state
    };
    ledger
        .put_public(&keys::public_record(&previous)?, &amended)
        .await
}

/// Notes of an amendment what it amends in the end, so that a denial that names any version is
/// found for all.
async fn put_root(
    ledger: &Ledger<'_>,
    id: &RecordId,
    previous: &RecordId,
    salt: &Salt,
) -> Result<(), Failure> {
    for root in ledger.roots(&[*previous]).await? {
        let key = ledger.blinding.root(id)?;
        ledger.put_salted(&key, &root, salt).await?;
    }
    Ok(())
}

async fn write(ledger: &Ledger<'_>, creator: &Creator, record: &Submitted) -> Result<(), Failure> {
    let Submitted {
        entry,
        private,
        wraps,
    } = record;
    let id = entry.record_id;
    let state = RecordState {
        object_sha256: entry.object_sha256,
        commitment: entry.commitment,
        msp_id: creator.msp_id.clone(),
        tx_id: ledger.stub.tx_id().to_owned(),
        version: entry.version,
        previous: entry.previous,
        status: RecordStatus::Active,
    };
    ledger
        .put_public(&keys::public_record(&id)?, &state)
        .await?;
    ledger
        .put(collections::RECORDS, &ledger.blinding.record(&id)?, private)
        .await?;
    ledger
        .put_index(&ledger.blinding.record_by_patient(private)?, &private.salt)
        .await?;
    ledger
        .put_index(&ledger.blinding.record_by_type(private)?, &private.salt)
        .await?;
    if let Some(key) = ledger.blinding.record_long(private)? {
        ledger.put_index(&key, &private.salt).await?;
    }
    ledger
        .put(collections::KEYS, &ledger.blinding.wraps(&id)?, wraps)
        .await
}
