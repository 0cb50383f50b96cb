//! Whose registration says that it is suspended acts no more, whatever its certificate says.

use contract_interface::names::transactions;
use contract_interface::record::RegisteredFilter;
use contract_interface::{ErrorCode, Purpose, ReasonCode, Role, Status};

use crate::testing::Who::*;
use crate::testing::*;

async fn set(world: &mut World, by: Who, who: Who, role: Role, status: Status) {
    let mut registration = world.registration(who, role);
    registration.status = status;
    let tx = world.register_participant(registration);
    world.ok(by, tx).await;
}

#[tokio::test]
async fn a_suspended_oracle_does_nothing_until_it_is_active_again() {
    let (mut world, record) = World::with_record().await;
    let id = record.record_id;
    set(&mut world, Admin1, Oracle1, Role::Oracle, Status::Suspended).await;

    let forbidden = ErrorCode::Forbidden;
    let read = world.authorize_read(Patient, id, Purpose::Patrqt);
    world.refused(Oracle1, read, forbidden).await;
    let register = world.record(2);
    let tx = world.register_records(std::slice::from_ref(&register));
    world.refused(Oracle1, tx, forbidden).await;
    let tx = query_text(transactions::GET_WRAPS, &id);
    world.refused(Oracle1, tx.clone(), forbidden).await;
    world
        .refused(Oracle1, for_caller(tx, Patient), forbidden)
        .await;
    let list = query(transactions::LIST_REGISTERED, &RegisteredFilter::default());
    world.refused(Oracle1, list.clone(), forbidden).await;
    // Nor does it lift its own suspension.
    let own = world.registration(Oracle1, Role::Oracle);
    let tx = world.register_participant(own);
    world.refused(Oracle1, tx, forbidden).await;
    // The other organisation's oracle is not concerned.
    let read = world.authorize_read(Patient, id, Purpose::Patrqt);
    world.ok(Oracle2, read).await;

    set(&mut world, Admin1, Oracle1, Role::Oracle, Status::Active).await;
    let tx = world.register_records(&[register]);
    world.ok(Oracle1, tx).await;
    world.now += 1;
    let reason = world.read(Patient, id, Purpose::Patrqt).await;
    assert_eq!(reason, ReasonCode::OwnRecord);
}

#[tokio::test]
async fn a_suspended_administrator_or_auditor_sees_and_does_nothing() {
    let mut world = World::populated().await;
    let list = query(transactions::LIST_REGISTERED, &RegisteredFilter::default());
    for (who, role) in [(Admin1, Role::Admin), (Auditor1, Role::Auditor)] {
        world.ok(who, list.clone()).await;
        set(&mut world, Oracle1, who, role, Status::Revoked).await;
        world.refused(who, list.clone(), ErrorCode::Forbidden).await;
    }
    let tx = world.register_device(&world.device());
    world.refused(Admin1, tx, ErrorCode::Forbidden).await;
}
