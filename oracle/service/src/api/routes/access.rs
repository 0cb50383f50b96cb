//! What a read would come to, and why, before anyone reads.

use contract_interface::{MspId, ParticipantId, ProjectCode, Purpose, RecordId, UtcTime};
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{RestRequest, json};
use crate::api::scalars::{self, Id, Name, Time};
use crate::api::sentences::{self, Addressee};
use crate::api::types::AccessExplained;
use crate::clock;
use crate::ledger::{ReadQuestion, Viewer};

/// Explains what a read would come to: which grant or rule permits or forbids it, what is
/// missing and whom to ask. Nothing is decided or recorded. A reader asks for themselves; the
/// patient and administrators of the oracle's organisation may name another reader.
#[utoipa::path(
    get, path = "/v1/records/{id}/access", operation_id = "explain_access", tag = "consent",
    params(
        ("id" = inline(Id), Path, description = "32 lower-case hex digits"),
        ("purpose" = inline(scalars::Purpose), Query, description = "why it would be read"),
        ("project" = inline(Option<Name>), Query, description = "for which project"),
        ("reader" = inline(Option<Id>), Query, description = "who would read; the caller if left out"),
        ("at" = inline(Option<Time>), Query, description = "when, RFC 3339 in UTC; now if left out"),
    ),
    responses(
        (status = 200, body = AccessExplained),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn explain(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    let mut query = request.query();
    let purpose: Option<Purpose> = query.take("purpose")?;
    let project: Option<ProjectCode> = query.take("project")?;
    let named: Option<ParticipantId> = query.take("reader")?;
    let at: Option<UtcTime> = query.take("at")?;
    query.finish()?;
    let purpose = purpose.ok_or_else(|| {
        Problem::malformed(
            "Say what the record would be read for with the parameter \"purpose\": TREAT, HPAYMT, \
             HOPERAT, HRESCH, PATRQT or BTG.",
        )
    })?;
    let (reader, to) = match named {
        Some(reader) => (reader, Addressee::Other),
        None => {
            let participant = request.participant(&caller).await?;
            (participant.participant_id, Addressee::Reader)
        }
    };
    let question = ReadQuestion {
        reader,
        purpose,
        project,
        at: at.unwrap_or_else(clock::now),
    };
    let ledger = &request.api.ledger;
    // Whether a caller is the reader or the patient, the contract checks. An administrator asks
    // through the oracle, which answers only about people and records of its own organisation.
    let administers = named.is_some() && request.own_admin().is_ok();
    let viewer = if administers {
        Viewer::Oracle
    } else {
        Viewer::Caller(&caller.certificate)
    };
    let found = ledger.explain_read(viewer, &record_id, &question).await?;
    let explanation =
        found.ok_or_else(|| Problem::not_found("No record with this ID is registered."))?;
    if administers {
        let own = request.own_msp_id()?;
        let is_own = explanation.registrar == own || explanation.patient_msp == own;
        let reader = ledger.participant(Viewer::Oracle, &question.reader);
        if !is_own && reader.await?.is_none_or(|reader| reader.msp_id != own) {
            return Err(foreign(&own));
        }
    }
    let sentence = sentences::of_explanation(&explanation, to);
    Ok(json(
        StatusCode::OK,
        &AccessExplained::new(explanation, sentence),
    ))
}

fn foreign(own: &MspId) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "FORBIDDEN",
        format!(
            "Neither the reader nor the record nor its patient is of {own}. Ask an administrator \
             of their organisation."
        ),
    )
}
