//! Wrapped keys for those who make them: in custody of the patient, the patient's own program.
//!
//! To wrap a record's key for someone else, the patient needs the own wrap. That is no read of the
//! record by anyone else and nothing is decided; the wrap opens only with the patient's private
//! key. A guardian gets gated wraps only, which prove nothing but that someone may read.

use contract_interface::access::{DelegationFilter, Power};
use contract_interface::{
    ChangeWraps, Jwk, KeyWrap, Participant, ParticipantId, RecordId, RecordPrivate,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json};
use crate::api::scalars::{Hash, Id};
use crate::api::signed;
use crate::clock;
use crate::ledger::Viewer;

/// A record's wrapped keys, as far as the caller needs them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordWrapList {
    /// The record.
    #[schema(value_type = Id)]
    record_id: RecordId,
    /// Those of the patient, and gated ones of those with whom the record is shared.
    #[schema(value_type = Vec<WrapBody>)]
    wraps: Vec<KeyWrap>,
    /// Public key (JWK) of this oracle, behind which wraps for others are gated.
    #[schema(value_type = Object)]
    gate: Jwk,
}

/// A wrapped key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrapBody {
    /// RFC 7638 thumbprint of the holder's key.
    kid: String,
    /// Compact JWE.
    jwe: String,
    /// Thumbprint of the gate's key; absent for a wrap that its holder opens alone.
    #[schema(nullable = false)]
    gate: Option<String>,
    /// The grant for whose sake it is here.
    #[schema(nullable = false)]
    grant_id: Option<Id>,
}

/// Where changed wraps are on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrapsReceipt {
    /// Records whose wraps are others now.
    changed: u32,
    /// Records whose wraps are as they were.
    unchanged: u32,
    /// The transaction that did it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

/// The wrapped keys of a record that this organisation registered, for its patient or a guardian
/// with the power to grant.
#[utoipa::path(
    get, path = "/v1/records/{id}/wraps", operation_id = "list_wraps", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    responses(
        (status = 200, body = RecordWrapList),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    request.query().finish()?;
    let ledger = &request.api.ledger;
    let not_found = || Problem::not_found("No record with this ID is registered.");
    let recorded = async { Ok::<_, Problem>(ledger.record(Viewer::Oracle, &record_id).await?) };
    let (record, participant) = tokio::try_join!(recorded, request.participant(&caller))?;
    let record = record.ok_or_else(not_found)?;
    if !acts_for(&request, &participant, &record.metadata).await? {
        return Err(not_found());
    }
    if record.state.msp_id.as_str() != ledger.msp_id().as_str() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "KEY_ELSEWHERE",
            format!(
                "The key of this record is kept by {}. Ask that organisation's oracle.",
                record.state.msp_id
            ),
        ));
    }
    let all = ledger.wraps(&record_id).await?.wraps;
    let is_patient = is_patient(&participant, &record.metadata);
    let gate = serde_json::from_str(&request.api.gate.to_jwk()).map_err(Problem::internal)?;
    let listed = RecordWrapList {
        record_id,
        wraps: shown(all, is_patient, |kid| request.api.opener.holds(kid)),
        gate,
    };
    Ok(json(StatusCode::OK, &listed))
}

/// Changes wrapped keys of records whose data key only the patient holds. The body is a
/// `ChangeWraps` request that the patient signed, or a guardian with the power to grant.
#[utoipa::path(
    post, path = "/v1/records/wraps", operation_id = "change_wraps", tag = "records",
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for record-registry:ChangeWraps"),
    responses(
        (status = 200, body = WrapsReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let (jws, signed) = request.signed_body::<ChangeWraps>(body)?;
    let changes = signed.body.changes;
    let valid = changes.validate();
    valid.map_err(|error| signed::invalid("change", &error))?;
    let ledger = &request.api.ledger;
    let receipt = ledger.change_wraps(&changes, Some(&jws)).await?;
    let receipt = WrapsReceipt {
        changed: receipt.result.changed,
        unchanged: receipt.result.unchanged,
        transaction_id: receipt.transaction_id,
        block_number: receipt.block_number,
    };
    Ok(json(StatusCode::OK, &receipt))
}

fn is_patient(participant: &Participant, record: &RecordPrivate) -> bool {
    participant.participant_id == ParticipantId::from(record.patient)
}

/// Whether the caller is the record's patient, or a guardian who may give grants for the patient.
async fn acts_for(
    request: &RestRequest,
    participant: &Participant,
    record: &RecordPrivate,
) -> Result<bool, Problem> {
    if is_patient(participant, record) {
        return Ok(true);
    }
    let mut filter = DelegationFilter {
        guardian: Some(participant.participant_id),
        ..DelegationFilter::default()
    };
    loop {
        let page = request
            .api
            .ledger
            .delegations(Viewer::Oracle, &filter)
            .await?;
        let given = page.delegations.iter().any(|entry| {
            entry.delegation.patient == record.patient
                && entry.delegation.guardian == participant.participant_id
                && entry.gives(Power::Grant, &[clock::now()])
        });
        filter.page.page_token = page.next_page_token;
        if given || filter.page.page_token.is_none() {
            return Ok(given);
        }
    }
}

/// Gated wraps, and plain ones for the patient only; never the oracle's own.
fn shown(all: Vec<KeyWrap>, is_patient: bool, is_oracles: impl Fn(&str) -> bool) -> Vec<KeyWrap> {
    all.into_iter()
        .filter(|wrap| wrap.gate.is_some() || (is_patient && !is_oracles(&wrap.kid)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_patient_sees_plain_wraps_and_nobody_the_oracles() {
        let wrap = |kid: &str, gate: Option<&str>| KeyWrap {
            kid: kid.to_owned(),
            jwe: "a.b.c.d.e".to_owned(),
            gate: gate.map(str::to_owned),
            grant_id: None,
        };
        let all = vec![
            wrap("patient", None),
            wrap("oracle", None),
            wrap("reader", Some("oracle")),
        ];
        let kids = |is_patient| -> Vec<String> {
            let shown = shown(all.clone(), is_patient, |kid| kid == "oracle");
            shown.into_iter().map(|wrap| wrap.kid).collect()
        };
        assert_eq!(kids(true), ["patient", "reader"]);
        assert_eq!(kids(false), ["reader"]);
    }
}
