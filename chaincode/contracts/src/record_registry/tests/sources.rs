//! Records of which a participant is the source.

use contract_interface::{
    Confidentiality, Digest, ErrorCode, Period, RecordId, RecordPrivate, RegisterRecordsResult,
    Role, Source, Status, SubmitRecord,
};
use fabric_msp::jws;

use crate::testing::Who::*;
use crate::testing::*;

/// What `source` signs for a record.
fn submission(record: &RecordPrivate, previous: Option<RecordId>) -> SubmitRecord {
    SubmitRecord {
        patient: record.patient,
        record_type: record.record_type.clone(),
        period: record.period,
        content_type: record.content_type.clone(),
        content_sha256: Digest::of(b"content"),
        context: record.context.clone(),
        confidentiality: record.confidentiality,
        sensitivity: record.sensitivity.clone(),
        previous,
    }
}

/// The record with `body` as its submission, signed by `signer`, and `source` as its source.
fn carrying(
    world: &mut World,
    record: &RecordPrivate,
    source: Who,
    signer: Who,
    body: SubmitRecord,
) -> RecordPrivate {
    let request = world.request(body);
    RecordPrivate {
        source: Source::ParticipantId(source.id()),
        submission: Some(jws::sign(signer.identity(), &json(&request)).unwrap()),
        ..record.clone()
    }
}

/// The record as `source` submits it.
pub(super) fn submitted(
    world: &mut World,
    record: &RecordPrivate,
    source: Who,
    previous: Option<RecordId>,
) -> RecordPrivate {
    let body = submission(record, previous);
    carrying(world, record, source, source, body)
}

#[tokio::test]
async fn a_person_may_be_the_source() {
    let mut world = World::populated().await;
    let missing = Some(ErrorCode::ParticipantNotFound);
    for (n, source, patient, code) in [
        (1, Patient, Patient, None),
        (2, Provider1, Patient, None),
        (3, Provider2, Patient, missing),
        (4, OtherPatient, Patient, missing),
        (5, Nobody, Patient, missing),
        (6, Auditor1, Patient, missing),
        (7, Provider1, Nobody, missing),
        (8, Provider1, Provider1, missing),
    ] {
        let mut record = world.record(n);
        record.patient = patient.pseudonym();
        let record = submitted(&mut world, &record, source, None);
        let tx = world.register_records(&[record]);
        match code {
            None => drop(world.ok(Oracle1, tx).await),
            Some(code) => drop(world.refused(Oracle1, tx, code).await),
        }
    }
}

#[tokio::test]
async fn a_source_signs_for_exactly_its_record() {
    let mut world = World::populated().await;
    let record = world.record(1);
    let good = submission(&record, None);
    let earlier = Period {
        start: record.period.start,
        end: record.period.start,
    };
    for wrong in [
        SubmitRecord {
            patient: OtherPatient.pseudonym(),
            ..good.clone()
        },
        SubmitRecord {
            record_type: "8310-5".parse().unwrap(),
            ..good.clone()
        },
        SubmitRecord {
            period: earlier,
            ..good.clone()
        },
        SubmitRecord {
            content_type: "text/plain".to_owned(),
            ..good.clone()
        },
        SubmitRecord {
            context: Some("encounter-1".parse().unwrap()),
            ..good.clone()
        },
        SubmitRecord {
            confidentiality: Confidentiality::V,
            ..good.clone()
        },
        SubmitRecord {
            sensitivity: vec!["HIV".parse().unwrap()],
            ..good.clone()
        },
        SubmitRecord {
            previous: Some(record.record_id),
            ..good.clone()
        },
    ] {
        let record = carrying(&mut world, &record, Provider1, Provider1, wrong);
        let tx = world.register_records(&[record]);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let record = carrying(&mut world, &record, Provider1, Provider1, good);
    let tx = world.register_records(&[record]);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn nobody_else_signs_for_a_source() {
    let mut world = World::populated().await;
    let record = world.record(1);
    let invalid = ErrorCode::SignatureInvalid;
    for signer in [Provider3, Patient, Oracle1, Provider1Renewed] {
        let body = submission(&record, None);
        let forged = carrying(&mut world, &record, Provider1, signer, body);
        let tx = world.register_records(&[forged]);
        world.refused(Oracle1, tx, invalid).await;
    }
    let mut tampered = submitted(&mut world, &record, Provider1, None);
    let jws = tampered.submission.take().unwrap();
    let (front, signature) = jws.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    tampered.submission = Some(format!("{front}.{flipped}{}", &signature[1..]));
    let tx = world.register_records(&[tampered]);
    world.refused(Oracle1, tx, invalid).await;
}

#[tokio::test]
async fn sources_and_submissions_belong_together() {
    let mut world = World::populated().await;
    let invalid = ErrorCode::InvalidArgument;
    let device = world.record(1);
    let of_person = submitted(&mut world, &device, Provider1, None);
    let with_device = RecordPrivate {
        source: device.source.clone(),
        ..of_person.clone()
    };
    let without = RecordPrivate {
        submission: None,
        ..of_person.clone()
    };
    let malformed = RecordPrivate {
        submission: Some("a.b".to_owned()),
        ..of_person
    };
    for record in [with_device, without, malformed] {
        let tx = world.register_records(&[record]);
        world.refused(Oracle1, tx, invalid).await;
    }
}

#[tokio::test]
async fn a_submission_is_for_one_channel_and_not_of_the_future() {
    let mut world = World::populated().await;
    let record = world.record(1);
    let mut request = world.request(submission(&record, None));
    request.channel = "otherchannel".to_owned();
    let sign = |request: &_| jws::sign(Provider1.identity(), &json(request)).unwrap();
    let with = |jws: String| RecordPrivate {
        source: Source::ParticipantId(Provider1.id()),
        submission: Some(jws),
        ..record.clone()
    };
    let tx = world.register_records(&[with(sign(&request))]);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;

    let mut request = world.request(submission(&record, None));
    request.iat = world.time(301);
    let tx = world.register_records(&[with(sign(&request))]);
    world.refused(Oracle1, tx, ErrorCode::RequestExpired).await;
    request.iat = before_certificate(&world);
    let tx = world.register_records(&[with(sign(&request))]);
    world
        .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
        .await;
    // One that waited for a day is welcome.
    request.iat = world.time(-86_000);
    let tx = world.register_records(&[with(sign(&request))]);
    world.ok(Oracle1, tx).await;
}

/// A second before the certificate of `Provider1` becomes valid.
fn before_certificate(world: &World) -> contract_interface::UtcTime {
    let start = Provider1.identity().certificate().not_before();
    world.time(start - world.now - 1)
}

#[tokio::test]
async fn one_submission_makes_one_record() {
    let mut world = World::populated().await;
    let first = world.record(1);
    let first = submitted(&mut world, &first, Provider1, None);
    let mut second = world.record(2);
    second.period = first.period;
    second.source = first.source.clone();
    second.submission = first.submission.clone();
    let conflict = ErrorCode::RecordConflict;
    let both = world.register_records(&[first.clone(), second.clone()]);
    world.refused(Oracle1, both, conflict).await;
    let tx = world.register_records(std::slice::from_ref(&first));
    world.ok(Oracle1, tx).await;
    let tx = world.register_records(&[second]);
    world.refused(Oracle1, tx, conflict).await;
    let tx = world.register_records(&[first]);
    let again: RegisterRecordsResult = world.get(Oracle1, tx).await;
    assert_eq!((again.registered, again.unchanged), (0, 1));
}

#[tokio::test]
async fn a_suspended_source_submits_nothing() {
    let mut world = World::populated().await;
    let mut registration = world.registration(Provider1, Role::Provider);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let record = world.record(1);
    let record = submitted(&mut world, &record, Provider1, None);
    let tx = world.register_records(&[record]);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}
