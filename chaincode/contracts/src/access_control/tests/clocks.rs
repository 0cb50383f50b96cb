use contract_interface::names::transactions;
use contract_interface::{ErrorCode, Grantee, OrganizationClock, UtcTime};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

fn tick(time: UtcTime) -> Tx {
    Tx::submit(transactions::TICK).argument(time.to_string())
}

#[tokio::test]
async fn a_clock_goes_forward_only() {
    let mut world = World::populated().await;
    let now = world.time(0);
    let clock: OrganizationClock = world.get(Oracle1, tick(now)).await;
    assert_eq!((clock.msp_id.as_str(), clock.time), ("Org1MSP", now));
    let again = world.ok(Oracle1, tick(now)).await;
    assert!(again.writes.is_empty());
    world
        .refused(Oracle1, tick(world.time(-1)), ErrorCode::TimeRefused)
        .await;
    // Another organisation has a clock of its own.
    world.ok(Oracle2, tick(world.time(-1))).await;
    world.now += 10;
    world.ok(Oracle1, tick(world.time(0))).await;
}

#[tokio::test]
async fn a_tick_is_about_the_transactions_time() {
    let mut world = World::populated().await;
    for (offset, good) in [(-301, false), (301, false), (-300, true), (300, true)] {
        let tx = tick(world.time(offset));
        if good {
            world.ok(Oracle1, tx).await;
        } else {
            world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
        }
    }
    let tx = Tx::submit(transactions::TICK).argument("now");
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
}

#[tokio::test]
async fn only_oracles_tick() {
    let mut world = World::populated().await;
    for who in [Admin1, Auditor1, Patient, Provider1, Nobody] {
        let tx = tick(world.time(0));
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
}

#[tokio::test]
async fn who_goes_back_in_time_is_refused() {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    let signed_then = world.now;

    // One of two clocks is enough: going back needs more than half.
    world.now += 1000;
    world.ok(Oracle2, tick(world.time(0))).await;
    world.now = signed_then;
    world.ok(Oracle1, tick(world.time(0))).await;
    world
        .refused(Oracle1, tx.clone(), ErrorCode::TimeRefused)
        .await;

    world.now = signed_then + 700;
    let later = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &later);
    world.ok(Oracle1, tx).await;
    world.now -= 1;
    let tx = world.grant_access(Patient, &grant);
    world.refused(Oracle1, tx, ErrorCode::TimeRefused).await;
}
