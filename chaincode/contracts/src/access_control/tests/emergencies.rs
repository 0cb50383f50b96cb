use contract_interface::access::{
    Emergency, EmergencyChanged, EmergencyEntry, EmergencyFilter, EmergencyPage, EmergencyReason,
    Happening, NoticeFilter, NoticePage, ReviewOutcome,
};
use contract_interface::names::{events, transactions};
use contract_interface::{
    DeclareEmergency, EmergencyId, ErrorCode, Purpose, ReasonCode, ReviewEmergency, Role, Status,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

const FOUR_HOURS: i64 = 4 * 60 * 60;

fn emergency(world: &mut World, seconds: i64) -> Emergency {
    Emergency {
        emergency_id: EmergencyId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        reason: EmergencyReason::Unresponsive,
        justification: "sealed".to_owned(),
        valid_until: world.time(seconds),
    }
}

fn declare(world: &mut World, signer: Who, emergency: &Emergency) -> Tx {
    let request = world.request(DeclareEmergency {
        emergency: emergency.clone(),
    });
    world.signed(signer, &request)
}

async fn declared(world: &mut World, signer: Who, seconds: i64) -> Emergency {
    let emergency = emergency(world, seconds);
    let tx = declare(world, signer, &emergency);
    world.ok(Oracle1, tx).await;
    emergency
}

fn review(world: &mut World, signer: Who, emergency: &Emergency, reader: Who) -> Tx {
    let request = world.request(ReviewEmergency {
        emergency_id: emergency.emergency_id,
        patient: emergency.patient,
        reader: reader.id(),
        outcome: ReviewOutcome::Justified,
    });
    world.signed(signer, &request)
}

async fn listed(world: &mut World, who: Who, filter: &EmergencyFilter) -> Vec<EmergencyEntry> {
    let tx = for_caller(query(transactions::LIST_EMERGENCIES, filter), who);
    let page: EmergencyPage = world.get(Oracle1, tx).await;
    page.emergencies
}

fn of_patient() -> EmergencyFilter {
    EmergencyFilter {
        patient: Some(Patient.pseudonym()),
        ..EmergencyFilter::default()
    }
}

async fn told(world: &mut World, who: Who) -> Vec<Happening> {
    let tx = query(transactions::LIST_NOTICES, &NoticeFilter::default());
    let page: NoticePage = world.get(Oracle1, for_caller(tx, who)).await;
    page.notices.into_iter().map(|n| n.happening).collect()
}

#[tokio::test]
async fn the_glass_is_broken_for_four_hours_and_never_in_silence() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let denied = world.read(Provider2, id, Purpose::Btg).await;
    assert_eq!(denied, ReasonCode::EmergencyNotDeclared);

    let emergency = emergency(&mut world, FOUR_HOURS);
    let emergency_id = emergency.emergency_id;
    let tx = declare(&mut world, Provider2, &emergency);
    let result = world.ok(Oracle2, tx).await;
    let event = result.event.unwrap();
    assert_eq!(event.name, events::EMERGENCY_DECLARED);
    assert_eq!(event.payload, json(&EmergencyChanged { emergency_id }));
    let happening = Happening::EmergencyDeclared { emergency_id };
    for who in [Patient, Auditor1, Admin1, Auditor2] {
        let told = told(&mut world, who).await;
        assert_eq!(told, std::slice::from_ref(&happening), "{who:?}");
    }
    assert_eq!(told(&mut world, OtherPatient).await, []);

    let reason = world.read(Provider2, id, Purpose::Btg).await;
    assert_eq!(reason, ReasonCode::Emergency);
    let others = world.read(Provider1, id, Purpose::Btg).await;
    assert_eq!(others, ReasonCode::EmergencyNotDeclared);
    world.now += FOUR_HOURS;
    let over = world.read(Provider2, id, Purpose::Btg).await;
    assert_eq!(over, ReasonCode::EmergencyOver);
}

#[tokio::test]
async fn only_whom_the_certificate_allows_declares() {
    let mut world = World::populated().await;
    for signer in [Provider3, Patient, Auditor1, Admin1, Oracle1] {
        let emergency = emergency(&mut world, 60);
        let tx = declare(&mut world, signer, &emergency);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let mut registration = world.registration(Provider1, Role::Provider);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let emergency = emergency(&mut world, 60);
    let tx = declare(&mut world, Provider1, &emergency);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn an_emergency_has_bounds() {
    let mut world = World::populated().await;
    let invalid = ErrorCode::InvalidArgument;
    for seconds in [FOUR_HOURS + 1, 0, -1] {
        let emergency = emergency(&mut world, seconds);
        let tx = declare(&mut world, Provider1, &emergency);
        world.refused(Oracle1, tx, invalid).await;
    }
    // Four hours after the signature is more than four hours after a transaction of before.
    let late = emergency(&mut world, FOUR_HOURS);
    let tx = declare(&mut world, Provider1, &late);
    world.now -= 100;
    world.refused(Oracle1, tx.clone(), invalid).await;
    world.now += 200;
    world.ok(Oracle1, tx).await;
    let mut silent = emergency(&mut world, 60);
    silent.justification.clear();
    let tx = declare(&mut world, Provider1, &silent);
    world.refused(Oracle1, tx, invalid).await;
    let mut nobody = emergency(&mut world, 60);
    nobody.patient = Provider2.pseudonym();
    let tx = declare(&mut world, Provider1, &nobody);
    world
        .refused(Oracle1, tx, ErrorCode::ParticipantNotFound)
        .await;
    let mut again = emergency(&mut world, 60);
    again.emergency_id = late.emergency_id;
    let tx = declare(&mut world, Provider1, &again);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
}

#[tokio::test]
async fn the_latest_emergency_decides_and_all_are_listed() {
    let (mut world, record) = World::with_record().await;
    declared(&mut world, Provider1, 60).await;
    world.now += 120;
    let id = record.record_id;
    let over = world.read(Provider1, id, Purpose::Btg).await;
    assert_eq!(over, ReasonCode::EmergencyOver);
    declared(&mut world, Provider1, 60).await;
    let reason = world.read(Provider1, id, Purpose::Btg).await;
    assert_eq!(reason, ReasonCode::Emergency);
    assert_eq!(listed(&mut world, Patient, &of_patient()).await.len(), 2);
}

#[tokio::test]
async fn the_patients_organization_reviews_once() {
    let mut world = World::populated().await;
    let emergency = declared(&mut world, Provider2, 60).await;
    for (signer, reader, code) in [
        (Auditor2, Provider2, ErrorCode::EmergencyNotFound),
        (Admin2, Provider2, ErrorCode::EmergencyNotFound),
        (Auditor1, Provider1, ErrorCode::EmergencyNotFound),
        (Provider2, Provider2, ErrorCode::Forbidden),
        (Patient, Provider2, ErrorCode::Forbidden),
        (Oracle1, Provider2, ErrorCode::Forbidden),
    ] {
        let tx = review(&mut world, signer, &emergency, reader);
        world.refused(Oracle1, tx, code).await;
    }
    let mut unknown = emergency.clone();
    unknown.emergency_id = EmergencyId::from_bytes(world.random_id());
    let tx = review(&mut world, Auditor1, &unknown, Provider2);
    world
        .refused(Oracle1, tx, ErrorCode::EmergencyNotFound)
        .await;

    world.now += 1;
    let tx = review(&mut world, Auditor1, &emergency, Provider2);
    let result = world.ok(Oracle1, tx).await;
    assert_eq!(result.event.unwrap().name, events::EMERGENCY_REVIEWED);
    let emergency_id = emergency.emergency_id;
    let reviewed = Happening::EmergencyReviewed { emergency_id };
    for who in [Patient, Provider2, Auditor1] {
        let last = told(&mut world, who).await.pop();
        assert_eq!(last.as_ref(), Some(&reviewed), "{who:?}");
    }
    let tx = review(&mut world, Admin1, &emergency, Provider2);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    let entry = &listed(&mut world, Auditor1, &of_patient()).await[0];
    let review = entry.review.as_ref().unwrap();
    assert_eq!(review.reviewer, Auditor1.id());
    assert_eq!(review.outcome, ReviewOutcome::Justified);
}

#[tokio::test]
async fn emergencies_are_listed_to_those_whom_they_concern() {
    let mut world = World::populated().await;
    let first = declared(&mut world, Provider2, 60).await;
    world.now += 1;
    let second = declared(&mut world, Provider1, 60).await;
    for (who, count) in [
        (Patient, 2),
        (Provider2, 1),
        (Provider1, 1),
        (Auditor1, 2),
        (Admin1, 2),
        (Auditor2, 0),
        (OtherPatient, 0),
        (Provider3, 0),
    ] {
        let found = listed(&mut world, who, &of_patient()).await;
        assert_eq!(found.len(), count, "{who:?}");
    }
    let mut of_organization = EmergencyFilter {
        patient_msp: Some("Org1MSP".parse().unwrap()),
        ..EmergencyFilter::default()
    };
    let found = listed(&mut world, Auditor1, &of_organization).await;
    let order: Vec<_> = found.iter().map(|entry| entry.emergency.clone()).collect();
    assert_eq!(order, [first.clone(), second.clone()]);
    assert_eq!(listed(&mut world, Auditor2, &of_organization).await, []);
    let tx = review(&mut world, Auditor1, &first, Provider2);
    world.ok(Oracle1, tx).await;
    of_organization.open_only = true;
    let open = listed(&mut world, Auditor1, &of_organization).await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].emergency, second);
    let neither = query(transactions::LIST_EMERGENCIES, &EmergencyFilter::default());
    world
        .refused(Oracle1, neither, ErrorCode::InvalidArgument)
        .await;
}
