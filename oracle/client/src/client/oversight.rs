//! Who read what and why: reads, explanations, emergencies, notices.

use bytes::Bytes;
use contract_interface::{
    DeclareEmergency, ParticipantId, ProjectCode, Purpose, ReadEntry, ReadFilter, ReadId, ReadPage,
    RecordId, ReviewEmergency, UtcTime,
    access::{
        Emergency, EmergencyEntry, EmergencyFilter, EmergencyPage, Explanation, Notice,
        NoticeFilter, NoticePage,
    },
};
use http::HeaderValue;

use super::{
    Client, Recorded,
    pages::{Query, all, text},
};
use crate::error::ClientError;

/// Media type of FHIR in JSON.
const FHIR_JSON: &str = "application/fhir+json";
/// Header of a FHIR answer that names the page after it.
const NEXT_PAGE: &str = "salus-next-page-token";
/// Pages of one export, at most.
const EXPORT_PAGES_MAX: usize = 10_000;

impl Client {
    /// Lists reads and denials, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn reads(&self, filter: ReadFilter) -> Result<Vec<ReadEntry>, ClientError> {
        let query = reads_query(&filter);
        all::<ReadPage>(&self.http, "/v1/reads", query, filter.page).await
    }

    /// One recorded decision on a read.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn recorded_read(&self, read_id: &ReadId) -> Result<ReadEntry, ClientError> {
        self.http.get(&format!("/v1/reads/{read_id}"), &[]).await
    }

    /// One recorded decision as a FHIR AuditEvent.
    ///
    /// # Errors
    /// As [`Client::recorded_read`].
    pub async fn audit_event(&self, read_id: &ReadId) -> Result<Bytes, ClientError> {
        let accept = HeaderValue::from_static(FHIR_JSON);
        let path = format!("/v1/reads/{read_id}");
        let (_, body) = self.http.get_as(&path, &[], accept).await?;
        Ok(body)
    }

    /// Reads and denials as FHIR Bundles of AuditEvents, one a page, as the oracle wrote them.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn audit_bundles(&self, filter: &ReadFilter) -> Result<Vec<Bytes>, ClientError> {
        let mut bundles = Vec::new();
        let mut query = reads_query(filter);
        query.push(("page_size", text(filter.page.page_size)));
        query.push(("page_token", text(filter.page.page_token.as_ref())));
        while bundles.len() < EXPORT_PAGES_MAX {
            let accept = HeaderValue::from_static(FHIR_JSON);
            let (headers, body) = self.http.get_as("/v1/reads", &query, accept).await?;
            bundles.push(body);
            let next = headers
                .get(NEXT_PAGE)
                .and_then(|token| token.to_str().ok())
                .map(str::to_owned);
            match (next, query.last_mut()) {
                (Some(next), Some((_, token))) => *token = Some(next),
                _ => return Ok(bundles),
            }
        }
        Err(ClientError::LongList {
            limit: EXPORT_PAGES_MAX,
        })
    }

    /// What a read would be answered and why: which rule permits or forbids it, and what each
    /// other rule lacks. Nothing is released and nothing recorded. The reader is the caller if
    /// none is named.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the caller is neither the record's patient, a guardian, nor
    /// the reader.
    pub async fn explain_read(
        &self,
        record_id: &RecordId,
        purpose: Purpose,
        reader: Option<ParticipantId>,
        project: Option<&ProjectCode>,
        at: Option<UtcTime>,
    ) -> Result<Explanation, ClientError> {
        let query = [
            ("purpose", Some(purpose.to_string())),
            ("reader", text(reader)),
            ("project", text(project)),
            ("at", text(at)),
        ];
        let path = format!("/v1/records/{record_id}/access");
        self.http.get(&path, &query).await
    }

    /// Declares an emergency, signed. For providers whose certificate allows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the emergency is malformed.
    pub async fn declare_emergency(&self, emergency: Emergency) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/emergencies", DeclareEmergency { emergency })
            .await
    }

    /// Closes the review of an emergency, signed. For auditors and administrators of the
    /// patient's organisation.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when it is unknown or reviewed already.
    pub async fn review_emergency(&self, review: ReviewEmergency) -> Result<Recorded, ClientError> {
        let path = format!("/v1/emergencies/{}/review", review.emergency_id);
        self.post_signed(&path, review).await
    }

    /// Lists declared emergencies, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn emergencies(
        &self,
        filter: EmergencyFilter,
    ) -> Result<Vec<EmergencyEntry>, ClientError> {
        let query = vec![
            ("patient", text(filter.patient)),
            ("patient_msp", text(filter.patient_msp)),
            ("open_only", filter.open_only.then(|| "true".to_owned())),
        ];
        all::<EmergencyPage>(&self.http, "/v1/emergencies", query, filter.page).await
    }

    /// Lists the caller's notices, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn notices(&self, filter: NoticeFilter) -> Result<Vec<Notice>, ClientError> {
        let query = vec![("from", text(filter.from))];
        all::<NoticePage>(&self.http, "/v1/notices", query, filter.page).await
    }
}

fn reads_query(filter: &ReadFilter) -> Query<'static> {
    vec![
        ("patient", text(filter.patient)),
        ("record_id", text(filter.record_id)),
        ("reader", text(filter.reader)),
        ("from", text(filter.from)),
        ("to", text(filter.to)),
    ]
}
