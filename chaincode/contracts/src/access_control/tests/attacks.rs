//! Who is not allowed tries anyway. What is proven to be someone's is recorded as a denial; what is
//! not is an error, and leaves no entry in anyone's name.

use contract_interface::access::{
    Delegation, DelegationBasis, Emergency, EmergencyReason, Power, RuleRef,
};
use contract_interface::names::{transactions, transient};
use contract_interface::{
    AuthorizeRead, Decision, DeclareEmergency, Delegate, DelegationId, EmergencyId, ErrorCode,
    GrantAccess, GrantEntry, GrantFilter, GrantPage, Grantee, Purpose, ReadEntry, ReadFilter,
    ReadPage, ReasonCode, RecordFilter, RecordId, RecordPage, RevokeAccess, RevokeDelegation, Rule,
    SignedRequest,
};
use fabric_msp::jws;

use crate::testing::Who::*;
use crate::testing::*;

async fn recorded(world: &mut World) -> Vec<ReadEntry> {
    let filter = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let page: ReadPage = world
        .get(Oracle1, query(transactions::LIST_READS, &filter))
        .await;
    page.reads
}

async fn delegate(world: &mut World, powers: Vec<Power>) -> Delegation {
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        guardian: Guardian.id(),
        powers,
        basis: DelegationBasis::Patient,
        valid_from: world.time(-60),
        valid_until: world.time(3600),
    };
    let request = world.request(Delegate {
        delegation: delegation.clone(),
    });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
    delegation
}

async fn dismiss(world: &mut World, delegation: &Delegation) {
    let request = world.request(RevokeDelegation {
        delegation_id: delegation.delegation_id,
        patient: delegation.patient,
        guardian: delegation.guardian,
        end_grants: false,
    });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
}

async fn declare(world: &mut World, reader: Who) -> EmergencyId {
    let emergency = Emergency {
        emergency_id: EmergencyId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        reason: EmergencyReason::LifeThreatening,
        justification: "h.k.i.c.t".to_owned(),
        valid_until: world.time(600),
    };
    let id = emergency.emergency_id;
    let request = world.request(DeclareEmergency { emergency });
    let tx = world.signed(reader, &request);
    world.ok(Oracle1, tx).await;
    id
}

#[tokio::test]
async fn a_grantee_does_not_grant_to_itself() {
    let (mut world, record) = World::with_record().await;
    for patient in [None, Some(Patient.pseudonym())] {
        let grant = world.grant(Grantee::Participant(Provider1.id()));
        let request = world.request(GrantAccess { grant, patient });
        let tx = world.signed(Provider1, &request);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let reason = world
        .read(Provider1, record.record_id, Purpose::Treat)
        .await;
    assert_eq!(reason, ReasonCode::NoGrant);
}

#[tokio::test]
async fn a_patient_does_not_act_under_another_pseudonym() {
    let (mut world, record) = World::with_record().await;
    let granted = world
        .give(Patient, Rule::permit(Grantee::Anyone, vec![Purpose::Treat]))
        .await;
    let patient = Some(Patient.pseudonym());
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let request = world.request(GrantAccess { grant, patient });
    let tx = world.signed(OtherPatient, &request);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let request = world.request(RevokeAccess {
        grant_id: granted.grant_id,
        patient,
    });
    let tx = world.signed(OtherPatient, &request);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let reason = world
        .read(OtherPatient, record.record_id, Purpose::Patrqt)
        .await;
    assert_eq!(reason, ReasonCode::RoleNotAllowed);
}

#[tokio::test]
async fn a_request_for_one_record_or_purpose_opens_no_other() {
    let mut world = World::populated().await;
    let (mine, other) = (world.record(1), world.record(2));
    let tx = world.register_records(&[mine.clone(), other.clone()]);
    world.ok(Oracle1, tx).await;
    let mut rule = Rule::permit(Grantee::Participant(Provider1.id()), vec![Purpose::Treat]);
    rule.records = vec![mine.record_id];
    world.give(Patient, rule).await;
    let good = world.request(AuthorizeRead {
        record_id: mine.record_id,
        purpose: Purpose::Treat,
        project: None,
    });
    let honest = jws::sign(Provider1.identity(), &json(&good)).unwrap();
    for body in [
        AuthorizeRead {
            record_id: other.record_id,
            ..good.body.clone()
        },
        AuthorizeRead {
            purpose: Purpose::Hresch,
            ..good.body.clone()
        },
    ] {
        let changed = SignedRequest {
            body,
            ..good.clone()
        };
        // The oracle changes what the reader signed.
        let forged = jws::sign(Provider2.identity(), &json(&changed)).unwrap();
        let (parts, forged): (Vec<_>, Vec<_>) =
            (honest.split('.').collect(), forged.split('.').collect());
        let tx = world.salted(transactions::AUTHORIZE_READ).transient(
            transient::REQUEST,
            [parts[0], forged[1], parts[2]].join("."),
        );
        world
            .refused(Oracle1, tx, ErrorCode::SignatureInvalid)
            .await;
        // The reader asks for more than was granted.
        let tx = world.signed(Provider1, &changed);
        let reason = world.decide(tx).await;
        assert!(reason != ReasonCode::Granted, "{reason}");
        world.now += 1;
    }
    assert_eq!(
        recorded(&mut world).await.len(),
        2,
        "what nobody signed is in nobody's name"
    );
}

#[tokio::test]
async fn a_guardian_acts_with_its_powers_while_they_last() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let patient = Some(Patient.pseudonym());
    let grant = async |world: &mut World| {
        let grant = world.grant(Grantee::Participant(Provider1.id()));
        let request = world.request(GrantAccess { grant, patient });
        world.signed(Guardian, &request)
    };
    let list = RecordFilter {
        patient: Patient.pseudonym(),
        record_type: None,
        from: None,
        to: None,
        page: contract_interface::PageRequest::default(),
    };
    let list = query(transactions::LIST_RECORDS, &list);

    let tx = grant(&mut world).await;
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::RoleNotAllowed);
    let asked = for_caller(list.clone(), Guardian);
    world.refused(Oracle1, asked, ErrorCode::Forbidden).await;

    let reader = delegate(&mut world, vec![Power::Read]).await;
    let tx = grant(&mut world).await;
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    world.now += 1;
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::Guardian);
    let asked = for_caller(list.clone(), Guardian);
    let page: RecordPage = world.get(Oracle1, asked).await;
    assert_eq!(page.records.len(), 1);
    // Who sends the proposal itself could date it back into an ended delegation.
    world
        .refused(Guardian, list.clone(), ErrorCode::Forbidden)
        .await;

    dismiss(&mut world, &reader).await;
    world.now += 1;
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::GuardianNotAllowed);
    let last = recorded(&mut world).await.pop().unwrap();
    assert_eq!(
        (last.decision, last.reader),
        (Decision::Deny, Guardian.id())
    );
    assert!(matches!(last.rule, Some(RuleRef::Delegation { .. })));
    let asked = for_caller(list, Guardian);
    world.refused(Oracle1, asked, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn what_a_guardian_gives_stands_in_its_name() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let patient = Some(Patient.pseudonym());
    world.now += 1;
    let delegation = delegate(&mut world, vec![Power::Grant]).await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let request = world.request(GrantAccess {
        grant: grant.clone(),
        patient,
    });
    let tx = world.signed(Guardian, &request);
    world.ok(Oracle1, tx).await;
    let filter = GrantFilter {
        patient,
        ..GrantFilter::default()
    };
    let tx = for_caller(query(transactions::LIST_GRANTS, &filter), Guardian);
    let page: GrantPage = world.get(Oracle1, tx).await;
    let entry: &GrantEntry = &page.grants[0];
    assert_eq!(entry.given_by, Guardian.id());
    assert_eq!(entry.delegation_id, Some(delegation.delegation_id));
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::Granted);
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::GuardianNotAllowed, "no power to read");

    let end = |world: &mut World| {
        let request = world.request(RevokeAccess {
            grant_id: grant.grant_id,
            patient,
        });
        world.signed(Guardian, &request)
    };
    world.now += 1;
    dismiss(&mut world, &delegation).await;
    let tx = end(&mut world);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    // The patient ends what the guardian gave.
    let tx = world.revoke_access(Patient, grant.grant_id);
    world.ok(Oracle1, tx).await;
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::NoGrant);
}

#[tokio::test]
async fn an_emergency_is_its_declarers_and_is_over_when_it_says() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let list = RecordFilter {
        patient: Patient.pseudonym(),
        record_type: None,
        from: None,
        to: None,
        page: contract_interface::PageRequest::default(),
    };
    let list = for_caller(query(transactions::LIST_RECORDS, &list), Provider1);
    let shown = async |world: &mut World| {
        let page: RecordPage = world.get(Oracle1, list.clone()).await;
        page.records.len()
    };
    assert_eq!(shown(&mut world).await, 0);
    let emergency_id = declare(&mut world, Provider1).await;
    assert_eq!(shown(&mut world).await, 1);
    world.now += 1;
    let reason = world.read(Provider1, id, Purpose::Btg).await;
    assert_eq!(reason, ReasonCode::Emergency);
    let last = recorded(&mut world).await.pop().unwrap();
    assert_eq!(last.rule, Some(RuleRef::Emergency { emergency_id }));
    for (who, purpose, expected) in [
        (Provider1, Purpose::Treat, ReasonCode::NoGrant),
        (Provider2, Purpose::Btg, ReasonCode::EmergencyNotDeclared),
    ] {
        assert_eq!(world.read(who, id, purpose).await, expected, "{who:?}");
    }
    world.now += 600;
    let reason = world.read(Provider1, id, Purpose::Btg).await;
    assert_eq!(reason, ReasonCode::EmergencyOver);
    assert_eq!(shown(&mut world).await, 0);
}

#[tokio::test]
async fn a_patient_may_forbid_even_emergencies() {
    let (mut world, record) = World::with_record().await;
    let mut rule = Rule::deny(Grantee::Anyone);
    rule.purposes = vec![Purpose::Btg];
    world.give(Patient, rule).await;
    declare(&mut world, Provider1).await;
    let reason = world.read(Provider1, record.record_id, Purpose::Btg).await;
    assert_eq!(reason, ReasonCode::GrantDenies);
}

#[tokio::test]
async fn nobody_but_an_oracle_carries_a_request_and_none_for_an_unknown_record() {
    let (mut world, record) = World::with_record().await;
    for who in [Provider1, Provider2, Patient, Auditor1] {
        let tx = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
    let unknown = RecordId::from_bytes([0; 16]);
    let tx = world.authorize_read(Provider1, unknown, Purpose::Treat);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;
    assert!(recorded(&mut world).await.is_empty());
}

#[tokio::test]
async fn a_guardian_sees_who_read_while_it_may_read() {
    let (mut world, record) = World::with_record().await;
    world
        .read(Provider1, record.record_id, Purpose::Treat)
        .await;
    let of_record = ReadFilter {
        record_id: Some(record.record_id),
        ..ReadFilter::default()
    };
    let of_patient = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let shown = async |world: &mut World| {
        let mut counts = vec![];
        for filter in [&of_record, &of_patient] {
            let tx = for_caller(query(transactions::LIST_READS, filter), Guardian);
            let page: ReadPage = world.get(Oracle1, tx).await;
            counts.push(page.reads.len());
        }
        counts
    };
    assert_eq!(shown(&mut world).await, [0, 0]);
    let delegation = delegate(&mut world, vec![Power::Read]).await;
    assert_eq!(shown(&mut world).await, [1, 1]);
    world.now += 1;
    dismiss(&mut world, &delegation).await;
    assert_eq!(shown(&mut world).await, [0, 0]);
}
