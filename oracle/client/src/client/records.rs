//! Records: found, read, submitted, erased; and the wraps of their keys.

use bytes::Bytes;
use contract_interface::{
    AuthorizeRead, ChangeWraps, CompleteErasure, EraseRecord, Jwk, KeyWrap, PageRequest, Purpose,
    Record, RecordFilter, RecordId, RecordPage, RecordStatus, SubmitRecord,
    record::{Erasure, RegisteredPage, RegisteredRecord, WrapChanges},
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;

use super::{
    Client, Recorded,
    pages::{all, text},
};
use crate::{
    error::ClientError,
    http::read_json,
    opening::{OpenedRecord, SealedRecord},
    signing,
};

/// The request header that carries the signed read request.
const READ_REQUEST_HEADER: &str = "salus-read-request";
/// The request header that carries the signed statement about a submitted record.
const SUBMIT_REQUEST_HEADER: &str = "salus-submit-request";

/// A record that the caller made: the signed statement and the content it is about.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What is stated of the content.
    pub statement: SubmitRecord,
    /// The content, whose SHA-256 the statement names.
    pub content: Bytes,
}

/// What submitting a record answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordSubmitted {
    /// The record.
    pub record_id: RecordId,
    /// The transaction that registered it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
}

/// The wraps of one record's data key, and the key to close a grantee's wrap with.
#[derive(Debug, Clone, Deserialize)]
pub struct HeldWraps {
    /// The record.
    pub record_id: RecordId,
    /// The wraps that concern the patient and the grantees.
    pub wraps: Vec<KeyWrap>,
    /// Public key of the oracle that releases the record's key.
    pub gate: Jwk,
}

impl HeldWraps {
    /// The wrap that the key with thumbprint `kid` opens alone.
    #[must_use]
    pub fn plain(&self, kid: &str) -> Option<&KeyWrap> {
        self.wraps
            .iter()
            .find(|wrap| wrap.kid == kid && wrap.gate.is_none())
    }
}

impl Client {
    /// Lists a patient's records as far as the caller may see them, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn records(&self, filter: RecordFilter) -> Result<Vec<Record>, ClientError> {
        let query = vec![
            ("patient", text(Some(filter.patient))),
            ("type", text(filter.record_type)),
            ("from", text(filter.from)),
            ("to", text(filter.to)),
        ];
        all::<RecordPage>(&self.http, "/v1/records", query, filter.page).await
    }

    /// One record's entry on the ledger.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn record(&self, id: &RecordId) -> Result<Record, ClientError> {
        self.http.get(&format!("/v1/records/{id}"), &[]).await
    }

    /// The versions of a record, oldest first, later ones than `id` included as far as the caller
    /// may see them; of an erased one only the public half is left.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn versions(&self, id: &RecordId) -> Result<Vec<RegisteredRecord>, ClientError> {
        let known = self.versions_until(id).await?;
        let is_amended = known
            .last()
            .is_some_and(|version| version.state.status == RecordStatus::Amended);
        if !is_amended {
            return Ok(known);
        }
        let filter = RecordFilter {
            patient: self.record(id).await?.metadata.patient,
            record_type: None,
            from: None,
            to: None,
            page: PageRequest::default(),
        };
        let mut later = self.records(filter).await?;
        later.retain(|record| record.state.version as usize > known.len());
        later.sort_by_key(|record| std::cmp::Reverse(record.state.version));
        for candidate in later {
            let versions = self.versions_until(&candidate.metadata.record_id).await?;
            if versions.iter().any(|version| version.record_id == *id) {
                return Ok(versions);
            }
        }
        Ok(known)
    }

    /// The versions up to `id`, oldest first.
    async fn versions_until(&self, id: &RecordId) -> Result<Vec<RegisteredRecord>, ClientError> {
        let path = format!("/v1/records/{id}/versions");
        all::<RegisteredPage>(&self.http, &path, vec![], PageRequest::default()).await
    }

    /// Asks, signed, for a record's sealed object and key. Permit or deny, the request is recorded
    /// on the ledger before this returns; the caller then owes a use of what it received.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the read is denied: [`ClientError::denied_read`] then tells
    /// the transaction that recorded it.
    pub async fn request_read(&self, read: AuthorizeRead) -> Result<SealedRecord, ClientError> {
        let id = read.record_id;
        let request = signing::sign(&self.identity, &self.channel, read)?;
        let mut headers = HeaderMap::new();
        headers.insert(READ_REQUEST_HEADER, signed_header(&request)?);
        let path = format!("/v1/records/{id}/content");
        let response = self
            .http
            .send(Method::GET, &path, headers, Bytes::new())
            .await?;
        let record = self.record(&id).await?;
        SealedRecord::new(record, response)
    }

    /// Asks for a record for no project in particular, as [`Client::request_read`].
    ///
    /// # Errors
    /// Those of [`Client::request_read`].
    pub async fn request_content(
        &self,
        id: &RecordId,
        purpose: Purpose,
    ) -> Result<SealedRecord, ClientError> {
        self.request_read(AuthorizeRead {
            record_id: *id,
            purpose,
            project: None,
        })
        .await
    }

    /// Reads a record: asks for it, checks it against the ledger and opens it, in memory.
    ///
    /// # Errors
    /// As [`Client::request_content`]; [`ClientError::Integrity`] when what arrives is not what
    /// the ledger registered, [`ClientError::Key`] when this profile's key does not open it,
    /// [`ClientError::TooLarge`] when it is not for opening in memory.
    pub async fn read(&self, id: &RecordId, purpose: Purpose) -> Result<OpenedRecord, ClientError> {
        let sealed = self.request_content(id, purpose).await?;
        let key = self.key_for(&sealed.wrapped_key)?;
        sealed.open(key).await
    }

    /// Submits a record that the caller made; it is on the ledger when this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the caller may not submit it, or what it amends is not the
    /// current version.
    pub async fn submit_record(
        &self,
        submission: Submission,
    ) -> Result<RecordSubmitted, ClientError> {
        let Submission { statement, content } = submission;
        let content_type =
            HeaderValue::from_str(&statement.content_type).map_err(|_| ClientError::Malformed {
                what: "a content type of printable characters",
            })?;
        let request = signing::sign(&self.identity, &self.channel, statement)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(SUBMIT_REQUEST_HEADER, signed_header(&request)?);
        let response = self
            .http
            .send_large(Method::POST, "/v1/records", headers, content)
            .await?;
        read_json(response).await
    }

    /// Asks, signed, that a record be erased. The key is gone when this returns; the object goes
    /// from the organisations' nodes soon after: [`Client::erasure`] says how far it is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the record is unknown.
    pub async fn erase_record(&self, erasure: EraseRecord) -> Result<Recorded, ClientError> {
        let path = format!("/v1/records/{}/erasure", erasure.record_id);
        self.post_signed(&path, erasure).await
    }

    /// Ends an erasure, signed, although organisations have not said that they removed the object;
    /// the certificate names them. For administrators of the organisation that registered it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the record is not being erased.
    pub async fn complete_erasure(&self, record_id: RecordId) -> Result<Recorded, ClientError> {
        let path = format!("/v1/records/{record_id}/erasure/completion");
        self.post_signed(&path, CompleteErasure { record_id }).await
    }

    /// How far an erasure is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the record is not being erased.
    pub async fn erasure(&self, id: &RecordId) -> Result<Erasure, ClientError> {
        self.http
            .get(&format!("/v1/records/{id}/erasure"), &[])
            .await
    }

    /// The certificate of a complete erasure: a statement that the registrar's oracle signed, as
    /// compact JWS.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the erasure is not complete.
    pub async fn erasure_certificate(&self, id: &RecordId) -> Result<String, ClientError> {
        let accept = HeaderValue::from_static("application/jose");
        let path = format!("/v1/records/{id}/erasure");
        let body = self.http.get_as(&path, &[], accept).await?;
        String::from_utf8(body.to_vec()).map_err(|_| ClientError::Malformed {
            what: "a certificate of erasure",
        })
    }

    /// The wraps of a record's data key. For its patient and those who may grant for the patient.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn wraps(&self, id: &RecordId) -> Result<HeldWraps, ClientError> {
        self.http.get(&format!("/v1/records/{id}/wraps"), &[]).await
    }

    /// Adds and removes wraps, signed. For whoever holds the data keys in custody `patient`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when a wrap is for nobody who may have it.
    pub async fn change_wraps(&self, changes: WrapChanges) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/records/wraps", ChangeWraps { changes })
            .await
    }
}

fn signed_header(request: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(request).map_err(|_| ClientError::Malformed {
        what: "a signed request",
    })
}
