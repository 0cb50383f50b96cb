//! Keys that change: a person's and an organisation's, with the oracle killed in the middle.

use std::collections::BTreeSet;

use contract_interface::{Purpose, RecordId};
use salus_tests::{
    consortium::{self, FIRST_ORACLE},
    oracle::OracleSettings,
    story,
    system::Platform,
};

use super::wraps;
use crate::support::{Running, device_options, is_here, until};

/// Records under the key: ten transactions change them, 24 each.
const RECORDS: usize = 230;
/// As many as five transactions change, for a network where each takes its block's time.
const RECORDS_ON_REAL_FABRIC: usize = 100;

#[tokio::test]
async fn keys_rotate_and_a_killed_oracle_goes_on() {
    keys_rotate(Platform::EMBEDDED, RECORDS).await;
}

#[tokio::test]
async fn keys_rotate_and_a_killed_oracle_goes_on_on_real_fabric() {
    let test = "keys_rotate_and_a_killed_oracle_goes_on_on_real_fabric";
    if is_here(test, Platform::REAL) {
        keys_rotate(Platform::REAL, RECORDS_ON_REAL_FABRIC).await;
    }
}

async fn keys_rotate(platform: Platform, count: usize) {
    let mut running = Running::start(platform, 1).await;
    let records = many_records(&running, count).await;
    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    let patient = running.cast.patients[0].person.clone();
    running.salus(&patient, &give).await;

    // The patient's own key.
    let old = kid(&patient.private_key().unwrap());
    running.salus(&patient, &["keys", "rotate"]).await;
    kill_in_the_middle(&mut running, &records, &old).await;
    none_is_left(&running, &records, &old).await;
    readable(&running, &patient, &records, Purpose::Patrqt).await;

    // The organisation's key.
    let keys = running.dir.path().join("new-keys");
    consortium::write_keys(&keys).unwrap();
    let old_file = running.system.oracle.identity.private_key_file();
    let old = kid(&running.system.oracle.identity.private_key().unwrap());
    let mut settings = OracleSettings {
        name: FIRST_ORACLE.to_owned(),
        ipfs_api: running.system.ipfs.api.clone(),
        keys: Some(keys),
        previous_keys: vec![old_file],
        ..OracleSettings::default()
    };
    restart_with(&mut running, &settings).await;
    kill_in_the_middle(&mut running, &records, &old).await;
    none_is_left(&running, &records, &old).await;

    // The old key is not needed any more.
    settings.previous_keys.clear();
    restart_with(&mut running, &settings).await;
    let provider = running.cast.provider.clone();
    readable(&running, &patient, &records, Purpose::Patrqt).await;
    readable(&running, &provider, &records, Purpose::Treat).await;
    running.system.stop().await.unwrap();
}

async fn restart_with(running: &mut Running, settings: &OracleSettings) {
    running.system.oracle.process.kill().await.unwrap();
    running.system.oracle = running.system.start_oracle(settings).await.unwrap();
}

fn kid(key: &sealed_object::PrivateKey) -> String {
    key.public_key().thumbprint().to_owned()
}

/// Publishes messages that are a record each; returns these in the order of the ledger's list,
/// which is the order in which the job changes them.
async fn many_records(running: &Running, count: usize) -> Vec<RecordId> {
    use salus::publish::{Message, Options, publish};
    let patient = &running.cast.patients[0];
    let options = Options {
        wait_for_receipts: true,
        ..device_options(running, patient, "application/octet-stream")
    };
    let messages: Vec<Message> = (0..count)
        .map(|n| Message {
            seq: None,
            payload: format!("message {n}").into(),
        })
        .collect();
    let published = publish(&options, &messages).await.unwrap();
    let told: BTreeSet<RecordId> = published
        .receipts
        .iter()
        .map(|receipt| receipt.record_id)
        .collect();
    let client = story::client(&patient.person).unwrap();
    let listed = story::records_of(&client, patient.pseudonym).await.unwrap();
    let listed: Vec<RecordId> = listed
        .iter()
        .map(|record| record.metadata.record_id)
        .collect();
    assert_eq!(listed.len(), count);
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), told);
    listed
}

/// Kills the oracle when the job's first transaction is there and its last is not, and starts it
/// again.
async fn kill_in_the_middle(running: &mut Running, records: &[RecordId], old: &str) {
    until("the first wraps change", || async {
        (!still(running, records[0], old).await).then_some(())
    })
    .await;
    let process = &mut running.system.oracle.process;
    process.kill().await.unwrap();
    let last = records[records.len() - 1];
    assert!(
        still(running, last, old).await,
        "the job was over before the oracle was killed"
    );
    let process = &mut running.system.oracle.process;
    process.start_until_ready().await.unwrap();
}

/// Waits until nothing is wrapped for the old key or behind it.
async fn none_is_left(running: &Running, records: &[RecordId], old: &str) {
    for record in records {
        until("all wraps change", || async {
            (!still(running, *record, old).await).then_some(())
        })
        .await;
    }
}

/// Whether a record has a wrap for a key or behind it.
async fn still(running: &Running, record: RecordId, kid: &str) -> bool {
    let wraps = wraps(running, record).await.wraps;
    wraps
        .iter()
        .any(|wrap| wrap.kid == kid || wrap.gate.as_deref() == Some(kid))
}

/// Reads some of the records, and opens them.
async fn readable(
    running: &Running,
    who: &consortium::Person,
    records: &[RecordId],
    purpose: Purpose,
) {
    let client = story::client(who).unwrap();
    for record in records.iter().step_by(50) {
        let mut sealed = client.request_content(record, purpose).await.unwrap();
        let mut opened = Vec::new();
        let key = client.key_for(&sealed.wrapped_key).unwrap();
        sealed.open_into(key, &mut opened).await.unwrap();
        assert!(opened.starts_with(b"message "), "{record}");
    }
    assert!(running.system.dir.is_dir());
}
