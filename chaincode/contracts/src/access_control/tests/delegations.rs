use std::collections::BTreeMap;

use contract_interface::access::{
    Delegation, DelegationBasis, DelegationChanged, DelegationEntry, DelegationFilter,
    DelegationPage, Happening, NoticeFilter, NoticePage, Power,
};
use contract_interface::names::{events, transactions};
use contract_interface::{
    Delegate, DelegationId, ErrorCode, GrantAccess, GrantFilter, GrantId, GrantPage, GrantStatus,
    Grantee, PageRequest, Purpose, ReasonCode, RevokeDelegation, Role, Rule, Status,
};
use fabric_shim::testing::{Tx, ValidationCode};

use crate::testing::Who::*;
use crate::testing::*;

fn delegation(world: &mut World, guardian: Who, powers: &[Power]) -> Delegation {
    Delegation {
        delegation_id: DelegationId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        guardian: guardian.id(),
        powers: powers.to_vec(),
        basis: DelegationBasis::Patient,
        valid_from: world.time(-3600),
        valid_until: world.time(3600),
    }
}

fn delegate(world: &mut World, signer: Who, delegation: &Delegation) -> Tx {
    let request = world.request(Delegate {
        delegation: delegation.clone(),
    });
    world.signed(signer, &request)
}

fn revoke(world: &mut World, signer: Who, delegation: &Delegation) -> Tx {
    let request = world.request(RevokeDelegation {
        delegation_id: delegation.delegation_id,
        patient: delegation.patient,
        guardian: delegation.guardian,
        end_grants: false,
    });
    world.signed(signer, &request)
}

fn grant_for_patient(world: &mut World, signer: Who) -> Tx {
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let request = world.request(GrantAccess {
        grant,
        patient: Some(Patient.pseudonym()),
    });
    world.signed(signer, &request)
}

async fn given(world: &mut World, guardian: Who, powers: &[Power]) -> Delegation {
    let delegation = delegation(world, guardian, powers);
    let tx = delegate(world, Patient, &delegation);
    world.ok(Oracle1, tx).await;
    delegation
}

async fn listed(world: &mut World, who: Who, filter: &DelegationFilter) -> Vec<DelegationEntry> {
    let tx = for_caller(query(transactions::LIST_DELEGATIONS, filter), who);
    let page: DelegationPage = world.get(Oracle1, tx).await;
    page.delegations
}

fn of_patient() -> DelegationFilter {
    DelegationFilter {
        patient: Some(Patient.pseudonym()),
        ..DelegationFilter::default()
    }
}

#[tokio::test]
async fn a_guardian_acts_until_the_revocation_and_not_after() {
    let (mut world, record) = World::with_record().await;
    let tx = grant_for_patient(&mut world, Guardian);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;

    let powers = [Power::Read, Power::Grant];
    let delegation = given(&mut world, Guardian, &powers).await;
    let tx = grant_for_patient(&mut world, Guardian);
    world.ok(Oracle1, tx).await;
    let id = record.record_id;
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::Guardian);

    let tx = revoke(&mut world, Patient, &delegation);
    let result = world.ok(Oracle1, tx).await;
    let event = result.event.unwrap();
    assert_eq!(event.name, events::DELEGATION_CHANGED);
    let delegation_id = delegation.delegation_id;
    assert_eq!(event.payload, json(&DelegationChanged { delegation_id }));
    let tx = grant_for_patient(&mut world, Guardian);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let reason = world.read(Guardian, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::GuardianNotAllowed);
    let entry = &listed(&mut world, Patient, &of_patient()).await[0];
    assert_eq!((entry.status, entry.version), (GrantStatus::Revoked, 2));
    assert_eq!(entry.requests.len(), 2);
}

#[tokio::test]
async fn a_guardian_does_only_what_the_powers_say_and_while_they_last() {
    let (mut world, record) = World::with_record().await;
    given(&mut world, Guardian, &[Power::Read]).await;
    let tx = grant_for_patient(&mut world, Guardian);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let reason = world.read(Guardian, record.record_id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::RoleNotAllowed);
    world.now += 3600;
    let reason = world
        .read(Guardian, record.record_id, Purpose::Patrqt)
        .await;
    assert_eq!(reason, ReasonCode::GuardianNotAllowed);
}

#[tokio::test]
async fn the_basis_says_who_signs() {
    let mut world = World::populated().await;
    use DelegationBasis::{Attorney, Court, Parent, Patient as Own};
    for (basis, signer, good) in [
        (Own, Patient, true),
        (Own, OtherPatient, false),
        (Own, Guardian, false),
        (Own, Admin1, false),
        (Own, Provider1, false),
        (Parent, Admin1, true),
        (Court, Admin1, true),
        (Attorney, Admin1, true),
        (Parent, Patient, false),
        (Parent, Guardian, false),
        (Court, Admin2, false),
        (Court, Auditor1, false),
        (Attorney, Provider1, false),
    ] {
        let mut asked = delegation(&mut world, Guardian, &[Power::Read]);
        asked.basis = basis;
        let tx = delegate(&mut world, signer, &asked);
        if good {
            world.ok(Oracle1, tx).await;
        } else {
            world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
        }
    }
    let mut nobodys = delegation(&mut world, Guardian, &[Power::Read]);
    nobodys.basis = Parent;
    nobodys.patient = Provider1.pseudonym();
    let tx = delegate(&mut world, Admin1, &nobodys);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn a_suspended_patient_gives_no_power() {
    let mut world = World::populated().await;
    let mut registration = world.registration(Patient, Role::Patient);
    registration.status = Status::Suspended;
    let tx = world.register_participant(registration);
    world.ok(Oracle1, tx).await;
    let asked = delegation(&mut world, Guardian, &[Power::Read]);
    let tx = delegate(&mut world, Patient, &asked);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn an_administrator_does_not_become_a_guardian_by_the_own_word() {
    let mut world = World::populated().await;
    let mut own = delegation(&mut world, Admin1, &[Power::Read]);
    for basis in [
        DelegationBasis::Parent,
        DelegationBasis::Court,
        DelegationBasis::Attorney,
    ] {
        own.basis = basis;
        let tx = delegate(&mut world, Admin1, &own);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    // The patient may name whom it wants.
    own.basis = DelegationBasis::Patient;
    let tx = delegate(&mut world, Patient, &own);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn delegations_that_say_nothing_are_refused() {
    let mut world = World::populated().await;
    let good = delegation(&mut world, Guardian, &[Power::Read]);
    for bad in [
        Delegation {
            powers: vec![],
            ..good.clone()
        },
        Delegation {
            powers: vec![Power::Read, Power::Read],
            ..good.clone()
        },
        Delegation {
            valid_until: good.valid_from,
            ..good.clone()
        },
        Delegation {
            valid_until: world.time(0),
            ..good.clone()
        },
        Delegation {
            guardian: Patient.id(),
            ..good.clone()
        },
    ] {
        let tx = delegate(&mut world, Patient, &bad);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}

#[tokio::test]
async fn a_later_delegation_takes_the_place_and_an_earlier_one_does_not() {
    let mut world = World::populated().await;
    let first = delegation(&mut world, Guardian, &[Power::Read, Power::Grant]);
    let early = delegate(&mut world, Patient, &first);
    world.now += 1;
    let second = given(&mut world, Guardian, &[Power::Read]).await;
    world
        .refused(Oracle1, early, ErrorCode::StateConflict)
        .await;
    let again = delegate(&mut world, Patient, &second);
    world
        .refused(Oracle1, again, ErrorCode::StateConflict)
        .await;

    world.now += 1;
    let late = delegate(&mut world, Patient, &first);
    world.ok(Oracle1, late).await;
    let entries = listed(&mut world, Patient, &of_patient()).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].delegation, first);
    assert_eq!(entries[0].version, 2);
    let tx = revoke(&mut world, Patient, &second);
    world
        .refused(Oracle1, tx, ErrorCode::DelegationNotFound)
        .await;

    // A request from before the revocation does not bring it back, even with another ID.
    let mut other = first.clone();
    other.delegation_id = DelegationId::from_bytes(world.random_id());
    let kept_back = delegate(&mut world, Patient, &other);
    world.now += 1;
    let tx = revoke(&mut world, Patient, &first);
    world.ok(Oracle1, tx).await;
    world
        .refused(Oracle1, kept_back, ErrorCode::StateConflict)
        .await;
}

#[tokio::test]
async fn patient_guardian_and_administrator_end_a_delegation_and_nobody_else() {
    let mut world = World::populated().await;
    for (signer, good) in [
        (Patient, true),
        (Guardian, true),
        (Admin1, true),
        (Admin2, false),
        (OtherPatient, false),
        (Provider1, false),
        (Auditor1, false),
    ] {
        let delegation = given(&mut world, Guardian, &[Power::Read]).await;
        let tx = revoke(&mut world, signer, &delegation);
        if good {
            world.ok(Oracle1, tx).await;
            let tx = revoke(&mut world, signer, &delegation);
            world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
        } else {
            world
                .refused(Oracle1, tx, ErrorCode::DelegationNotFound)
                .await;
        }
        world.now += 1;
    }
    let unknown = delegation(&mut world, Provider1, &[Power::Read]);
    let tx = revoke(&mut world, Patient, &unknown);
    world
        .refused(Oracle1, tx, ErrorCode::DelegationNotFound)
        .await;
}

#[tokio::test]
async fn delegations_are_listed_to_those_whom_they_concern() {
    let mut world = World::populated().await;
    given(&mut world, Guardian, &[Power::Read]).await;
    given(&mut world, Provider1, &[Power::Read]).await;
    for (who, count) in [
        (Patient, 2),
        (Guardian, 1),
        (Provider1, 1),
        (Auditor1, 2),
        (Auditor2, 0),
        (OtherPatient, 0),
        (Provider2, 0),
    ] {
        let entries = listed(&mut world, who, &of_patient()).await;
        assert_eq!(entries.len(), count, "{who:?}");
    }
    let to_guardian = DelegationFilter {
        guardian: Some(Guardian.id()),
        ..DelegationFilter::default()
    };
    for (who, count) in [(Guardian, 1), (Patient, 1), (Provider1, 0), (Auditor2, 0)] {
        let entries = listed(&mut world, who, &to_guardian).await;
        assert_eq!(entries.len(), count, "{who:?}");
    }
    let mut filter = of_patient();
    filter.page.page_size = Some(1);
    let tx = query(transactions::LIST_DELEGATIONS, &filter);
    let first: DelegationPage = world.get(Oracle1, tx).await;
    filter.page.page_token = first.next_page_token;
    let tx = query(transactions::LIST_DELEGATIONS, &filter);
    let second: DelegationPage = world.get(Oracle1, tx.clone()).await;
    assert_ne!(first.delegations, second.delegations);
    assert_eq!(second.next_page_token, None);
    world
        .refused(Oracle2, tx, ErrorCode::PageTokenInvalid)
        .await;
    let both = DelegationFilter {
        patient: Some(Patient.pseudonym()),
        guardian: Some(Guardian.id()),
        page: PageRequest::default(),
    };
    for filter in [both, DelegationFilter::default()] {
        let tx = query(transactions::LIST_DELEGATIONS, &filter);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}

#[tokio::test]
async fn patient_and_guardian_are_told() {
    let mut world = World::populated().await;
    let delegation = given(&mut world, Guardian, &[Power::Read]).await;
    world.now += 1;
    let tx = revoke(&mut world, Guardian, &delegation);
    world.ok(Oracle1, tx).await;
    let happening = Happening::DelegationChanged {
        delegation_id: delegation.delegation_id,
    };
    for who in [Patient, Guardian] {
        let tx = query(transactions::LIST_NOTICES, &NoticeFilter::default());
        let page: NoticePage = world.get(Oracle1, for_caller(tx, who)).await;
        let told: Vec<_> = page.notices.iter().map(|n| n.happening.clone()).collect();
        assert_eq!(told, [happening.clone(), happening.clone()], "{who:?}");
    }
}

/// Has the guardian permit and deny something in the patient's name.
async fn rules_by_guardian(world: &mut World) -> [GrantId; 2] {
    let patient = Some(Patient.pseudonym());
    let permit = world.grant(Grantee::Participant(Provider1.id()));
    let denial = world.grant_of(Rule::deny(Grantee::Participant(Provider2.id())));
    for grant in [&permit, &denial] {
        let request = world.request(GrantAccess {
            grant: grant.clone(),
            patient,
        });
        let tx = world.signed(Guardian, &request);
        world.ok(Oracle1, tx).await;
    }
    [permit.grant_id, denial.grant_id]
}

fn end_grants(world: &mut World, signer: Who, delegation: &Delegation) -> Tx {
    let request = world.request(RevokeDelegation {
        delegation_id: delegation.delegation_id,
        patient: delegation.patient,
        guardian: delegation.guardian,
        end_grants: true,
    });
    world.signed(signer, &request)
}

/// What the patient is told of each grant: who gave it, and whether it stands.
async fn standing(world: &mut World) -> BTreeMap<GrantId, (bool, GrantStatus)> {
    let filter = GrantFilter {
        patient: Some(Patient.pseudonym()),
        ..GrantFilter::default()
    };
    let tx = for_caller(query(transactions::LIST_GRANTS, &filter), Patient);
    let page: GrantPage = world.get(Oracle1, tx).await;
    let told = page.grants.into_iter().map(|entry| {
        let by_guardian = entry.delegation_id.is_some();
        (entry.grant.grant_id, (by_guardian, entry.status))
    });
    told.collect()
}

#[tokio::test]
async fn what_a_guardian_gave_outlives_the_delegation_until_the_patient_ends_it() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let mine = world.grant(Grantee::Anyone);
    let tx = world.grant_access(Patient, &mine);
    world.ok(Oracle1, tx).await;
    let delegation = given(&mut world, Guardian, &[Power::Grant]).await;
    let [permit, denial] = rules_by_guardian(&mut world).await;
    let tx = revoke(&mut world, Patient, &delegation);
    world.ok(Oracle1, tx).await;
    let active = GrantStatus::Active;
    let told = standing(&mut world).await;
    assert_eq!(told[&mine.grant_id], (false, active));
    assert_eq!(told[&permit], (true, active));
    let tx = world.revoke_access(Patient, mine.grant_id);
    world.ok(Oracle1, tx).await;
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::Granted);

    // Afterwards, in one call. Denials stay: their end would open something.
    let tx = end_grants(&mut world, Patient, &delegation);
    world.ok(Oracle1, tx).await;
    world.now += 1;
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::GrantRevoked);
    let reason = world.read(Provider2, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::GrantDenies);
    let told = standing(&mut world).await;
    assert_eq!(told[&permit], (true, GrantStatus::Revoked));
    assert_eq!(told[&denial], (true, active));
    let tx = end_grants(&mut world, Patient, &delegation);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    // Room in the slot is made as ever.
    let tx = world.revoke_access(Patient, permit);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn a_delegation_ends_together_with_what_was_given_under_it_and_nothing_else() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    let first = given(&mut world, Guardian, &[Power::Grant]).await;
    rules_by_guardian(&mut world).await;
    let second = given(&mut world, Guardian, &[Power::Grant]).await;
    let [later, _] = rules_by_guardian(&mut world).await;
    // The first was replaced, and can be named still, but not by a stranger.
    for signer in [OtherPatient, Provider1] {
        let tx = end_grants(&mut world, signer, &first);
        let missing = ErrorCode::DelegationNotFound;
        world.refused(Oracle1, tx, missing).await;
    }
    let tx = end_grants(&mut world, Patient, &first);
    world.ok(Oracle1, tx).await;
    let standing_now = |told: BTreeMap<GrantId, (bool, GrantStatus)>| {
        let stands = |(_, (_, status)): &(_, (bool, GrantStatus))| *status == GrantStatus::Active;
        told.into_iter().filter(stands).count()
    };
    // Two denials, and the permit under the second delegation.
    assert_eq!(standing_now(standing(&mut world).await), 3);
    assert_eq!(standing(&mut world).await[&later].1, GrantStatus::Active);
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::Granted);
    let tx = end_grants(&mut world, Admin1, &second);
    world.ok(Oracle1, tx).await;
    world.now += 1;
    let reason = world.read(Provider1, id, Purpose::Treat).await;
    assert_eq!(reason, ReasonCode::GrantRevoked);
    let guardian = DelegationFilter {
        patient: Some(Patient.pseudonym()),
        ..DelegationFilter::default()
    };
    let entries = listed(&mut world, Patient, &guardian).await;
    assert_eq!(entries[0].status, GrantStatus::Revoked);
}

#[tokio::test]
async fn a_read_endorsed_before_the_end_of_a_guardians_permits_is_not_valid_after_it() {
    let (mut world, record) = World::with_record().await;
    let delegation = given(&mut world, Guardian, &[Power::Grant]).await;
    rules_by_guardian(&mut world).await;
    let tx = end_grants(&mut world, Patient, &delegation);
    let end = world.simulate(Oracle1, tx).await;
    let tx = world.authorize_read(Provider1, record.record_id, Purpose::Treat);
    let read = world.simulate(Oracle1, tx).await;
    assert_eq!(
        world.ledger.commit(&[end, read]),
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
}
