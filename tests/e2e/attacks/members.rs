//! Private data and who is no member of its collections: a third organisation of the channel.

use contract_interface::{PageRequest, RecordFilter, names::transactions};
use fabric_gateway::Call;
use salus_tests::{
    consortium::Person,
    system::{Platform, Setup},
};

use crate::{
    rogue::Rogue,
    support::{Running, contains_any, heart_rate, in_contracts_log, publish},
};
use salus_tests::story::WaitFor;

/// Number of the organisation that is on the channel and in no collection.
const OUTSIDER: usize = 2;

pub(super) async fn attack(platform: Platform) {
    let setup = Setup {
        organizations: 3,
        ..Setup::of(platform)
    };
    let running = Running::start_with(&setup, 1).await;
    let patient = running.cast.patients[0].clone();
    let lines = [heart_rate(60, 0)];
    let record = publish(&running, &patient, &lines, WaitFor::Receipts)
        .await
        .remove(0);
    let info = running.system.network.info();
    let outsider = running
        .system
        .consortium
        .enrol_oracle("outsider", OUTSIDER)
        .unwrap();
    let filter = RecordFilter {
        patient: patient.pseudonym,
        record_type: None,
        from: None,
        to: None,
        page: PageRequest::default(),
    };
    let filter = serde_json::to_vec(&filter).unwrap();
    let calls = [
        (transactions::GET_WRAPS, record.to_string().into_bytes()),
        (transactions::GET_RECORD, record.to_string().into_bytes()),
        (transactions::LIST_RECORDS, filter),
    ];
    for (transaction, argument) in calls {
        // At its own peer, which holds hashes only, and at a member's peer, which refuses it.
        for peer in [OUTSIDER, 0] {
            let rogue = Rogue::at(info, peer, &outsider);
            let call = Call::new(transaction).argument(argument.clone());
            let refusal = rogue.evaluate(call).await;
            assert!(
                refusal.is_err(),
                "{transaction} at peer {peer}: {refusal:?}"
            );
        }
    }
    let logged = in_contracts_log(
        &running.system,
        "transaction refused",
        None,
        &outsider.signing_identity().unwrap(),
    );
    assert!(
        logged >= 6,
        "only {logged} refusals are in the contracts' log"
    );
    // A member gets an answer to the same question, so it was the membership.
    let member = Rogue::at(info, 0, &running.system.oracle.identity);
    let call = Call::new(transactions::GET_WRAPS).argument(record.to_string());
    let wraps = member.evaluate(call).await.unwrap();
    let wraps: contract_interface::RecordWraps = serde_json::from_slice(&wraps).unwrap();

    at_the_oracles_door(&running, &outsider).await;
    let files = running.system.network.peer_folder(OUTSIDER);
    running.system.stop().await.unwrap();
    if let Some(folder) = files {
        let mut needles: Vec<Vec<u8>> = wraps
            .wraps
            .iter()
            .map(|wrap| wrap.jwe.clone().into_bytes())
            .collect();
        needles.push(patient.pseudonym.to_string().into_bytes());
        let found = contains_any(&folder, &needles);
        assert!(found.is_empty(), "a peer of no member holds {found:?}");
    }
}

/// The oracle knows nobody of that organisation.
async fn at_the_oracles_door(running: &Running, outsider: &Person) {
    let path = format!("/v1/records?patient={}", running.cast.patients[0].pseudonym);
    let answer = running.curl(outsider, &path, &[]).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
}
