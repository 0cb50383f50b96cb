//! Attacks by oracles: one that skips the decision, and one of another organisation.

use contract_interface::{
    Confidentiality, ErrorCode, Grantee, KeyWrap, Record, RecordEntry, RecordPrivate, RecordWraps,
    RegisterRecords, Salt,
    names::{transactions, transient},
    record::{WrapChange, WrapChanges},
};
use fabric_gateway::Call;
use salus::signing;
use salus_tests::{story, system::Platform};
use sealed_object::{AssociatedData, PublicKey};

use super::{Scene, permit, seconds_from_now};
use crate::{
    rogue::{Ordered, Refusal, Rogue},
    support::{in_contracts_log, until},
};

pub(super) async fn attack(platform: Platform) {
    let scene = Scene::start(platform).await;
    let grantee = Grantee::Participant(scene.running.cast.provider_id);
    let grant = permit(grantee, seconds_from_now(-60), seconds_from_now(3000));
    scene.give(0, &grant).await;
    the_decision_is_skipped(&scene).await;
    another_organisations_oracle(&scene).await;
    wraps_for_whom_nobody_named(&scene).await;
    an_object_under_another_name(&scene).await;
    scene.running.system.stop().await.unwrap();
}

/// The wraps of a record, by an oracle that asks for them without a read.
pub(super) async fn wraps(rogue: &Rogue, scene: &Scene) -> RecordWraps {
    let call = Call::new(transactions::GET_WRAPS).argument(scene.record.to_string());
    serde_json::from_slice(&rogue.evaluate(call).await.unwrap()).unwrap()
}

/// The wrap that the grant brought, once the oracle's job has made it.
async fn gated_wrap(scene: &Scene) -> KeyWrap {
    let key = scene.running.cast.provider.private_key().unwrap();
    let kid = key.public_key().thumbprint().to_owned();
    until("the wrap that a grant brings", || async {
        wraps(&scene.oracle, scene).await.for_kid(&kid).cloned()
    })
    .await
}

/// The grantee and an oracle of the grantee's organisation take the wraps and skip the read.
async fn the_decision_is_skipped(scene: &Scene) {
    let before = scene.reads().await;
    let wrap = gated_wrap(scene).await;
    let all = wraps(&scene.other_oracle, scene).await;
    let provider = scene.running.cast.provider.private_key().unwrap();
    let other_oracle = scene.other_oracle_keys.private_key().unwrap();
    assert!(all.wraps.len() >= 3, "patient, oracle and grantee");
    for wrap in &all.wraps {
        for key in [&provider, &other_oracle] {
            assert!(key.unwrap(&wrap.jwe).is_err(), "a key before the read");
            assert!(key.ungate(&wrap.jwe).is_err(), "a gate opened by another");
        }
    }
    // The gate's key alone gets at the grantee's wrap, not at the data key; the grantee's key
    // opens what the gate lets out.
    assert!(wrap.gate.is_some(), "the grantee's wrap has no gate");
    let gate = scene.running.system.oracle.identity.private_key().unwrap();
    let inner = gate.ungate(&wrap.jwe).unwrap();
    assert!(gate.unwrap(&inner).is_err(), "the gate opens the data key");
    assert!(provider.unwrap(&inner).is_ok());
    assert_eq!(scene.reads().await, before);
    let shown = |rogue: &Rogue| {
        in_contracts_log(&scene.running.system, "wraps shown", None, &rogue.identity)
    };
    assert!(shown(&scene.other_oracle) > 0, "nobody knows who took them");

    // A provider gets no wraps at all.
    let info = scene.running.system.network.info();
    let provider = Rogue::at(info, 1, &scene.running.cast.provider);
    let call = Call::new(transactions::GET_WRAPS).argument(scene.record.to_string());
    let refusal = provider.evaluate(call).await.unwrap_err();
    assert_eq!(refusal.code, Some(ErrorCode::Forbidden), "{}", refusal.text);
    is_logged(scene, &provider, "GetWraps");
}

/// The contracts' log holds the refusal of this call by this one.
fn is_logged(scene: &Scene, rogue: &Rogue, function: &str) {
    let lines = in_contracts_log(
        &scene.running.system,
        "transaction refused",
        Some(function),
        &rogue.identity,
    );
    assert!(lines > 0, "no line on the refused {function}");
}

/// An oracle may do nothing about records of another organisation.
async fn another_organisations_oracle(scene: &Scene) {
    let key = scene.other_oracle_keys.private_key().unwrap();
    let forged = scene.running.system.oracle.identity.private_key().unwrap();
    let data_key = wraps(&scene.oracle, scene)
        .await
        .for_kid(forged.public_key().thumbprint())
        .map(|wrap| forged.unwrap(&wrap.jwe).unwrap())
        .unwrap();
    let wrap = KeyWrap::plain(
        key.public_key().thumbprint().to_owned(),
        key.public_key().wrap(&data_key).unwrap(),
    );
    let refusal = change(&scene.other_oracle, scene, vec![wrap], vec![]).await;
    assert_code(&refusal.unwrap_err(), &[ErrorCode::Forbidden]);
    is_logged(scene, &scene.other_oracle, "ChangeWraps");

    // Registering in the first organisation's name.
    let (entry, metadata) = forged_record(scene).await;
    let wraps = wraps_for(scene, &entry, &data_key);
    let refusal = register(&scene.other_oracle, &entry, &metadata, &wraps).await;
    assert_code(
        &refusal.unwrap_err(),
        &[
            ErrorCode::Forbidden,
            ErrorCode::InvalidArgument,
            ErrorCode::DeviceNotFound,
        ],
    );
    is_logged(scene, &scene.other_oracle, "RegisterRecords");

    // Erasing and completing what is another's.
    for transaction in [
        transactions::CONFIRM_REMOVAL,
        transactions::COMPLETE_ERASURE,
    ] {
        let call = Call::new(transaction).transient(transient::RECORD_ID, scene.record.to_string());
        let call = match transaction {
            transactions::COMPLETE_ERASURE => call.argument("force"),
            _ => call,
        };
        scene
            .other_oracle
            .submit(call)
            .await
            .expect_err(transaction);
        let function = transaction.rsplit(':').next().unwrap();
        is_logged(scene, &scene.other_oracle, function);
    }
}

/// An oracle adds wraps only for the patient, its own organisation's oracles, and those whom a
/// grant names.
async fn wraps_for_whom_nobody_named(scene: &Scene) {
    let own = scene.running.system.oracle.identity.private_key().unwrap();
    let all = wraps(&scene.oracle, scene).await;
    let data_key = all.for_kid(own.public_key().thumbprint()).unwrap();
    let data_key = own.unwrap(&data_key.jwe).unwrap();
    let intruder = scene.intruder.private_key().unwrap();
    let plain = KeyWrap::plain(
        intruder.public_key().thumbprint().to_owned(),
        intruder.public_key().wrap(&data_key).unwrap(),
    );
    let grantee = scene.running.cast.provider.private_key().unwrap();
    let ungated = KeyWrap {
        grant_id: gated_wrap(scene).await.grant_id,
        ..KeyWrap::plain(
            grantee.public_key().thumbprint().to_owned(),
            grantee.public_key().wrap(&data_key).unwrap(),
        )
    };
    let patient = scene.running.cast.patients[0].person.private_key().unwrap();
    let patients = patient.public_key().thumbprint().to_owned();
    let cases = [
        ("a wrap for an intruder", vec![plain], vec![]),
        ("a wrap without a gate", vec![ungated], vec![]),
        ("the patient's wrap removed", vec![], vec![patients]),
    ];
    for (case, add, remove) in cases {
        let refusal = change(&scene.oracle, scene, add, remove).await;
        let refusal = refusal.expect_err(case);
        assert!(refusal.code.is_some(), "{case}: {}", refusal.text);
    }
    assert_eq!(wraps(&scene.oracle, scene).await, all, "a wrap changed");
    is_logged(scene, &scene.oracle, "ChangeWraps");
}

async fn change(
    rogue: &Rogue,
    scene: &Scene,
    add: Vec<KeyWrap>,
    remove: Vec<String>,
) -> Result<Ordered, Refusal> {
    let changes = WrapChanges {
        changes: vec![WrapChange {
            record_id: scene.record,
            remove,
            add,
        }],
    };
    let call = Call::new(transactions::CHANGE_WRAPS).transient(
        transient::WRAP_CHANGES,
        serde_json::to_vec(&changes).unwrap(),
    );
    rogue.submit(call).await
}

/// The registrar itself registers the first patient's object a second time, under another name:
/// the ledger takes it, since it cannot look inside, and the reader's client refuses it, since the
/// object is bound to the record that it was sealed for.
async fn an_object_under_another_name(scene: &Scene) {
    let own = scene.running.system.oracle.identity.private_key().unwrap();
    let all = wraps(&scene.oracle, scene).await;
    let wrap = all.for_kid(own.public_key().thumbprint()).unwrap();
    let data_key = own.unwrap(&wrap.jwe).unwrap();
    let (entry, metadata) = forged_record(scene).await;
    let wraps = wraps_for(scene, &entry, &data_key);
    let ordered = register(&scene.oracle, &entry, &metadata, &wraps).await;
    assert_eq!(ordered.unwrap().code, 0);
    let client = story::client(&scene.running.cast.patients[0].person).unwrap();
    let refused = client
        .read(&entry.record_id, contract_interface::Purpose::Patrqt)
        .await;
    let error = refused.expect_err("an object under another name");
    assert!(
        matches!(error, salus::ClientError::Integrity { .. }),
        "{error:?}"
    );
    // It opens as what it was sealed as, so it was the name.
    let original = record(scene).await;
    let associated_data = AssociatedData {
        record_id: *original.metadata.record_id.as_bytes(),
        commitment: *original.state.commitment.as_bytes(),
    };
    let forged = AssociatedData {
        record_id: *entry.record_id.as_bytes(),
        commitment: *entry.commitment.as_bytes(),
    };
    let sealed = scene.running.object(&original.metadata.cid).await;
    assert!(sealed_object::open(&data_key, &associated_data, &sealed).is_ok());
    assert!(sealed_object::open(&data_key, &forged, &sealed).is_err());
}

/// The record under attack, as the ledger has it.
pub(super) async fn record(scene: &Scene) -> Record {
    let call = Call::new(transactions::GET_RECORD).argument(scene.record.to_string());
    serde_json::from_slice(&scene.oracle.evaluate(call).await.unwrap()).unwrap()
}

/// A record like the first patient's with another ID and salt, around the same object.
pub(super) async fn forged_record(scene: &Scene) -> (RecordEntry, RecordPrivate) {
    let record = record(scene).await;
    let metadata = RecordPrivate {
        record_id: contract_interface::RecordId::from_bytes(signing::random().unwrap()),
        salt: Salt::from_bytes(signing::random().unwrap()).unwrap(),
        confidentiality: Confidentiality::N,
        ..record.metadata
    };
    let entry = RecordEntry {
        record_id: metadata.record_id,
        object_sha256: record.state.object_sha256,
        commitment: metadata.commitment(),
        version: 1,
        previous: None,
    };
    (entry, metadata)
}

pub(super) fn wraps_for(
    scene: &Scene,
    entry: &RecordEntry,
    data_key: &sealed_object::DataKey,
) -> RecordWraps {
    let patient = scene.running.cast.patients[0].person.private_key().unwrap();
    let own = scene.running.system.oracle.identity.private_key().unwrap();
    let wrap =
        |key: &PublicKey| KeyWrap::plain(key.thumbprint().to_owned(), key.wrap(data_key).unwrap());
    RecordWraps {
        record_id: entry.record_id,
        wraps: vec![wrap(patient.public_key()), wrap(own.public_key())],
    }
}

pub(super) async fn register(
    rogue: &Rogue,
    entry: &RecordEntry,
    metadata: &RecordPrivate,
    wraps: &RecordWraps,
) -> Result<Ordered, Refusal> {
    let argument = RegisterRecords {
        records: vec![entry.clone()],
    };
    let call = Call::new(transactions::REGISTER_RECORDS)
        .argument(serde_json::to_vec(&argument).unwrap())
        .transient(transient::RECORDS, serde_json::to_vec(&[metadata]).unwrap())
        .transient(transient::WRAPS, serde_json::to_vec(&[wraps]).unwrap());
    rogue.submit(call).await
}

fn assert_code(refusal: &Refusal, codes: &[ErrorCode]) {
    let found = refusal.code.is_some_and(|code| codes.contains(&code));
    assert!(found, "{}", refusal.text);
}
