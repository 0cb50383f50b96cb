//! Attacks on a denial: the registrar amends the record that its patient closed, so that a reader
//! gets under another name what is denied under the first.

use contract_interface::{
    Grant, GrantAccess, GrantId, Grantee, Purpose, ReasonCode, RecordEntry, RecordId, RevokeAccess,
    Rule, names::transactions,
};
use salus_tests::system::Platform;

use super::{Scene, carrying, oracles, permit, read_of, seconds_from_now};

pub(super) async fn attack(platform: Platform) {
    let scene = Scene::start(platform).await;
    let all = permit(
        Grantee::Anyone,
        seconds_from_now(-60),
        seconds_from_now(3000),
    );
    scene.give(0, &all).await;
    a_denied_record_is_amended(&scene).await;
    scene.running.system.stop().await.unwrap();
}

async fn a_denied_record_is_amended(scene: &Scene) {
    let (granted, denied) = (ReasonCode::Granted, ReasonCode::GrantDenies);
    let first = scene.record;
    assert_eq!(reason(scene, first).await, granted);
    let denial = deny(scene, first).await;
    assert_eq!(reason(scene, first).await, denied);

    let second = amend(scene, first, 2).await;
    let third = amend(scene, second, 3).await;
    for (case, version) in [("first", first), ("second", second), ("third", third)] {
        assert_eq!(reason(scene, version).await, denied, "{case} version");
    }
    explained(scene, third, denied).await;

    // The patient's word ends it for all, and a denial of the last one is for the first as well.
    let revoke = RevokeAccess {
        grant_id: denial,
        patient: None,
    };
    let jws = scene.oracle.sign(&scene.patient(0), revoke);
    let ordered = scene.carry(transactions::REVOKE_ACCESS, &jws).await;
    assert_eq!(ordered.unwrap().code, 0);
    assert_eq!(reason(scene, third).await, granted);
    deny(scene, third).await;
    assert_eq!(reason(scene, first).await, denied);
    assert_eq!(reason(scene, third).await, denied);
}

/// The patient denies one record to everyone.
async fn deny(scene: &Scene, record: RecordId) -> GrantId {
    let all = permit(
        Grantee::Anyone,
        seconds_from_now(-60),
        seconds_from_now(3000),
    );
    let grant = Grant {
        rule: Rule {
            records: vec![record],
            ..Rule::deny(Grantee::Anyone)
        },
        ..all
    };
    let body = GrantAccess {
        grant: grant.clone(),
        patient: None,
    };
    let jws = scene.oracle.sign(&scene.patient(0), body);
    let ordered = scene.carry(transactions::GRANT_ACCESS, &jws).await;
    assert_eq!(ordered.unwrap().code, 0);
    grant.grant_id
}

/// The registrar's oracle registers the record again, as the version after `previous`.
async fn amend(scene: &Scene, previous: RecordId, version: u32) -> RecordId {
    let own = scene.running.system.oracle.identity.private_key().unwrap();
    let all = oracles::wraps(&scene.oracle, scene).await;
    let wrap = all.for_kid(own.public_key().thumbprint()).unwrap();
    let data_key = own.unwrap(&wrap.jwe).unwrap();
    let (entry, metadata) = oracles::forged_record(scene).await;
    let entry = RecordEntry {
        version,
        previous: Some(previous),
        ..entry
    };
    let wraps = oracles::wraps_for(scene, &entry, &data_key);
    let ordered = oracles::register(&scene.oracle, &entry, &metadata, &wraps).await;
    assert_eq!(ordered.unwrap().code, 0);
    entry.record_id
}

/// What the ledger decides on the provider's read of a record.
async fn reason(scene: &Scene, record: RecordId) -> ReasonCode {
    let jws = scene.oracle.sign(&scene.provider(), read_of(record));
    let outcome = scene
        .oracle
        .submit(carrying(transactions::AUTHORIZE_READ, &jws))
        .await;
    scene.recorded("a version", outcome).await.reason
}

/// The patient is told the same before anyone reads.
async fn explained(scene: &Scene, record: RecordId, expected: ReasonCode) {
    let reader = scene.running.cast.provider_id;
    let call = fabric_gateway::Call::new(transactions::EXPLAIN_READ)
        .argument(record.to_string())
        .argument(reader.to_string())
        .argument(Purpose::Treat.to_string())
        .argument("")
        .argument(seconds_from_now(0).to_string());
    let told = scene.oracle.evaluate(call).await.unwrap();
    let told: contract_interface::access::Explanation = serde_json::from_slice(&told).unwrap();
    assert_eq!(told.verdict.reason, expected);
}
