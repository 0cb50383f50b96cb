//! Reads: every decision is a committed transaction that its reader signed for.

use contract_interface::access::ReadDecided;
use contract_interface::names::{collections, events, transient};
use contract_interface::{
    AuthorizeRead, Decision, ErrorCode, GrantId, Participant, ParticipantId, Pseudonym, Purpose,
    ReadDecision, ReadEntry, ReadFilter, ReadId, ReadPage, ReasonCode, RecordPrivate, Role, Status,
    canonical_json,
};
use fabric_shim::{KeyValue, Stub};
use serde::{Deserialize, Serialize};

use crate::actor::Viewer;
use crate::failure::Failure;
use crate::input;
use crate::keys::{self, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Scan};
use crate::signed::Signed;

/// Value of an index entry from a reader to a read. The pseudonym keeps its hash from being
/// guessed, the read's ID makes it unlike any other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReaderIndexValue {
    patient: Pseudonym,
    read_id: ReadId,
}

/// Decides on a read and records the decision, permit or deny.
///
/// The record is looked up by its private key only. Its public key, read here, would stand in the
/// block in clear and show which record was asked for.
pub(super) async fn authorize(stub: &Stub) -> Result<ReadDecision, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<AuthorizeRead>::take(&ledger).await?;
    let hint = grant_hint(stub)?;
    let record = ledger
        .record_private(&signed.body.record_id)
        .await?
        .ok_or_else(record_not_found)?;
    let verdict = decide(&ledger, &signed, &record, hint).await?;
    let read_id: ReadId = stub
        .tx_id()
        .parse()
        .map_err(|_| Failure::argument("the transaction's ID is not a SHA-256"))?;
    let decision = ReadDecision::new(read_id, verdict.reason, &signed.salt);
    let entry = ReadEntry {
        read_id,
        record_id: record.record_id,
        patient: record.patient,
        reader: signed.signer.participant_id,
        reader_msp: signed.signer.msp_id.clone(),
        oracle_msp: signed.creator.msp_id.clone(),
        purpose: signed.body.purpose,
        decision: decision.decision,
        reason: verdict.reason,
        grant_id: verdict.grant_id,
        grant_version: verdict.grant_version,
        requested_at: signed.signed_at,
        tx_time: signed.tx_time,
        request: signed.jws,
        salt: signed.salt,
    };
    record_decision(&ledger, &entry).await?;
    Ok(decision)
}

/// The grant that the oracle names. A submitted transaction cannot look for one: peers refuse
/// private ranges beside writes.
fn grant_hint(stub: &Stub) -> Result<Option<GrantId>, Failure> {
    input::optional_transient(stub, transient::GRANT_HINT)?
        .map(|bytes| {
            std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Failure::argument("transient field grant_hint is not a grant ID"))
        })
        .transpose()
}

/// What is decided, and by which grant if one was looked at.
struct Verdict {
    reason: ReasonCode,
    grant_id: Option<GrantId>,
    grant_version: Option<u32>,
}

async fn decide(
    ledger: &Ledger<'_>,
    signed: &Signed<AuthorizeRead>,
    record: &RecordPrivate,
    hint: Option<GrantId>,
) -> Result<Verdict, Failure> {
    let (reader, purpose) = (&signed.signer, signed.body.purpose);
    let without = |reason| Verdict {
        reason,
        grant_id: None,
        grant_version: None,
    };
    if let Some(reason) = decide_without_grant(reader, record, purpose) {
        return Ok(without(reason));
    }
    let Some(id) = hint else {
        return Ok(without(ReasonCode::NoGrant));
    };
    let grant = ledger.grant(&record.patient, &id).await?;
    // The reader's time and the oracle's must both lie in the grant's validity.
    let times = [signed.signed_at, signed.tx_time];
    Ok(Verdict {
        reason: grant.as_ref().map_or(ReasonCode::GrantUnknown, |grant| {
            grant.decide(reader, record, purpose, &times)
        }),
        grant_id: Some(id),
        grant_version: grant.map(|grant| grant.version),
    })
}

/// The reason, where no grant has a say: `None` for a provider who may act.
pub(super) fn decide_without_grant(
    reader: &Participant,
    record: &RecordPrivate,
    purpose: Purpose,
) -> Option<ReasonCode> {
    if reader.status != Status::Active {
        return Some(ReasonCode::ReaderNotActive);
    }
    match reader.role {
        Role::Provider => None,
        Role::Patient if record.patient == reader.participant_id.into() => {
            Some(if purpose == Purpose::Patrqt {
                ReasonCode::OwnRecord
            } else {
                ReasonCode::PurposeNotForPatients
            })
        }
        Role::Patient | Role::Oracle | Role::Admin | Role::Auditor => {
            Some(ReasonCode::RoleNotAllowed)
        }
    }
}

async fn record_decision(ledger: &Ledger<'_>, entry: &ReadEntry) -> Result<(), Failure> {
    let (id, at) = (&entry.read_id, entry.requested_at);
    let key = keys::read(&entry.patient, at, id)?;
    ledger.put(collections::RECORDS, &key, entry).await?;
    let index = ledger.blinding.read_by_reader(&entry.reader, at, id)?;
    let value = ReaderIndexValue {
        patient: entry.patient,
        read_id: *id,
    };
    ledger.put(collections::RECORDS, &index, &value).await?;
    let event = match entry.decision {
        Decision::Permit => events::READ_PERMITTED,
        Decision::Deny => events::READ_DENIED,
    };
    Ok(ledger
        .stub
        .set_event(event, canonical_json(&ReadDecided { read_id: *id })?)?)
}

/// There is no record with the ID, or no longer.
pub(crate) fn record_not_found() -> Failure {
    Failure::new(ErrorCode::RecordNotFound, "no such record")
}

/// Recorded reads by pages, in order of time.
pub(super) async fn list(stub: &Stub, filter: &ReadFilter) -> Result<ReadPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let from = filter.from.map(|from| from.to_string());
    let (prefix, indexed) = prefix(&ledger, filter).await?;
    let mut scan = Scan::new(stub, vec![prefix.starting_at(from)], &filter.page)?;
    let mut reads = Vec::new();
    while reads.len() < items
        && let Some(found) = scan.next().await?
    {
        let read: ReadEntry = if indexed {
            behind_index(&ledger, &found).await?
        } else {
            ledger::parse("a read", &found.value)?
        };
        if filter.to.is_some_and(|to| read.requested_at > to) {
            return Ok(ReadPage {
                reads,
                next_page_token: None,
            });
        }
        if matches(&read, filter) && viewer.sees_read(&read) {
            reads.push(read);
        }
    }
    Ok(ReadPage {
        reads,
        next_page_token: scan.finish().await?,
    })
}

/// Where to look, and whether an index entry lies there instead of the read.
async fn prefix(ledger: &Ledger<'_>, filter: &ReadFilter) -> Result<(Prefix, bool), Failure> {
    let patient = match (filter.patient, filter.reader, filter.record_id) {
        (Some(patient), ..) => patient,
        (None, Some(reader), _) => return Ok((by_reader(ledger, &reader), true)),
        (None, None, Some(id)) => {
            ledger
                .record_private(&id)
                .await?
                .ok_or_else(record_not_found)?
                .patient
        }
        (None, None, None) => {
            return Err(Failure::argument(
                "name the patient, the reader or the record",
            ));
        }
    };
    Ok((
        Prefix::new(object_types::READ, vec![patient.to_string()]),
        false,
    ))
}

fn by_reader(ledger: &Ledger<'_>, reader: &ParticipantId) -> Prefix {
    Prefix::new(
        object_types::READ_BY_READER,
        vec![ledger.blinding.reader(reader)],
    )
}

async fn behind_index(ledger: &Ledger<'_>, found: &KeyValue) -> Result<ReadEntry, Failure> {
    let corrupt = || Failure::corrupt("a read");
    let index: ReaderIndexValue = ledger::parse("an index entry", &found.value)?;
    let (_, attributes) = fabric_shim::split_composite_key(&found.key).map_err(|_| corrupt())?;
    let [_, requested_at, _] = attributes.as_slice() else {
        return Err(corrupt());
    };
    let requested_at = requested_at.parse().map_err(|_| corrupt())?;
    let key = keys::read(&index.patient, requested_at, &index.read_id)?;
    ledger
        .get(collections::RECORDS, &key, "a read")
        .await?
        .ok_or_else(corrupt)
}

fn matches(read: &ReadEntry, filter: &ReadFilter) -> bool {
    filter.patient.is_none_or(|patient| patient == read.patient)
        && filter.record_id.is_none_or(|id| id == read.record_id)
        && filter.reader.is_none_or(|reader| reader == read.reader)
}
