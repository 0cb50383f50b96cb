use contract_interface::limits::NONCE_BATCH_MAX;
use contract_interface::names::{collections, transactions, transient};
use contract_interface::{ErrorCode, Grantee, NoncesPurged, StaleNonces};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

const WINDOW: i64 = 300;

fn list() -> Tx {
    Tx::evaluate(transactions::LIST_STALE_NONCES)
}

fn purge(keys: &[String]) -> Tx {
    Tx::submit(transactions::PURGE_NONCES).transient(transient::NONCES, json(&keys))
}

fn kept(world: &World) -> Vec<String> {
    let mut keys = world.ledger.private_keys(collections::RECORDS);
    keys.retain(|key| key.starts_with("\0nonce\0"));
    keys
}

async fn tick(world: &mut World) {
    for oracle in [Oracle1, Oracle2] {
        let time = world.time(0).to_string();
        let tx = Tx::submit(transactions::TICK).argument(time);
        world.ok(oracle, tx).await;
    }
}

/// A channel on which a patient signed something once, and that transaction.
async fn with_nonce() -> (World, Tx) {
    let mut world = World::populated().await;
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx.clone()).await;
    (world, tx)
}

#[tokio::test]
async fn a_nonce_goes_when_its_request_is_refused_for_its_age() {
    let (mut world, used) = with_nonce().await;
    let keys = kept(&world);
    assert_eq!(keys.len(), 1);
    let signed_at = world.now;

    // One window by which the clocks may lag, and two to spare.
    world.now = signed_at + 3 * WINDOW;
    tick(&mut world).await;
    let stale: StaleNonces = world.get(Oracle1, list()).await;
    assert_eq!(stale.keys, [] as [String; 0]);
    world
        .refused(Oracle1, purge(&keys), ErrorCode::StateConflict)
        .await;

    world.now += 1;
    tick(&mut world).await;
    let stale: StaleNonces = world.get(Oracle1, list()).await;
    assert_eq!(stale.keys, keys);
    let result: NoncesPurged = world.get(Oracle1, purge(&keys)).await;
    assert_eq!(result.purged, 1);
    assert_eq!(kept(&world), [] as [String; 0]);
    let result: NoncesPurged = world.get(Oracle1, purge(&keys)).await;
    assert_eq!(result.purged, 0);

    // The request comes back, as it was and with the time that it was signed at.
    world
        .refused(Oracle1, used.clone(), ErrorCode::RequestExpired)
        .await;
    world.now = signed_at;
    world.refused(Oracle1, used, ErrorCode::TimeRefused).await;
}

#[tokio::test]
async fn without_clocks_nothing_goes() {
    let (mut world, _) = with_nonce().await;
    world.now += 1_000_000;
    let stale: StaleNonces = world.get(Oracle1, list()).await;
    assert_eq!(stale.keys, [] as [String; 0]);
    let keys = kept(&world);
    world
        .refused(Oracle1, purge(&keys), ErrorCode::TimeRefused)
        .await;
}

#[tokio::test]
async fn a_proposal_dated_into_the_future_purges_nothing() {
    let (mut world, _) = with_nonce().await;
    tick(&mut world).await;
    world.now += 1_000_000;
    let keys = kept(&world);
    world
        .refused(Oracle1, purge(&keys), ErrorCode::StateConflict)
        .await;
}

#[tokio::test]
async fn only_nonces_are_purged_and_only_by_oracles() {
    let (mut world, _) = with_nonce().await;
    world.now += 4 * WINDOW;
    tick(&mut world).await;
    let keys = kept(&world);
    for who in [Admin1, Auditor1, Patient, Provider1] {
        world.refused(who, purge(&keys), ErrorCode::Forbidden).await;
        world.refused(who, list(), ErrorCode::Forbidden).await;
    }
    let invalid = ErrorCode::InvalidArgument;
    let grant = world
        .ledger
        .private_keys(collections::RECORDS)
        .into_iter()
        .find(|key| key.starts_with("\0grant\0"))
        .unwrap();
    for foreign in [grant, "nonce".to_owned(), String::new()] {
        let mut keys = keys.clone();
        keys.push(foreign);
        world.refused(Oracle1, purge(&keys), invalid).await;
    }
    let none = Tx::submit(transactions::PURGE_NONCES);
    world.refused(Oracle1, none, invalid).await;
    let many: Vec<String> = (0..=NONCE_BATCH_MAX)
        .map(|n| format!("\0nonce\0{n}\0"))
        .collect();
    world
        .refused(Oracle1, purge(&many), ErrorCode::LimitExceeded)
        .await;
    assert_eq!(kept(&world), keys);
}
