use contract_interface::access::GrantChanged;
use contract_interface::names::{events, transactions};
use contract_interface::{
    ErrorCode, Grant, GrantEntry, GrantFilter, GrantId, GrantPage, GrantStatus, Grantee, MspId,
    PageRequest, Purpose, ReasonCode, Role, Rule,
};

use crate::testing::Who::*;
use crate::testing::*;

const LIST: &str = transactions::LIST_GRANTS;

fn org(n: u8) -> MspId {
    format!("Org{n}MSP").parse().unwrap()
}

async fn give(world: &mut World, signer: Who, grant: &Grant) -> GrantId {
    let tx = world.grant_access(signer, grant);
    let changed: GrantChanged = world.get(Oracle1, tx).await;
    assert_eq!(changed.grant_id, grant.grant_id);
    grant.grant_id
}

async fn listed(world: &mut World, who: Who, mut filter: GrantFilter) -> Vec<GrantEntry> {
    let mut grants = Vec::new();
    loop {
        let page: GrantPage = world.get(who, query(LIST, &filter)).await;
        grants.extend(page.grants);
        match page.next_page_token {
            Some(token) => filter.page.page_token = Some(token),
            None => return grants,
        }
    }
}

fn of(patient: Who) -> GrantFilter {
    GrantFilter {
        patient: Some(patient.pseudonym()),
        ..GrantFilter::default()
    }
}

fn to(grantee: Who) -> GrantFilter {
    GrantFilter {
        grantee: Some(grantee.id()),
        ..GrantFilter::default()
    }
}

#[tokio::test]
async fn a_grant_is_given_and_ended_by_its_patient() {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider2.id()));
    let tx = world.grant_access(Patient, &grant);
    let given = world.ok(Oracle1, tx).await;
    let event = given.event.unwrap();
    assert_eq!(event.name, events::GRANT_GIVEN);
    assert_eq!(
        event.payload,
        json(&GrantChanged {
            grant_id: grant.grant_id
        })
    );

    let entries = listed(&mut world, Patient, of(Patient)).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].grant, grant);
    assert_eq!(
        (entries[0].status, entries[0].version),
        (GrantStatus::Active, 1)
    );

    world.now += 10;
    let tx = world.revoke_access(Patient, grant.grant_id);
    let revoked = world.ok(Oracle2, tx).await;
    assert_eq!(revoked.event.unwrap().name, events::GRANT_REVOKED);
    let entry = listed(&mut world, Patient, of(Patient)).await.remove(0);
    assert_eq!((entry.status, entry.version), (GrantStatus::Revoked, 2));
    assert_eq!(
        (entry.revoked_at, entry.requests.len()),
        (Some(world.time(0)), 2)
    );
    let tx = world.revoke_access(Patient, grant.grant_id);
    world.refused(Oracle1, tx, ErrorCode::GrantConflict).await;
    let tx = world.grant_access(Patient, &grant);
    world.refused(Oracle1, tx, ErrorCode::GrantConflict).await;
}

#[tokio::test]
async fn only_the_patient_gives_and_only_the_giver_ends() {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    for signer in [Provider1, Oracle1, Auditor1] {
        let tx = world.grant_access(signer, &grant);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    give(&mut world, Patient, &grant).await;
    let tx = world.revoke_access(OtherPatient, grant.grant_id);
    world.refused(Oracle1, tx, ErrorCode::GrantNotFound).await;
    let tx = world.revoke_access(Provider1, grant.grant_id);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn another_patients_grant_with_the_same_id_is_another_grant() {
    let (mut world, record) = World::with_record().await;
    let mut grant = world.grant(Grantee::Participant(Provider1.id()));
    give(&mut world, OtherPatient, &grant).await;
    let id = record.record_id;
    assert_eq!(
        world.read(Provider1, id, Purpose::Treat).await,
        ReasonCode::NoGrant
    );
    grant.rule.purposes = vec![Purpose::Hresch];
    give(&mut world, Patient, &grant).await;
    assert_eq!(
        world.read(Provider1, id, Purpose::Hresch).await,
        ReasonCode::Granted
    );
    assert_eq!(
        world.read(Provider1, id, Purpose::Treat).await,
        ReasonCode::PurposeNotCovered
    );
}

#[tokio::test]
async fn a_grant_that_makes_no_sense_is_refused() {
    let mut world = World::populated().await;
    let good = world.grant(Grantee::Organization(org(2)));
    let (past, before) = (world.time(0), world.time(-7200));
    let rule = |change: &dyn Fn(&mut Rule)| {
        let mut grant = good.clone();
        change(&mut grant.rule);
        grant
    };
    for grant in [
        Grant {
            valid_until: past,
            ..good.clone()
        },
        Grant {
            valid_until: before,
            ..good.clone()
        },
        Grant {
            max_reads: Some(0),
            ..good.clone()
        },
        rule(&|rule| rule.purposes = vec![]),
        rule(&|rule| {
            rule.types = (0..65).map(|n| format!("t{n}").parse().unwrap()).collect();
        }),
        rule(&|rule| {
            rule.grantee = Grantee::Role {
                msp_id: org(2),
                role: Role::Patient,
            };
        }),
    ] {
        let tx = world.grant_access(Patient, &grant);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}

#[tokio::test]
async fn grants_are_listed_to_those_whom_they_concern() {
    let mut world = World::populated().await;
    let to_one = world.grant(Grantee::Participant(Provider1.id()));
    let to_organization = world.grant(Grantee::Organization(org(2)));
    let to_role = world.grant(Grantee::Role {
        msp_id: org(1),
        role: Role::Provider,
    });
    for grant in [&to_one, &to_organization, &to_role] {
        give(&mut world, Patient, grant).await;
    }
    let other = world.grant(Grantee::Participant(Provider1.id()));
    give(&mut world, OtherPatient, &other).await;

    for (who, filter, expected) in [
        (
            Patient,
            of(Patient),
            vec![&to_one, &to_organization, &to_role],
        ),
        (
            Oracle2,
            of(Patient),
            vec![&to_one, &to_organization, &to_role],
        ),
        (
            Auditor1,
            of(Patient),
            vec![&to_one, &to_organization, &to_role],
        ),
        (Auditor2, of(Patient), vec![&to_organization]),
        (Provider1, of(Patient), vec![&to_one, &to_role]),
        (Provider2, of(Patient), vec![&to_organization]),
        (OtherPatient, of(Patient), vec![]),
        (Provider1, to(Provider1), vec![&to_one, &to_role, &other]),
        (Provider2, to(Provider2), vec![&to_organization]),
        (Provider2, to(Provider1), vec![]),
        (Patient, to(Provider1), vec![&to_one, &to_role]),
        (Oracle1, to(Provider1), vec![&to_one, &to_role, &other]),
    ] {
        for page_size in [1, 2, 50] {
            let page = PageRequest {
                page_size: Some(page_size),
                page_token: None,
            };
            let filter = GrantFilter {
                page,
                ..filter.clone()
            };
            let entries = listed(&mut world, who, filter.clone()).await;
            let mut ids: Vec<_> = entries.iter().map(|entry| entry.grant.grant_id).collect();
            let mut expected: Vec<_> = expected.iter().map(|grant| grant.grant_id).collect();
            ids.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ids, expected, "{who:?} {filter:?}");
        }
    }
    let both = GrantFilter {
        grantee: Some(Provider1.id()),
        ..of(Patient)
    };
    for filter in [GrantFilter::default(), both] {
        world
            .refused(Oracle1, query(LIST, &filter), ErrorCode::InvalidArgument)
            .await;
    }
    let tx = query(LIST, &to(Nobody));
    world
        .refused(Oracle1, tx, ErrorCode::ParticipantNotFound)
        .await;
    world
        .refused(
            Oracle1,
            for_caller(query(LIST, &of(Patient)), Nobody),
            ErrorCode::UnknownParticipant,
        )
        .await;
}

#[tokio::test]
async fn a_denial_is_not_shown_to_whom_it_denies() {
    let mut world = World::populated().await;
    let mut to_one = world.grant(Grantee::Participant(Provider2.id()));
    to_one.rule = Rule::deny(to_one.rule.grantee);
    let mut to_organization = world.grant(Grantee::Organization(org(2)));
    to_organization.rule = Rule::deny(to_organization.rule.grantee);
    for grant in [&to_one, &to_organization] {
        give(&mut world, Patient, grant).await;
        let tx = query_text(transactions::GET_GRANT, &Patient.pseudonym());
        let tx = tx.argument(grant.grant_id.to_string());
        for who in [Provider2, Auditor2, Admin2] {
            world
                .refused(who, tx.clone(), ErrorCode::GrantNotFound)
                .await;
        }
        for who in [Patient, Auditor1, Oracle2] {
            let entry: GrantEntry = world.get(who, tx.clone()).await;
            assert_eq!(entry.grant, *grant, "{who:?}");
        }
    }
    for (who, filter, count) in [
        (Provider2, of(Patient), 0),
        (Provider2, to(Provider2), 0),
        (Auditor2, of(Patient), 0),
        (Patient, of(Patient), 2),
    ] {
        assert_eq!(
            listed(&mut world, who, filter).await.len(),
            count,
            "{who:?}"
        );
    }
}

#[tokio::test]
async fn one_grant_is_shown_to_those_whom_it_concerns() {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    give(&mut world, Patient, &grant).await;
    let tx = |patient: Who, id: GrantId| {
        query_text(transactions::GET_GRANT, &patient.pseudonym()).argument(id.to_string())
    };
    for who in [Patient, Provider1, Oracle1, Oracle2, Auditor1, Admin1] {
        let entry: GrantEntry = world.get(who, tx(Patient, grant.grant_id)).await;
        assert_eq!(entry.grant, grant, "{who:?}");
    }
    for who in [OtherPatient, Provider2, Provider3, Auditor2] {
        world
            .refused(who, tx(Patient, grant.grant_id), ErrorCode::GrantNotFound)
            .await;
    }
    for (patient, id) in [
        (OtherPatient, grant.grant_id),
        (Patient, GrantId::from_bytes([0; 16])),
    ] {
        world
            .refused(Oracle1, tx(patient, id), ErrorCode::GrantNotFound)
            .await;
    }
}
