//! Who read what and why: reads, explanations, emergencies, notices.

use bytes::Bytes;
use contract_interface::{
    Decision, DeclareEmergency, MspId, ParticipantId, ProjectCode, Purpose, ReadEntry, ReadFilter,
    ReadId, ReadPage, ReasonCode, RecordId, ReviewEmergency, UtcTime,
    access::{
        Considered, Emergency, EmergencyEntry, EmergencyFilter, EmergencyPage, Notice,
        NoticeFilter, NoticePage, RuleRef,
    },
};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Client, Recorded,
    pages::{Query, all, text},
};
use crate::error::ClientError;

/// Media type of FHIR in JSON.
const FHIR_JSON: &str = "application/fhir+json";
/// Parameter that names a page in the address of the next one.
const PAGE_TOKEN: &str = "page_token=";
/// Pages of one export, at most.
const EXPORT_PAGES_MAX: usize = 10_000;

/// What a read would come to, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessExplained {
    /// Permit or deny.
    pub decision: Decision,
    /// Why.
    pub reason: ReasonCode,
    /// The rule that decides, or that comes nearest to a permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// The same in the oracle's words: what permits or is missing, and whom to ask.
    pub sentence: String,
    /// Every rule that has a say.
    pub considered: Vec<Considered>,
    /// The organisation that registered the record and releases its key.
    pub registrar: MspId,
    /// The patient's organisation, through which the patient can be asked.
    pub patient_msp: MspId,
}

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
        self.http.get_as(&path, &[], accept).await
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
            let body = self.http.get_as("/v1/reads", &query, accept).await?;
            let next = next_page(&body)?;
            bundles.push(body);
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
    ) -> Result<AccessExplained, ClientError> {
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

/// The token of the page after a Bundle: in the address of its link `next`.
fn next_page(bundle: &[u8]) -> Result<Option<String>, ClientError> {
    let malformed = || ClientError::Malformed {
        what: "a FHIR Bundle",
    };
    let bundle: Value = serde_json::from_slice(bundle).map_err(|_| malformed())?;
    if bundle["resourceType"] != "Bundle" {
        return Err(malformed());
    }
    let links = bundle["link"].as_array();
    let next = links.and_then(|links| links.iter().find(|link| link["relation"] == "next"));
    let Some(next) = next else { return Ok(None) };
    next["url"]
        .as_str()
        .and_then(|url| {
            url.split(['?', '&'])
                .find_map(|p| p.strip_prefix(PAGE_TOKEN))
        })
        .map(|token| Some(token.to_owned()))
        .ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_names_the_page_after_it_or_is_the_last() {
        for (bundle, expected) in [
            (r#"{"resourceType":"Bundle"}"#, None),
            (
                r#"{"resourceType":"Bundle","link":[{"relation":"self","url":"a?page_token=x"}]}"#,
                None,
            ),
            (
                r#"{"resourceType":"Bundle","link":[{"relation":"next","url":"a?b=c&page_token=x"}]}"#,
                Some("x".to_owned()),
            ),
        ] {
            assert_eq!(next_page(bundle.as_bytes()).unwrap(), expected, "{bundle}");
        }
        for bad in [
            "[]",
            "{",
            r#"{"resourceType":"Bundle","link":[{"relation":"next","url":"a"}]}"#,
        ] {
            assert!(next_page(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
