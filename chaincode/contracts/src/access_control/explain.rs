//! What `AuthorizeRead` would decide, and why.

use contract_interface::access::{Explanation, Power, Question};
use contract_interface::{ErrorCode, ParticipantId, ProjectCode, Purpose, RecordId, UtcTime};
use fabric_shim::Stub;

use super::reads::{patient_of, record_not_found};
use super::rules::RuleBook;
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::ledger::Ledger;

/// A read that nobody asked for yet.
#[derive(Debug)]
pub(super) struct Imagined {
    pub(super) record_id: RecordId,
    pub(super) reader: ParticipantId,
    pub(super) purpose: Purpose,
    pub(super) project: Option<ProjectCode>,
    pub(super) at: UtcTime,
}

/// Explains to an oracle, and through one to the reader, the patient, or a guardian who gives
/// grants.
pub(super) async fn explain(stub: &Stub, asked: &Imagined) -> Result<Explanation, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let record = ledger
        .record_private(&asked.record_id)
        .await?
        .ok_or_else(record_not_found)?;
    let is_reader = viewer
        .person()
        .is_some_and(|person| person.participant_id == asked.reader);
    let may_ask = matches!(viewer, Viewer::Oracle { .. })
        || is_reader
        || viewer
            .acts_for(&ledger, &record.patient, Power::Grant)
            .await?;
    if !may_ask {
        return Err(Failure::forbidden(
            "only the reader, the patient or a guardian may ask this",
        ));
    }
    let reader = ledger
        .participant(&asked.reader)
        .await?
        .ok_or_else(|| Failure::new(ErrorCode::ParticipantNotFound, "no such participant"))?;
    let mut book = RuleBook::new(&ledger, &reader);
    book.gather(std::slice::from_ref(&record)).await?;
    let basis = book.basis(&record)?;
    let question = Question {
        reader: &reader,
        record: &record,
        purpose: asked.purpose,
        project: asked.project.as_ref(),
        times: &[asked.at],
    };
    Ok(Explanation {
        verdict: basis.decide(&question),
        considered: basis.considered(&question),
        registrar: record.registrar.clone(),
        patient_msp: patient_of(&ledger, &record).await?.msp_id,
    })
}
