//! Who can open what: the patient alone, an ingest process that cannot, and keys that change.

mod ingest;
mod lying;
mod rotation;

use contract_interface::{RecordId, RecordWraps, names::transactions};
use fabric_gateway::Call;
use salus_tests::{
    oracle::Custody,
    story::{self, WaitFor},
    system::{Platform, Setup},
};

use crate::{
    rogue::Rogue,
    support::{Running, heart_rate, is_here, publish, until},
};

#[tokio::test]
async fn only_the_patient_opens_what_the_patient_keeps() {
    patient_keeps_the_keys(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn only_the_patient_opens_what_the_patient_keeps_on_real_fabric() {
    let test = "only_the_patient_opens_what_the_patient_keeps_on_real_fabric";
    if is_here(test, Platform::REAL) {
        patient_keeps_the_keys(Platform::REAL).await;
    }
}

async fn patient_keeps_the_keys(platform: Platform) {
    let setup = Setup {
        custody: Custody::Patient,
        ..Setup::of(platform)
    };
    let running = Running::start_with(&setup, 1).await;
    let patient = running.cast.patients[0].clone();
    let provider = running.cast.provider.clone();
    let line = heart_rate(62, 1);
    let published = publish(
        &running,
        &patient,
        std::slice::from_ref(&line),
        WaitFor::Receipts,
    )
    .await;
    let record = published[0];

    // Registered with one wrap, which the oracle's key does not open.
    let before = wraps(&running, record).await;
    assert_eq!(before.wraps.len(), 1);
    no_oracle_opens(&running, &before);
    reads(&running, &patient.person, record, "PATRQT")
        .await
        .unwrap();
    let denied = reads(&running, &provider, record, "TREAT").await;
    assert!(denied.unwrap_err().contains("NO_GRANT"));

    // The patient's client wraps the key for the grantee, behind the oracle's gate.
    let grantee = format!("participant:{}", running.cast.provider_id);
    let expect = ["--expect", &lying::name_of(&provider)];
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    let give = [&give[..], &expect[..]].concat();
    let given = running.salus(&patient.person, &give).await;
    let grant = given["grant_id"].as_str().unwrap().to_owned();
    let shared = wraps(&running, record).await;
    assert_eq!(shared.wraps.len(), 2);
    no_oracle_opens(&running, &shared);
    let opened = reads(&running, &provider, record, "TREAT").await.unwrap();
    assert!(
        opened.contains(&line),
        "another reading came back: {opened}"
    );

    // What came after the grant waits for the patient.
    let later = publish(&running, &patient, &[heart_rate(63, 2)], WaitFor::Receipts).await[0];
    let waiting = reads(&running, &provider, later, "TREAT").await;
    let sentence = waiting.unwrap_err();
    assert!(sentence.contains("patient"), "{sentence}");
    let share = [&["grants", "share", "--grant", &grant], &expect[..]].concat();
    running.salus(&patient.person, &share).await;
    reads(&running, &provider, later, "TREAT").await.unwrap();

    // The end of the grant ends the wraps.
    let revoke = ["grants", "revoke", &grant];
    running.salus(&patient.person, &revoke).await;
    for id in [record, later] {
        until("the end of a grant ends its wraps", || async {
            (wraps(&running, id).await.wraps.len() == 1).then_some(())
        })
        .await;
    }
    let denied = reads(&running, &provider, record, "TREAT").await;
    // An ended grant is not looked at any more.
    assert!(denied.unwrap_err().contains("NO_GRANT"));
    running.system.stop().await.unwrap();
}

/// Tries an oracle's key on every wrap, and on what its gate lets out.
fn no_oracle_opens(running: &Running, wraps: &RecordWraps) {
    let key = running.system.oracle.identity.private_key().unwrap();
    for wrap in &wraps.wraps {
        assert!(key.unwrap(&wrap.jwe).is_err(), "the oracle opened a wrap");
        if let Ok(inner) = key.ungate(&wrap.jwe) {
            assert!(
                key.unwrap(&inner).is_err(),
                "the oracle opened a gated wrap"
            );
        }
    }
}

/// A record's wraps, as an oracle sees them.
pub(crate) async fn wraps(running: &Running, record: RecordId) -> RecordWraps {
    let rogue = Rogue::at(
        running.system.network.info(),
        0,
        &running.system.oracle.identity,
    );
    let call = Call::new(transactions::GET_WRAPS).argument(record.to_string());
    serde_json::from_slice(&rogue.evaluate(call).await.unwrap()).unwrap()
}

/// Reads a record with the `salus` command; the payload's lines, or what was said.
async fn reads(
    running: &Running,
    who: &salus_tests::consortium::Person,
    record: RecordId,
    purpose: &str,
) -> Result<String, String> {
    let id = record.to_string();
    let client = story::client(who).unwrap();
    match client.read(&record, purpose.parse().unwrap()).await {
        Ok(opened) => Ok(opened
            .readings
            .iter()
            .map(|reading| String::from_utf8_lossy(&reading.payload).into_owned())
            .collect()),
        Err(_) => {
            // The command says it in words, the ledger in a code.
            let args = ["records", "read", "--record", &id, "--purpose", purpose];
            let said = story::salus_list(&running.system, who, &args).await;
            let said = format!("{:#}", said.unwrap_err());
            let explain = ["records", "explain", "--record", &id, "--purpose", purpose];
            let explained = running.salus(who, &explain).await;
            Err(format!("{said} {}", explained["reason"]))
        }
    }
}
