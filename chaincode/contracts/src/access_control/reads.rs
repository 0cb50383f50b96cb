//! Reads: every decision is a committed transaction that its reader signed for.
//!
//! A refusal is recorded as well, whatever its reason, as soon as the signer is proven. What is not
//! proven to be anyone's (a forged signature, a certificate that nobody registered) is an error:
//! anyone could write such entries in another's name.

use contract_interface::access::{
    Basis, CountedGrant, Happening, Question, ReadDecided, Recipient, RuleRef, Verdict,
};
use contract_interface::names::{collections, events};
use contract_interface::{
    AuthorizeRead, Decision, EmergencyId, ErrorCode, Participant, ReadDecision, ReadEntry, ReadId,
    RecordPrivate, UtcTime, canonical_json,
};
use fabric_shim::Stub;

use super::notices;
use super::rules::RuleBook;
use crate::failure::Failure;
use crate::keys::{Blinding, object_types};
use crate::ledger::Ledger;
use crate::signed::{Problem, Proven, Signed};

/// Decides on a read and records the decision, permit or deny.
///
/// The record is looked up by its private key only. Its public key, read here, would stand in the
/// block in clear and show which record was asked for. Everything is gathered whatever the answer,
/// so that the number of keys in the block tells little.
pub(super) async fn authorize(stub: &Stub) -> Result<ReadDecision, Failure> {
    let ledger = Ledger::open(stub).await?;
    let Proven { signed, problem } = Signed::<AuthorizeRead>::proven(&ledger).await?;
    let record = ledger
        .record_private(&signed.body.record_id)
        .await?
        .ok_or_else(record_not_found)?;
    let patient = patient_of(&ledger, &record).await?;
    if record.patient == signed.signer.participant_id.into() {
        // Patient and reader are one key then: another stands in for it, so that the block does
        // not tell that a patient reads an own record.
        let nobody = ledger.blinding.nobody(&record.patient)?;
        ledger
            .stub
            .get_private_data(collections::RECORDS, &nobody)
            .await?;
    }
    let mut book = RuleBook::new(&ledger, &signed.signer);
    book.gather(std::slice::from_ref(&record)).await?;
    let basis = book.basis(&record)?;
    let verdict = judge(&signed, problem, &basis, &record);
    let read_id: ReadId = stub
        .tx_id()
        .parse()
        .map_err(|_| Failure::argument("the transaction's ID is not a SHA-256"))?;
    let decision = ReadDecision::new(read_id, verdict.reason, &signed.salt);
    let entry = ReadEntry {
        read_id,
        record_id: record.record_id,
        patient: record.patient,
        patient_msp: patient.msp_id,
        registrar: record.registrar,
        reader: signed.signer.participant_id,
        reader_msp: signed.signer.msp_id,
        oracle_msp: signed.creator.msp_id,
        purpose: signed.body.purpose,
        decision: decision.decision,
        reason: verdict.reason,
        project: signed.body.project,
        rule: verdict.rule,
        requested_at: signed.signed_at,
        tx_time: signed.tx_time,
        request: signed.jws,
        salt: signed.salt,
    };
    if entry.decision == Decision::Permit {
        follow_up(&ledger, &entry, &basis).await?;
    }
    record_decision(&ledger, &entry).await?;
    Ok(decision)
}

/// The verdict on a proven request: what is wrong with the request itself comes first.
fn judge(
    signed: &Signed<AuthorizeRead>,
    problem: Option<Problem>,
    basis: &Basis,
    record: &RecordPrivate,
) -> Verdict {
    match problem {
        Some(problem) => Verdict {
            reason: problem.reason(),
            rule: None,
        },
        None => basis.decide(&Question {
            reader: &signed.signer,
            record,
            purpose: signed.body.purpose,
            project: signed.body.project.as_ref(),
            times: &signed.times(),
        }),
    }
}

/// The record's patient.
pub(super) async fn patient_of(
    ledger: &Ledger<'_>,
    record: &RecordPrivate,
) -> Result<Participant, Failure> {
    let patient = ledger.participant(&record.patient.into()).await?;
    patient.ok_or_else(|| Failure::corrupt("a patient"))
}

/// What a permitted read entails: a limited grant is used up by one, and an emergency is told.
async fn follow_up(ledger: &Ledger<'_>, entry: &ReadEntry, basis: &Basis) -> Result<(), Failure> {
    match &entry.rule {
        Some(RuleRef::Grant { grant_id, .. }) => {
            let used = basis
                .grants
                .iter()
                .find(|counted| counted.entry.grant.grant_id == *grant_id)
                .filter(|counted| counted.entry.grant.max_reads.is_some());
            let Some(CountedGrant { used, .. }) = used else {
                return Ok(());
            };
            let key = ledger.blinding.grant_uses(&entry.patient, grant_id)?;
            let used = used.saturating_add(1);
            ledger.put_salted(&key, &used, &entry.salt).await
        }
        Some(RuleRef::Emergency { emergency_id }) => {
            tell_of_emergency(ledger, entry, *emergency_id).await
        }
        Some(RuleRef::Policy { .. } | RuleRef::Delegation { .. }) | None => Ok(()),
    }
}

async fn tell_of_emergency(
    ledger: &Ledger<'_>,
    entry: &ReadEntry,
    emergency_id: EmergencyId,
) -> Result<(), Failure> {
    let mut recipients = vec![
        Recipient::Participant(entry.patient.into()),
        Recipient::PrivacyOfficers(entry.patient_msp.clone()),
    ];
    if entry.reader_msp != entry.patient_msp {
        recipients.push(Recipient::PrivacyOfficers(entry.reader_msp.clone()));
    }
    for recipient in recipients {
        let happening = Happening::EmergencyRead {
            read_id: entry.read_id,
            emergency_id,
        };
        let (patient, at) = (entry.patient, entry.tx_time);
        notices::put(ledger, recipient, patient, at, happening, &entry.salt).await?;
    }
    Ok(())
}

/// In which of a read's organisations' indexes an entry stands. There are as many entries for
/// every read, so that their number does not tell in the block who belongs to whom.
pub(super) const ORGANIZATION_ENTRIES: [&str; 4] = ["oracle", "patient", "reader", "registrar"];

/// The organisations of a read, in the order of [`ORGANIZATION_ENTRIES`].
pub(super) fn organizations(entry: &ReadEntry) -> [&contract_interface::MspId; 4] {
    [
        &entry.oracle_msp,
        &entry.patient_msp,
        &entry.reader_msp,
        &entry.registrar,
    ]
}

async fn record_decision(ledger: &Ledger<'_>, entry: &ReadEntry) -> Result<(), Failure> {
    let (id, at, salt) = (&entry.read_id, entry.tx_time, &entry.salt);
    let blinding = &ledger.blinding;
    ledger
        .put(collections::RECORDS, &blinding.read(id)?, entry)
        .await?;
    for (object_type, part) in [
        (
            object_types::READ_BY_PATIENT,
            blinding.patient(&entry.patient),
        ),
        (
            object_types::READ_BY_READER,
            blinding.person(object_types::READ_BY_READER, &entry.reader),
        ),
        (
            object_types::READ_BY_RECORD,
            blinding.reads_of_record(&entry.record_id),
        ),
    ] {
        let key = Blinding::read_index(object_type, &part, at, id, &[])?;
        ledger.put_index(&key, salt).await?;
    }
    let object_type = object_types::READ_BY_ORGANIZATION;
    for (role, msp_id) in ORGANIZATION_ENTRIES.iter().zip(organizations(entry)) {
        let part = blinding.organization(object_type, msp_id);
        let key = Blinding::read_index(object_type, &part, at, id, &[role])?;
        ledger.put_index(&key, salt).await?;
    }
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

/// Whether a time lies within a filter's period.
pub(super) fn within(time: UtcTime, from: Option<UtcTime>, to: Option<UtcTime>) -> bool {
    from.is_none_or(|from| time >= from) && to.is_none_or(|to| time <= to)
}
