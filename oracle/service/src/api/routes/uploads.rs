//! Records that people make: documents of providers, and what patients bring themselves.
//!
//! There is no journal on this way: whoever uploads keeps the content until it is registered, and
//! may send it again. The record's ID follows from what was signed, so the same submission sent
//! twice is one record.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract_interface::{
    Digest, MspId, ParticipantId, Record, RecordId, RecordStatus, Source, SubmitRecord,
};
use fabric_msp::block::Block;
use http::{HeaderMap, StatusCode, header};
use sealed_object::PublicKey;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json};
use crate::api::scalars::{Hash, Id};
use crate::api::signed;
use crate::draft::{Draft, SealedDraft};
use crate::journal::Labels;
use crate::ledger::{LedgerError, RegistrationBatch, Viewer};
use crate::store::Object;

/// Carries the signed `SubmitRecord`.
pub(crate) const SUBMIT_REQUEST: &str = "salus-submit-request";
/// First byte of what a leaf of a Merkle tree hashes (RFC 6962, 2.1).
const LEAF: &[u8] = &[0];

/// Where a submitted record is on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordReceipt {
    /// The record.
    #[schema(value_type = Id)]
    record_id: RecordId,
    /// 1, or one more than the version that it amends.
    version: u32,
    /// The transaction that registered it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

/// Registers what a provider of this organisation or the patient made. The body is the content as
/// it is, of the media type that the signed request names; with `previous` it amends a record.
#[utoipa::path(
    post, path = "/v1/records", operation_id = "submit_record", tag = "records",
    params(
        ("Salus-Submit-Request" = String, Header, description = "compact JWS (ES256) of a SignedRequest for record-registry:RegisterRecords, whose body is a SubmitRecord"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "the content; its Content-Type is the one that was signed"),
    responses(
        (status = 200, description = "It was registered before", body = RecordReceipt),
        (status = 201, description = "It is registered", body = RecordReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.caller()?;
    request.query().finish()?;
    let jws = submit_request(&request.headers)?;
    let ledger = &request.api.ledger;
    let signed = signed::verify::<SubmitRecord>(jws, &caller, ledger.channel())?;
    let content = body?;
    matches(&signed.body, &request.headers, &content)?;
    let signer = request.participant(&caller).await?.participant_id;
    let record_id = record_id(jws);
    if let Some(known) = ledger.record(Viewer::Oracle, &record_id).await? {
        return registered_before(&request, &known).await;
    }
    let version = version(&request, &signed.body).await?;
    let registrar = own_msp_id(&request)?;
    let draft = draft(
        record_id,
        (jws, signed.body),
        signer,
        registrar,
        content,
        version,
    );
    let sealed = seal(&request, draft).await?;
    let registered = store_and_register(&request, sealed).await?;
    tracing::info!(%record_id, tx_id = registered.transaction_id, "submission registered");
    let receipt = RecordReceipt {
        record_id,
        version,
        transaction_id: registered.transaction_id,
        block_number: registered.block_number,
    };
    Ok(json(StatusCode::CREATED, &receipt))
}

/// The versions of a record, oldest first, erased ones included.
#[utoipa::path(
    get, path = "/v1/records/{id}/versions", operation_id = "list_versions", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    responses(
        (status = 200, body = crate::api::types::VersionPage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn versions(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request.api.ledger.versions(viewer, &record_id).await? {
        Some(versions) => Ok(json(StatusCode::OK, &versions)),
        None => Err(Problem::not_found("No record with this ID is registered.")),
    }
}

/// The signed request in the header.
fn submit_request(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(SUBMIT_REQUEST).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "SUBMIT_REQUEST_MISSING",
            "Every record is signed by the one who made it. Send the signed request in the header \
             Salus-Submit-Request, or use the salus program, which does.",
        )
    })?;
    value
        .to_str()
        .map_err(|_| Problem::malformed_jws("The header Salus-Submit-Request is not text."))
}

/// Checks that the content is what was signed.
fn matches(signed: &SubmitRecord, headers: &HeaderMap, content: &[u8]) -> Result<(), Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type != Some(signed.content_type.as_str()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "The request's Content-Type is not the one that was signed.",
        ));
    }
    if content.is_empty() {
        return Err(Problem::malformed("The record has no content."));
    }
    if Digest::of(content) != signed.content_sha256 {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "CONTENT_MISMATCH",
            "The content is not the one that was signed: its SHA-256 is another. Sign and send it \
             again.",
        ));
    }
    Ok(())
}

/// The record's ID: of what was signed, not of the signature, which has more than one form.
fn record_id(jws: &str) -> RecordId {
    let signing_input = jws.rsplit_once('.').map_or(jws, |(input, _)| input);
    let hash = Digest::of(signing_input.as_bytes());
    let mut bytes = [0; RecordId::BYTES];
    bytes.copy_from_slice(&hash.as_bytes()[..RecordId::BYTES]);
    RecordId::from_bytes(bytes)
}

/// 1, or one more than the version that is amended, which must be the newest.
async fn version(request: &RestRequest, signed: &SubmitRecord) -> Result<u32, Problem> {
    let Some(previous) = &signed.previous else {
        return Ok(1);
    };
    let found = request
        .api
        .ledger
        .record(Viewer::Oracle, previous)
        .await?
        .filter(|record| record.metadata.patient == signed.patient)
        .ok_or_else(|| {
            Problem::not_found("The patient has no record with the ID that is to be amended.")
        })?;
    if found.state.status != RecordStatus::Active {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "RECORD_CONFLICT",
            "The record has been amended or erased already. Amend its newest version.",
        ));
    }
    Ok(found.state.version.saturating_add(1))
}

fn own_msp_id(request: &RestRequest) -> Result<MspId, Problem> {
    let own = request.api.ledger.msp_id().as_str();
    own.parse().map_err(Problem::internal)
}

fn draft(
    record_id: RecordId,
    (jws, signed): (&str, SubmitRecord),
    signer: ParticipantId,
    registrar: MspId,
    content: Bytes,
    version: u32,
) -> Draft {
    Draft {
        record_id,
        patient: signed.patient,
        record_type: signed.record_type,
        period: signed.period,
        readings: 1,
        source: Source::ParticipantId(signer),
        registrar,
        labels: Labels {
            confidentiality: signed.confidentiality,
            sensitivity: signed.sensitivity.into_iter().collect(),
            context: signed.context,
        },
        submission: Some(jws.to_owned()),
        manifest: None,
        marks: BTreeMap::new(),
        content_type: signed.content_type,
        merkle_root: Digest::of_parts(&[LEAF, &content]),
        plaintext: content.into(),
        version,
        previous: signed.previous,
    }
}

/// Seals for the patient and, in custody of the organisation, for its oracle.
async fn seal(request: &RestRequest, draft: Draft) -> Result<SealedDraft, Problem> {
    let patient_key = request.api.devices.patient_key(&draft.patient).await;
    let patient_key = patient_key
        .map_err(|error| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "LEDGER_UNAVAILABLE",
                "The patient's key cannot be looked up at the moment. Nothing was changed; please \
                 try again shortly.",
            )
            .caused_by(error)
        })?
        .ok_or_else(|| {
            Problem::new(
                StatusCode::CONFLICT,
                "PATIENT_KEY_MISSING",
                "The patient is not registered or has no encryption key, so nothing can be sealed \
                 for the patient. Ask the patient's organisation.",
            )
        })?;
    let others = request.api.holders.clone();
    let sealing = tokio::task::spawn_blocking(move || {
        let mut holders: Vec<&PublicKey> = vec![&patient_key];
        holders.extend(&others);
        draft.seal(&holders)
    });
    let sealed = sealing.await.map_err(Problem::internal)?;
    sealed.map_err(Problem::internal)
}

/// Stores the object first: a record that is registered can be read. What the contract refuses
/// leaves the store again.
async fn store_and_register(
    request: &RestRequest,
    sealed: SealedDraft,
) -> Result<crate::ledger::Registered, Problem> {
    let SealedDraft {
        entry,
        private,
        wraps,
        object,
    } = sealed;
    let object = Object::new(&object);
    request
        .api
        .store
        .import(std::slice::from_ref(&object))
        .await?;
    let batch = RegistrationBatch {
        entries: vec![entry],
        private: vec![private],
        wraps: vec![wraps],
    };
    match request.api.ledger.register_records(&batch).await {
        Ok(registered) => Ok(registered),
        Err(error) => {
            // Of any other failure it is not sure that the record is not registered.
            if matches!(error, LedgerError::Contract { .. })
                && let Err(error) = request.api.store.remove(object.cid()).await
            {
                tracing::warn!(%error, cid = %object.cid(), "a refused object stays in the store");
            }
            Err(error.into())
        }
    }
}

async fn registered_before(request: &RestRequest, known: &Record) -> Result<Response, Problem> {
    let transaction_id = known.state.tx_id.clone();
    let block = request.api.ledger.block_of(&transaction_id).await?;
    let block = Block::decode(&block).map_err(Problem::internal)?;
    let receipt = RecordReceipt {
        record_id: known.metadata.record_id,
        version: known.state.version,
        transaction_id,
        block_number: block.number(),
    };
    Ok(json(StatusCode::OK, &receipt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(content: &[u8]) -> SubmitRecord {
        let time = "2026-03-01T00:00:00Z".parse().unwrap();
        SubmitRecord {
            patient: "00112233445566778899aabbccddeeff".parse().unwrap(),
            record_type: "discharge-letter".parse().unwrap(),
            period: contract_interface::Period {
                start: time,
                end: time,
            },
            content_type: "application/pdf".to_owned(),
            content_sha256: Digest::of(content),
            context: Some("enc-1".parse().unwrap()),
            confidentiality: contract_interface::Confidentiality::R,
            sensitivity: vec!["PSY".parse().unwrap()],
            previous: None,
        }
    }

    fn headers(content_type: &'static str) -> HeaderMap {
        let value = http::HeaderValue::from_static(content_type);
        HeaderMap::from_iter([(header::CONTENT_TYPE, value)])
    }

    #[test]
    fn only_the_content_that_was_signed_is_taken() {
        let request = signed(b"%PDF");
        let table: [(&str, &[u8], Option<u16>); 4] = [
            ("application/pdf", b"%PDF", None),
            ("application/pdf", b"%PDG", Some(422)),
            ("text/plain", b"%PDF", Some(415)),
            ("application/pdf", b"", Some(400)),
        ];
        for (content_type, content, status) in table {
            let refused = matches(&request, &headers(content_type), content).err();
            let found = refused.map(|problem| problem.status().as_u16());
            assert_eq!(found, status, "{content_type} {content:?}");
        }
        assert!(matches(&request, &HeaderMap::new(), b"%PDF").is_err());
        assert!(submit_request(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_same_submission_is_the_same_record_whatever_its_signature() {
        assert_eq!(record_id("a.b.signature"), record_id("a.b.other"));
        assert_ne!(record_id("a.b.c"), record_id("a.c.c"));
        let draft = draft(
            record_id("a.b.c"),
            ("a.b.c", signed(b"%PDF")),
            ParticipantId::from_bytes([3; 16]),
            "Org1MSP".parse().unwrap(),
            Bytes::from_static(b"%PDF"),
            1,
        );
        assert_eq!(draft.labels.confidentiality.as_str(), "R");
        assert_eq!(draft.labels.sensitivity.len(), 1);
        assert_eq!(
            draft.merkle_root,
            Digest::of(b"\0%PDF"),
            "one leaf, the content"
        );
        let [patient, ..] = &*crate::keys::tests::KEYS;
        let sealed = draft.seal(&[patient.public_key()]).unwrap();
        sealed.private.validate().unwrap();
        sealed.wraps.validate().unwrap();
        assert_eq!(sealed.entry.commitment, sealed.private.commitment());
        assert_eq!(sealed.private.submission.as_deref(), Some("a.b.c"));
    }
}
