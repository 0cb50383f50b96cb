//! An erasure that a peer sleeps through, and attempts to bring an erased record back.

use contract_interface::{
    EraseRecord, ErrorCode, KeyWrap, Record, RecordEntry, RecordStatus, RecordWraps,
    RegisterRecords,
    names::{transactions, transient},
    record::{ErasureBasis, RegisteredPage, RegisteredRecord, WrapChange, WrapChanges},
};
use fabric_gateway::Call;
use salus_tests::{network, system::Platform};

use super::{Scene, carrying};
use crate::{rogue::Rogue, support::until};

pub(super) async fn attack(platform: Platform) {
    let mut scene = Scene::start(platform).await;
    let record = get_record(&scene.oracle, &scene).await.unwrap();
    let wraps = get_wraps(&scene.oracle, &scene).await.unwrap();
    let body = EraseRecord {
        record_id: scene.record,
        basis: ErasureBasis::PatientRequest,
    };
    let jws = scene.oracle.sign(&scene.patient(0), body);
    let call = carrying(transactions::ERASE_RECORD, &jws);
    let endorsed = scene.oracle.endorse_at(call, None).await.unwrap();

    // Both peers have endorsed; now the second sleeps. The embedded network's peers are one
    // process: it is killed, and the transaction is ordered when it is back.
    let late = match platform.network {
        network::Kind::Fabric | network::Kind::FabricCouchdb => 2,
        network::Kind::Devnet => 0,
    };
    scene.running.system.network.kill(late).await.unwrap();
    if platform.network == network::Kind::Devnet {
        scene.running.system.network.restart(late).await.unwrap();
        scene.reconnect();
    }
    let ordered = scene.oracle.order(endorsed).await.unwrap();
    assert_eq!(ordered.code, 0);
    assert!(get_wraps(&scene.oracle, &scene).await.is_err());
    if platform.network == network::Kind::Fabric {
        scene.running.system.network.restart(late).await.unwrap();
        scene.reconnect();
    }
    caught_up(&scene).await;
    assert!(get_wraps(&scene.other_oracle, &scene).await.is_err());
    assert!(get_record(&scene.other_oracle, &scene).await.is_err());

    nothing_comes_back(&scene, &record, &wraps).await;
    assert!(get_wraps(&scene.oracle, &scene).await.is_err());
    assert!(get_wraps(&scene.other_oracle, &scene).await.is_err());
    scene.running.system.stop().await.unwrap();
}

/// The registrar registers the record again as it was, amends it, and adds its wraps again.
async fn nothing_comes_back(scene: &Scene, record: &Record, wraps: &RecordWraps) {
    let entry = RecordEntry {
        record_id: scene.record,
        object_sha256: record.state.object_sha256,
        commitment: record.state.commitment,
        version: record.state.version,
        previous: record.state.previous,
    };
    let wraps = RecordWraps {
        wraps: plain(wraps),
        ..wraps.clone()
    };
    let argument = RegisterRecords {
        records: vec![entry],
    };
    let call = Call::new(transactions::REGISTER_RECORDS)
        .argument(serde_json::to_vec(&argument).unwrap())
        .transient(
            transient::RECORDS,
            serde_json::to_vec(&[&record.metadata]).unwrap(),
        )
        .transient(transient::WRAPS, serde_json::to_vec(&[&wraps]).unwrap());
    // A peer that has just come back is not yet known to the others for a moment.
    let answer = until("the contract answers", || async {
        let answer = scene.oracle.submit(call.clone()).await;
        let answered = match &answer {
            Ok(_) => true,
            Err(refusal) => refusal.code.is_some(),
        };
        answered.then_some(answer)
    });
    match answer.await {
        // Taken as what was there before, or refused: either way nothing is written.
        Ok(ordered) => {
            let result: contract_interface::RegisterRecordsResult = ordered.json();
            assert_eq!(result.registered, 0, "an erased record came back");
        }
        Err(refusal) => assert_eq!(
            refusal.code,
            Some(ErrorCode::RecordConflict),
            "{}",
            refusal.text
        ),
    }
    let changes = WrapChanges {
        changes: vec![WrapChange {
            record_id: scene.record,
            remove: vec![],
            add: wraps.wraps,
        }],
    };
    let call = Call::new(transactions::CHANGE_WRAPS).transient(
        transient::WRAP_CHANGES,
        serde_json::to_vec(&changes).unwrap(),
    );
    let refusal = scene.oracle.submit(call).await.unwrap_err();
    assert_eq!(
        refusal.code,
        Some(ErrorCode::RecordNotFound),
        "{}",
        refusal.text
    );
}

fn plain(wraps: &RecordWraps) -> Vec<KeyWrap> {
    let plain = wraps.wraps.iter().filter(|wrap| wrap.gate.is_none());
    plain.cloned().collect()
}

async fn get_wraps(rogue: &Rogue, scene: &Scene) -> Result<RecordWraps, crate::rogue::Refusal> {
    let call = Call::new(transactions::GET_WRAPS).argument(scene.record.to_string());
    let wraps = rogue.evaluate(call).await?;
    Ok(serde_json::from_slice(&wraps).unwrap())
}

async fn get_record(rogue: &Rogue, scene: &Scene) -> Result<Record, crate::rogue::Refusal> {
    let call = Call::new(transactions::GET_RECORD).argument(scene.record.to_string());
    let record = rogue.evaluate(call).await?;
    Ok(serde_json::from_slice(&record).unwrap())
}

/// Waits until the second organisation's peer knows that the record is erased.
async fn caught_up(scene: &Scene) {
    until("the late peer catches up", || async {
        let call = Call::new(transactions::LIST_VERSIONS).argument(scene.record.to_string());
        let page = scene.other_oracle.evaluate(call).await.ok()?;
        let page: RegisteredPage = serde_json::from_slice(&page).unwrap();
        let erased = |record: &RegisteredRecord| record.state.status == RecordStatus::Erased;
        page.records.iter().any(erased).then_some(())
    })
    .await;
}
