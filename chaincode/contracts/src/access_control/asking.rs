//! Requests for access: a provider asks, and the patient or a guardian answers.
//!
//! Whether the patient is registered is not checked: the look-up would show in the block that two
//! requests are for one patient, and a request to nobody is answered by nobody.
//!
//! Each request makes a notice, so a provider has few open ones to one patient, and not many a day.
//! The limits are a provider's, not its organisation's: a counter of the whole organisation would
//! be a key over which its providers' requests conflict, and one could use up all others' share.

use contract_interface::access::{
    AccessRequestChanged, AccessRequestEntry, AccessRequestFilter, AccessRequestPage,
    AccessRequestStatus, Happening, Power, Recipient,
};
use contract_interface::limits::{ACCESS_REQUESTS_OF_DAY_MAX, ACCESS_REQUESTS_OPEN_MAX};
use contract_interface::names::{collections, events, transactions};
use contract_interface::{
    AccessRequestId, ErrorCode, Grant, MspId, Participant, ParticipantId, Pseudonym, RefuseAccess,
    RequestAccess, Role, Salt, UtcTime, canonical_json,
};
use fabric_shim::Stub;
use serde::{Deserialize, Serialize};

use super::notices;
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::object_types;
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Value of an index entry from a provider to a request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequesterIndexValue {
    patient: Pseudonym,
    request_id: AccessRequestId,
    salt: Salt,
}

/// An open request, as long as it counts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenRequest {
    id: AccessRequestId,
    until: UtcTime,
}

/// How many requests a provider made on a day, counted from 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestsOfDay {
    day: i64,
    requests: u32,
}

impl RequestsOfDay {
    /// With one more at `now`. The day only goes on, so that nobody gains by going to and fro
    /// between two.
    fn after(before: Option<Self>, now: UtcTime) -> Self {
        let day = now.unix_seconds().div_euclid(DAY_SECONDS);
        match before {
            Some(before) if before.day >= day => Self {
                requests: before.requests.saturating_add(1),
                ..before
            },
            _ => Self { day, requests: 1 },
        }
    }
}

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// Keeps a request.
pub(super) async fn ask(stub: &Stub) -> Result<AccessRequestChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RequestAccess>::take(&ledger).await?;
    let request = &signed.body.request;
    let requester = &signed.signer;
    signed.require_role(&[Role::Provider])?;
    request.validate()?;
    if request.wanted_until <= signed.tx_time {
        return Err(Failure::argument("access is wished until a time gone by"));
    }
    if load(&ledger, &request.patient, &request.request_id)
        .await?
        .is_some()
    {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            "a request with this ID has been made",
        ));
    }
    count(&ledger, &signed).await?;
    let entry = AccessRequestEntry {
        request: request.clone(),
        requester: requester.participant_id,
        requester_msp: requester.msp_id.clone(),
        status: AccessRequestStatus::Open,
        grant_id: None,
        asked_at: signed.signed_at,
        answered_at: None,
        requests: vec![signed.jws.clone()],
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    put_index(&ledger, &entry).await?;
    let request_id = request.request_id;
    notices::put(
        &ledger,
        Recipient::Participant(request.patient.into()),
        request.patient,
        signed.tx_time,
        Happening::AccessRequested { request_id },
        &signed.salt,
    )
    .await?;
    announce(stub, request_id)
}

/// Refuses a request.
pub(super) async fn refuse(stub: &Stub) -> Result<AccessRequestChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RefuseAccess>::take(&ledger).await?;
    let acting = signed
        .acting_for(&ledger, signed.body.patient, Power::Grant)
        .await?;
    let request_id = signed.body.request_id;
    let mut entry = open_request(&ledger, &acting.patient, &request_id).await?;
    entry.status = AccessRequestStatus::Refused;
    entry.answered_at = Some(signed.signed_at);
    entry.requests.push(signed.jws);
    entry.salt = signed.salt;
    put(&ledger, &entry).await?;
    close(&ledger, &entry).await?;
    notices::put(
        &ledger,
        Recipient::Participant(entry.requester),
        acting.patient,
        signed.tx_time,
        Happening::AccessRefused { request_id },
        &signed.salt,
    )
    .await?;
    announce(stub, request_id)
}

/// Marks the request that `grant` answers as granted. The requester learns of it by the grant, if
/// it is one to the requester.
pub(crate) async fn mark_granted(
    ledger: &Ledger<'_>,
    patient: &Pseudonym,
    grant: &Grant,
    answered_at: UtcTime,
    jws: &str,
    salt: &Salt,
) -> Result<(), Failure> {
    let Some(request_id) = grant.in_reply_to else {
        return Ok(());
    };
    let mut entry = open_request(ledger, patient, &request_id).await?;
    entry.status = AccessRequestStatus::Granted;
    entry.grant_id = Some(grant.grant_id);
    entry.answered_at = Some(answered_at);
    entry.requests.push(jws.to_owned());
    entry.salt = *salt;
    put(ledger, &entry).await?;
    close(ledger, &entry).await
}

/// Holds a new request against the limits, and counts it.
async fn count(ledger: &Ledger<'_>, signed: &Signed<RequestAccess>) -> Result<(), Failure> {
    let (request, requester) = (&signed.body.request, &signed.signer.participant_id);
    let blinding = &ledger.blinding;
    let key = blinding.access_requests_open(requester, &request.patient)?;
    let open: Option<Vec<OpenRequest>> = ledger.get_salted(&key, "open requests").await?;
    let mut open = open.unwrap_or_default();
    open.retain(|open| open.until > signed.tx_time);
    if open.len() >= ACCESS_REQUESTS_OPEN_MAX {
        return Err(too_many(format!(
            "{ACCESS_REQUESTS_OPEN_MAX} requests to this patient are not answered"
        )));
    }
    open.push(OpenRequest {
        id: request.request_id,
        until: request.wanted_until,
    });
    ledger.put_salted(&key, &open, &signed.salt).await?;

    let key = blinding.access_requests_of_day(requester)?;
    let before: Option<RequestsOfDay> = ledger.get_salted(&key, "a count of requests").await?;
    let made = RequestsOfDay::after(before, signed.tx_time);
    if made.requests > ACCESS_REQUESTS_OF_DAY_MAX {
        return Err(too_many(format!(
            "{ACCESS_REQUESTS_OF_DAY_MAX} requests were made this day"
        )));
    }
    ledger.put_salted(&key, &made, &signed.salt).await
}

fn too_many(sentence: String) -> Failure {
    Failure::new(ErrorCode::TooManyAccessRequests, sentence)
}

/// Takes an answered request off the open ones.
async fn close(ledger: &Ledger<'_>, entry: &AccessRequestEntry) -> Result<(), Failure> {
    let request = &entry.request;
    let key = ledger
        .blinding
        .access_requests_open(&entry.requester, &request.patient)?;
    let open: Option<Vec<OpenRequest>> = ledger.get_salted(&key, "open requests").await?;
    let mut open = open.unwrap_or_default();
    open.retain(|open| open.id != request.request_id);
    ledger.put_salted(&key, &open, &entry.salt).await
}

async fn load(
    ledger: &Ledger<'_>,
    patient: &Pseudonym,
    id: &AccessRequestId,
) -> Result<Option<AccessRequestEntry>, Failure> {
    let key = ledger.blinding.access_request(patient, id)?;
    ledger.get(collections::RECORDS, &key, "a request").await
}

/// A request to the patient that is not answered.
async fn open_request(
    ledger: &Ledger<'_>,
    patient: &Pseudonym,
    id: &AccessRequestId,
) -> Result<AccessRequestEntry, Failure> {
    load(ledger, patient, id)
        .await?
        .filter(|entry| entry.status == AccessRequestStatus::Open)
        .ok_or_else(|| {
            Failure::new(
                ErrorCode::AccessRequestNotFound,
                "the patient has no such request that is not answered",
            )
        })
}

async fn put(ledger: &Ledger<'_>, entry: &AccessRequestEntry) -> Result<(), Failure> {
    let request = &entry.request;
    let key = ledger
        .blinding
        .access_request(&request.patient, &request.request_id)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

async fn put_index(ledger: &Ledger<'_>, entry: &AccessRequestEntry) -> Result<(), Failure> {
    let request_id = entry.request.request_id;
    let key = ledger
        .blinding
        .access_request_by_requester(&entry.requester, &request_id)?;
    let value = RequesterIndexValue {
        patient: entry.request.patient,
        request_id,
        salt: entry.salt,
    };
    ledger.put(collections::RECORDS, &key, &value).await
}

fn announce(stub: &Stub, request_id: AccessRequestId) -> Result<AccessRequestChanged, Failure> {
    let changed = AccessRequestChanged { request_id };
    stub.set_event(events::ACCESS_REQUEST_CHANGED, canonical_json(&changed)?)?;
    Ok(changed)
}

/// Requests by pages: to a patient, or of a provider.
pub(super) async fn list(
    stub: &Stub,
    filter: &AccessRequestFilter,
) -> Result<AccessRequestPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let (prefix, sight) = match (filter.patient, filter.requester) {
        (Some(patient), None) => by_patient(&ledger, viewer, &patient).await?,
        (None, Some(requester)) => by_requester(&ledger, viewer, &requester),
        _ => {
            return Err(Failure::argument(
                "name either the patient or the requester",
            ));
        }
    };
    let query = Query::new(transactions::LIST_ACCESS_REQUESTS, filter, &sight.viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], &filter.page, query)?;
    let mut access_requests = Vec::new();
    while access_requests.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry: AccessRequestEntry = if filter.patient.is_some() {
            ledger::parse("a request", &found.value)?
        } else {
            let index: RequesterIndexValue = ledger::parse("an index entry", &found.value)?;
            let entry = load(&ledger, &index.patient, &index.request_id).await?;
            entry.ok_or_else(|| Failure::corrupt("a request"))?
        };
        let wanted = !filter.open_only || entry.status == AccessRequestStatus::Open;
        if wanted && sight.sees(&entry) {
            access_requests.push(entry);
        }
    }
    Ok(AccessRequestPage {
        access_requests,
        next_page_token: scan.finish().await?,
    })
}

async fn by_patient(
    ledger: &Ledger<'_>,
    viewer: Viewer,
    patient: &Pseudonym,
) -> Result<(Prefix, Sight), Failure> {
    let acts = viewer.acts_for(ledger, patient, Power::Grant).await?;
    let registered: Option<Participant> = ledger.participant(&(*patient).into()).await?;
    let sight = Sight {
        acts_for: acts.then_some(*patient),
        patient_msp: registered
            .filter(|found| found.role == Role::Patient)
            .map(|found| found.msp_id),
        viewer,
    };
    let part = ledger.blinding.patient(patient);
    Ok((Prefix::new(object_types::ACCESS_REQUEST, vec![part]), sight))
}

fn by_requester(ledger: &Ledger<'_>, viewer: Viewer, requester: &ParticipantId) -> (Prefix, Sight) {
    let part = ledger
        .blinding
        .person(object_types::ACCESS_REQUEST_BY_REQUESTER, requester);
    let sight = Sight {
        acts_for: None,
        patient_msp: None,
        viewer,
    };
    let prefix = Prefix::new(object_types::ACCESS_REQUEST_BY_REQUESTER, vec![part]);
    (prefix, sight)
}

/// Which requests the viewer may see.
struct Sight {
    viewer: Viewer,
    /// The patient for whom the viewer may answer.
    acts_for: Option<Pseudonym>,
    /// The organisation of the patient whose requests are listed.
    patient_msp: Option<MspId>,
}

impl Sight {
    fn sees(&self, entry: &AccessRequestEntry) -> bool {
        if self.acts_for == Some(entry.request.patient) {
            return true;
        }
        match &self.viewer {
            Viewer::Oracle { .. } => true,
            Viewer::Organization { msp_id } => {
                entry.requester_msp == *msp_id || self.patient_msp.as_ref() == Some(msp_id)
            }
            Viewer::Patient { participant, .. } => {
                entry.request.patient == participant.participant_id.into()
            }
            Viewer::Provider { participant, .. } => entry.requester == participant.participant_id,
        }
    }
}
