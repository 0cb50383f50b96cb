//! Erasing a record, and the certificate that it is erased.
//!
//! The certificate names every transaction that took part with its block, the private keys of the
//! ledger that were purged, as hashes, and the organisations that removed the object. Whoever has
//! the channel's blocks checks it without trusting the oracle that signed it.

use contract_interface::names::{CHAINCODE, collections};
use contract_interface::record::{Erasure, ErasureChanged};
use contract_interface::{
    CompleteErasure, Digest, EraseRecord, MspId, RecordId, UtcTime, canonical_json,
};
use fabric_msp::block::Block;
use fabric_msp::jws;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::{Reply, Response};

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json};
use crate::api::scalars::{Hash, Id, Name};
use crate::api::signed;
use crate::clock;
use crate::ledger::{Ledger, LedgerError, Receipt, Viewer};

/// Media type of a compact JWS (RFC 7515).
const JOSE: &str = "application/jose";
/// What the signed document says that it is.
const CERTIFICATE: &str = "salus-erasure-certificate-1";

/// Where an erasure is on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureReceipt {
    /// The record.
    #[schema(value_type = Id)]
    record_id: RecordId,
    /// The transaction that purged keys and metadata.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

impl From<Receipt<ErasureChanged>> for ErasureReceipt {
    fn from(receipt: Receipt<ErasureChanged>) -> Self {
        Self {
            record_id: receipt.result.record_id,
            transaction_id: receipt.transaction_id,
            block_number: receipt.block_number,
        }
    }
}

/// What the channel says of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ErasureBody {
    record_id: Id,
    /// Who registered the record.
    registrar: Name,
    /// The transaction that registered it.
    registered_tx_id: Hash,
    /// SHA-256 of the sealed object.
    object_sha256: Hash,
    /// The transaction that purged keys and metadata.
    erased_tx_id: Hash,
    /// The transaction that ended the erasure; absent while organisations have still to remove the
    /// object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    completed_tx_id: Option<Hash>,
    /// Organisations that removed the object.
    removals: Vec<RemovalBody>,
    /// Organisations that had not when an administrator ended the erasure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Name>,
}

/// An organisation's word that it no longer holds the object.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct RemovalBody {
    msp_id: Name,
    /// The transaction in which it said so.
    tx_id: Hash,
}

/// A transaction that took part in an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Step {
    transaction_id: String,
    block_number: u64,
    /// Private keys of the ledger that it purged, as SHA-256 of their names, by collection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    purged: Vec<Purged>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Purged {
    collection: &'static str,
    key_sha256: Digest,
}

/// An organisation's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct RemovalStep {
    msp_id: MspId,
    #[serde(flatten)]
    step: Step,
}

/// The certificate of a complete erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Certificate {
    document: &'static str,
    channel: String,
    record_id: RecordId,
    registrar: MspId,
    object_sha256: Digest,
    registered: Step,
    erased: Step,
    removals: Vec<RemovalStep>,
    completed: Step,
    /// Organisations with an oracle that had not confirmed when an administrator ended it.
    missing: Vec<MspId>,
    issued_by: String,
    issued_at: UtcTime,
}

/// Erases a record: its keys and metadata are purged when this answers, its object is then removed
/// by every organisation. The body is an `EraseRecord` request, signed by the patient, a guardian
/// with the power to erase, or an administrator of the organisation that registered the record.
#[utoipa::path(
    post, path = "/v1/records/{id}/erasure", operation_id = "erase_record", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for record-registry:EraseRecord"),
    responses(
        (status = 202, description = "Keys and metadata are gone; the object follows", body = ErasureReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn erase(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    let (jws, signed) = request.signed_body::<EraseRecord>(body)?;
    if signed.body.record_id != record_id {
        return Err(signed::about_something_else("record"));
    }
    let receipt = request.api.ledger.erase_record(&jws).await?;
    tracing::info!(%record_id, tx_id = receipt.transaction_id, "record erased");
    request.api.jobs.wake();
    Ok(json(StatusCode::ACCEPTED, &ErasureReceipt::from(receipt)))
}

/// How far an erasure is; with `Accept: application/jose`, when it is complete, its certificate,
/// signed by this oracle.
#[utoipa::path(
    get, path = "/v1/records/{id}/erasure", operation_id = "get_erasure", tag = "records",
    params(
        ("id" = inline(Id), Path, description = "32 lower-case hex digits"),
        ("Accept" = Option<String>, Header, nullable = false, description = "application/json (default) or application/jose: the signed certificate"),
    ),
    responses(
        (status = 200, description = "The erasure", content(
            (ErasureBody = "application/json"),
            (String = "application/jose"),
        )),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let record_id: RecordId = id(&segment, "record")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    let ledger = &request.api.ledger;
    let erasure = ledger
        .erasure(viewer, &record_id)
        .await?
        .ok_or_else(|| Problem::not_found("No record with this ID has been erased."))?;
    if !wants_certificate(request.headers.get(header::ACCEPT)) {
        return Ok(json(StatusCode::OK, &erasure));
    }
    let certificate = certificate(ledger, erasure).await?;
    let document = canonical_json(&certificate).map_err(Problem::internal)?;
    let signed = jws::sign(&request.api.signing, &document).map_err(Problem::internal)?;
    let mut response = warp::reply::html(signed).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(JOSE));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Ends an erasure although organisations have not yet said that they removed the object; the
/// certificate names them. The body is a `CompleteErasure` request that an administrator of the
/// organisation that registered the record signed.
#[utoipa::path(
    post, path = "/v1/records/{id}/erasure/completion", operation_id = "complete_erasure", tag = "records",
    params(("id" = inline(Id), Path, description = "32 lower-case hex digits")),
    request_body(content = String, content_type = "application/jose", description = "compact JWS (ES256) of a SignedRequest for record-registry:CompleteErasure"),
    responses(
        (status = 200, description = "The erasure is complete", body = ErasureReceipt),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn complete(
    segment: String,
    request: RestRequest,
    body: Body,
) -> Result<Response, Problem> {
    request.own_admin()?;
    let record_id: RecordId = id(&segment, "record")?;
    let (jws, signed) = request.signed_body::<CompleteErasure>(body)?;
    if signed.body.record_id != record_id {
        return Err(signed::about_something_else("record"));
    }
    let ledger = &request.api.ledger;
    let receipt = ledger.complete_erasure(&record_id, Some(&jws)).await?;
    Ok(json(StatusCode::OK, &ErasureReceipt::from(receipt)))
}

fn wants_certificate(accept: Option<&HeaderValue>) -> bool {
    accept
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split([',', ';']).next())
        .is_some_and(|first| first.trim().eq_ignore_ascii_case(JOSE))
}

/// The certificate, with everything that the blocks say.
async fn certificate(ledger: &Ledger, erasure: Erasure) -> Result<Certificate, Problem> {
    let completed = erasure.completed_tx_id.as_deref().ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            "ERASURE_NOT_COMPLETE",
            "Organisations have still to remove the record's object. The certificate is there when \
             all have said that they did.",
        )
    })?;
    let (registered, erased, completed) = tokio::try_join!(
        step(ledger, &erasure.registered_tx_id),
        step(ledger, &erasure.erased_tx_id),
        step(ledger, completed),
    )?;
    let mut removals = Vec::with_capacity(erasure.removals.len());
    for removal in erasure.removals {
        removals.push(RemovalStep {
            msp_id: removal.msp_id,
            step: step(ledger, &removal.tx_id).await?,
        });
    }
    Ok(Certificate {
        document: CERTIFICATE,
        channel: ledger.channel().to_owned(),
        record_id: erasure.record_id,
        registrar: erasure.registrar,
        object_sha256: erasure.object_sha256,
        registered,
        erased,
        removals,
        completed,
        missing: erasure.missing,
        issued_by: ledger.msp_id().as_str().to_owned(),
        issued_at: clock::now(),
    })
}

/// A transaction as its block shows it.
async fn step(ledger: &Ledger, transaction_id: &str) -> Result<Step, Problem> {
    let bytes = ledger
        .block_of(transaction_id)
        .await
        .map_err(|error| not_found_in_blocks(error, transaction_id))?;
    let block = Block::decode(&bytes).map_err(Problem::internal)?;
    let position = block.position(transaction_id).ok_or_else(|| {
        Problem::internal(NotInBlock {
            transaction_id: transaction_id.to_owned(),
        })
    })?;
    let transaction = block.transaction(position).map_err(Problem::internal)?;
    let purged = collections::ALL
        .into_iter()
        .flat_map(|collection| {
            let hashes = transaction.purged(CHAINCODE, collection);
            hashes.into_iter().map(move |hash| Purged {
                collection,
                key_sha256: Digest::from_bytes(hash),
            })
        })
        .collect();
    Ok(Step {
        transaction_id: transaction_id.to_owned(),
        block_number: block.number(),
        purged,
    })
}

/// A transaction that the ledger names and no block has.
#[derive(Debug, thiserror::Error)]
#[error("transaction {transaction_id} is not in its block")]
struct NotInBlock {
    transaction_id: String,
}

fn not_found_in_blocks(error: LedgerError, transaction_id: &str) -> Problem {
    tracing::warn!(%transaction_id, "the block of an erasure's transaction cannot be had");
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_asks_for_the_certificate() {
        for (accept, wanted) in [
            ("application/jose", true),
            ("Application/JOSE; q=1, application/json", true),
            ("application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(accept);
            assert_eq!(wants_certificate(Some(&value)), wanted, "{accept}");
        }
        assert!(!wants_certificate(None));
    }

    #[test]
    fn the_description_of_an_erasure_is_the_contracts_type() {
        let removal = contract_interface::record::Removal {
            msp_id: "Org2MSP".parse().unwrap(),
            tx_id: "cd".repeat(32),
        };
        let erasure = Erasure {
            record_id: RecordId::from_bytes([1; 16]),
            registrar: "Org1MSP".parse().unwrap(),
            registered_tx_id: "ab".repeat(32),
            object_sha256: Digest::of(b""),
            erased_tx_id: "ab".repeat(32),
            completed_tx_id: Some("ef".repeat(32)),
            removals: vec![removal],
            missing: vec!["Org3MSP".parse().unwrap()],
        };
        let sent = serde_json::to_value(&erasure).unwrap();
        let described: ErasureBody = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(serde_json::to_value(described).unwrap(), sent);
    }
}
