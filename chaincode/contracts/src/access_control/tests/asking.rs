use contract_interface::access::{
    AccessRequest, AccessRequestChanged, AccessRequestEntry, AccessRequestFilter,
    AccessRequestPage, AccessRequestStatus, Delegation, DelegationBasis, Happening, NoticeFilter,
    NoticePage, Power,
};
use contract_interface::limits::{ACCESS_REQUESTS_OF_DAY_MAX, ACCESS_REQUESTS_OPEN_MAX};
use contract_interface::names::{collections, events, transactions};
use contract_interface::{
    AccessRequestId, Delegate, DelegationId, ErrorCode, Grantee, Pseudonym, Purpose, RefuseAccess,
    RequestAccess,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

fn request_for(world: &mut World, patient: Pseudonym) -> AccessRequest {
    AccessRequest {
        request_id: AccessRequestId::from_bytes(world.random_id()),
        patient,
        types: vec![],
        data_period: None,
        purposes: vec![Purpose::Treat],
        project: None,
        wanted_until: world.time(86_400),
        message: None,
    }
}

fn ask(world: &mut World, signer: Who, request: &AccessRequest) -> Tx {
    let request = world.request(RequestAccess {
        request: request.clone(),
    });
    world.signed(signer, &request)
}

fn refuse(world: &mut World, signer: Who, id: AccessRequestId, patient: Option<Pseudonym>) -> Tx {
    let request = world.request(RefuseAccess {
        request_id: id,
        patient,
    });
    world.signed(signer, &request)
}

async fn asked(world: &mut World, signer: Who) -> AccessRequest {
    let request = request_for(world, Patient.pseudonym());
    let tx = ask(world, signer, &request);
    world.ok(Oracle1, tx).await;
    request
}

async fn listed(
    world: &mut World,
    who: Who,
    filter: &AccessRequestFilter,
) -> Vec<AccessRequestEntry> {
    let tx = for_caller(query(transactions::LIST_ACCESS_REQUESTS, filter), who);
    let page: AccessRequestPage = world.get(Oracle1, tx).await;
    page.access_requests
}

fn to_patient() -> AccessRequestFilter {
    AccessRequestFilter {
        patient: Some(Patient.pseudonym()),
        ..AccessRequestFilter::default()
    }
}

async fn told(world: &mut World, who: Who) -> Vec<Happening> {
    let tx = query(transactions::LIST_NOTICES, &NoticeFilter::default());
    let page: NoticePage = world.get(Oracle1, for_caller(tx, who)).await;
    page.notices.into_iter().map(|n| n.happening).collect()
}

#[tokio::test]
async fn a_request_is_refused_once_and_both_are_told() {
    let mut world = World::populated().await;
    let request = asked(&mut world, Provider2).await;
    let request_id = request.request_id;
    assert_eq!(
        told(&mut world, Patient).await,
        [Happening::AccessRequested { request_id }]
    );
    let tx = refuse(&mut world, Patient, request_id, None);
    let result = world.ok(Oracle1, tx).await;
    let event = result.event.unwrap();
    assert_eq!(event.name, events::ACCESS_REQUEST_CHANGED);
    assert_eq!(event.payload, json(&AccessRequestChanged { request_id }));
    assert_eq!(
        told(&mut world, Provider2).await,
        [Happening::AccessRefused { request_id }]
    );
    let entry = &listed(&mut world, Patient, &to_patient()).await[0];
    assert_eq!(entry.status, AccessRequestStatus::Refused);
    assert_eq!(entry.answered_at, Some(world.time(0)));
    assert_eq!(entry.requests.len(), 2);
    let missing = ErrorCode::AccessRequestNotFound;
    let tx = refuse(&mut world, Patient, request_id, None);
    world.refused(Oracle1, tx, missing).await;
}

#[tokio::test]
async fn a_grant_in_reply_answers_it() {
    let mut world = World::populated().await;
    let request = asked(&mut world, Provider2).await;
    let mut grant = world.grant(Grantee::Participant(Provider2.id()));
    grant.in_reply_to = Some(request.request_id);
    let mut other = world.grant(Grantee::Participant(Provider2.id()));
    other.in_reply_to = Some(request.request_id);
    let missing = ErrorCode::AccessRequestNotFound;
    let tx = world.grant_access(OtherPatient, &grant);
    world.refused(Oracle1, tx, missing).await;
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let entry = &listed(&mut world, Provider2, &to_patient()).await[0];
    assert_eq!(entry.status, AccessRequestStatus::Granted);
    assert_eq!(entry.grant_id, Some(grant.grant_id));
    let grant_id = grant.grant_id;
    let given = Happening::GrantGiven { grant_id };
    assert_eq!(told(&mut world, Provider2).await, [given]);
    let tx = world.grant_access(Patient, &other);
    world.refused(Oracle1, tx, missing).await;
}

#[tokio::test]
async fn only_the_patient_or_a_guardian_with_the_power_answers() {
    let mut world = World::populated().await;
    let request_id = asked(&mut world, Provider2).await.request_id;
    let patient = Some(Patient.pseudonym());
    for (signer, patient, code) in [
        (OtherPatient, None, ErrorCode::AccessRequestNotFound),
        (OtherPatient, patient, ErrorCode::Forbidden),
        (Provider2, patient, ErrorCode::Forbidden),
        (Provider2, None, ErrorCode::Forbidden),
        (Guardian, patient, ErrorCode::Forbidden),
        (Admin1, patient, ErrorCode::Forbidden),
    ] {
        let tx = refuse(&mut world, signer, request_id, patient);
        world.refused(Oracle1, tx, code).await;
    }
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        guardian: Guardian.id(),
        powers: vec![Power::Grant],
        basis: DelegationBasis::Patient,
        valid_from: world.time(0),
        valid_until: world.time(60),
    };
    let delegate = world.request(Delegate { delegation });
    let tx = world.signed(Patient, &delegate);
    world.ok(Oracle1, tx).await;
    assert_eq!(listed(&mut world, Guardian, &to_patient()).await.len(), 1);
    let tx = refuse(&mut world, Guardian, request_id, patient);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let mut world = World::populated().await;
    for signer in [Patient, Auditor1, Admin1, Oracle1] {
        let request = request_for(&mut world, Patient.pseudonym());
        let tx = ask(&mut world, signer, &request);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let good = request_for(&mut world, Patient.pseudonym());
    for bad in [
        AccessRequest {
            purposes: vec![],
            ..good.clone()
        },
        AccessRequest {
            wanted_until: world.time(0),
            ..good.clone()
        },
        AccessRequest {
            message: Some("x".repeat(17 * 1024)),
            ..good.clone()
        },
    ] {
        let tx = ask(&mut world, Provider1, &bad);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let tx = ask(&mut world, Provider1, &good);
    world.ok(Oracle1, tx).await;
    let again = ask(&mut world, Provider1, &good);
    world
        .refused(Oracle1, again, ErrorCode::StateConflict)
        .await;
}

#[tokio::test]
async fn requests_are_listed_to_those_whom_they_concern() {
    let mut world = World::populated().await;
    let first = asked(&mut world, Provider2).await;
    asked(&mut world, Provider1).await;
    let tx = refuse(&mut world, Patient, first.request_id, None);
    world.ok(Oracle1, tx).await;
    for (who, count) in [
        (Patient, 2),
        (Provider2, 1),
        (Provider1, 1),
        (Provider3, 0),
        (Auditor1, 2),
        (Auditor2, 1),
        (OtherPatient, 0),
        (Guardian, 0),
    ] {
        let found = listed(&mut world, who, &to_patient()).await;
        assert_eq!(found.len(), count, "{who:?}");
    }
    let open = AccessRequestFilter {
        open_only: true,
        ..to_patient()
    };
    assert_eq!(listed(&mut world, Patient, &open).await.len(), 1);
    let mine = AccessRequestFilter {
        requester: Some(Provider2.id()),
        ..AccessRequestFilter::default()
    };
    for (who, count) in [
        (Provider2, 1),
        (Patient, 1),
        (Auditor2, 1),
        (Provider1, 0),
        (Auditor1, 0),
    ] {
        let found = listed(&mut world, who, &mine).await;
        assert_eq!(found.len(), count, "{who:?}");
    }
    let neither = query(
        transactions::LIST_ACCESS_REQUESTS,
        &AccessRequestFilter::default(),
    );
    world
        .refused(Oracle1, neither, ErrorCode::InvalidArgument)
        .await;
}

#[tokio::test]
async fn a_provider_has_few_open_requests_to_one_patient() {
    let mut world = World::populated().await;
    let mut open = Vec::new();
    for _ in 0..ACCESS_REQUESTS_OPEN_MAX {
        open.push(asked(&mut world, Provider2).await.request_id);
    }
    let too_many = ErrorCode::TooManyAccessRequests;
    let more = request_for(&mut world, Patient.pseudonym());
    let tx = ask(&mut world, Provider2, &more);
    world.refused(Oracle1, tx, too_many).await;
    // Another provider, and another patient, are not concerned.
    asked(&mut world, Provider1).await;
    let other = request_for(&mut world, OtherPatient.pseudonym());
    let tx = ask(&mut world, Provider2, &other);
    world.ok(Oracle1, tx).await;

    // Either answer makes room for one.
    let tx = refuse(&mut world, Patient, open[0], None);
    world.ok(Oracle1, tx).await;
    let tx = ask(&mut world, Provider2, &more);
    world.ok(Oracle1, tx).await;
    let more = request_for(&mut world, Patient.pseudonym());
    let tx = ask(&mut world, Provider2, &more);
    world.refused(Oracle1, tx, too_many).await;
    let mut grant = world.grant(Grantee::Participant(Provider2.id()));
    grant.in_reply_to = Some(open[1]);
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let tx = ask(&mut world, Provider2, &more);
    world.ok(Oracle1, tx).await;

    // What is no longer wished for makes room too.
    let more = request_for(&mut world, Patient.pseudonym());
    let tx = ask(&mut world, Provider2, &more);
    world.refused(Oracle1, tx, too_many).await;
    world.now += 86_400;
    let more = request_for(&mut world, Patient.pseudonym());
    let tx = ask(&mut world, Provider2, &more);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn a_provider_asks_so_often_a_day() {
    let mut world = World::populated().await;
    world.now -= world.now.rem_euclid(86_400);
    for n in 0..ACCESS_REQUESTS_OF_DAY_MAX {
        let mut patient = [0xaa; 16];
        patient[..4].copy_from_slice(&n.to_be_bytes());
        let request = request_for(&mut world, Pseudonym::from_bytes(patient));
        let tx = ask(&mut world, Provider2, &request);
        world.ok(Oracle1, tx).await;
    }
    let too_many = ErrorCode::TooManyAccessRequests;
    for later in [0, 86_399] {
        world.now += later;
        let more = request_for(&mut world, Patient.pseudonym());
        let tx = ask(&mut world, Provider2, &more);
        world.refused(Oracle1, tx, too_many).await;
    }
    asked(&mut world, Provider1).await;
    world.now += 1;
    asked(&mut world, Provider2).await;
    // Who goes back a day does not get that day's share again.
    world.now -= 1;
    for _ in 1..ACCESS_REQUESTS_OPEN_MAX {
        asked(&mut world, Provider2).await;
    }
    let key = world.ledger.private_keys(collections::RECORDS);
    let counts: Vec<serde_json::Value> = key
        .iter()
        .filter(|key| key.starts_with("\0request~day\0"))
        .map(|key| {
            let value = world.ledger.private_state(collections::RECORDS, key);
            serde_json::from_slice(&value.unwrap()).unwrap()
        })
        .collect();
    let made: Vec<_> = counts
        .iter()
        .map(|c| c["value"]["requests"].clone())
        .collect();
    assert!(made.contains(&ACCESS_REQUESTS_OPEN_MAX.into()), "{made:?}");
}
