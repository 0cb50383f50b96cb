//! Keys that change: a person's and an organisation's, with the oracle killed in the middle.

use std::collections::BTreeSet;

use contract_interface::{Purpose, RecordId};
use salus_tests::{
    consortium::{self, FIRST_ORACLE},
    oracle::OracleSettings,
    story,
};

use super::wraps;
use crate::support::{Running, device_options, until};

/// Records under the key: more than one transaction changes.
const RECORDS: usize = 230;

#[tokio::test]
async fn keys_rotate_and_a_killed_oracle_goes_on() {
    let mut running = Running::embedded().await;
    let records = many_records(&running).await;
    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    let patient = running.cast.patients[0].person.clone();
    running.salus(&patient, &give).await;

    // The patient's own key.
    let old = kid(&patient.private_key().unwrap());
    running.salus(&patient, &["keys", "rotate"]).await;
    until_one_has_changed(&running, &records, &old).await;
    running.system.oracle.kill_and_restart().await.unwrap();
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
    until_one_has_changed(&running, &records, &old).await;
    running.system.oracle.kill_and_restart().await.unwrap();
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

/// Publishes messages that are a record each.
async fn many_records(running: &Running) -> Vec<RecordId> {
    use salus::publish::{Message, Options, publish};
    let options = Options {
        wait_for_receipts: true,
        ..device_options(
            running,
            &running.cast.patients[0],
            "application/octet-stream",
        )
    };
    let messages: Vec<Message> = (0..RECORDS)
        .map(|n| Message {
            seq: None,
            payload: format!("message {n}").into(),
        })
        .collect();
    let published = publish(&options, &messages).await.unwrap();
    let ids: BTreeSet<RecordId> = published
        .receipts
        .iter()
        .map(|receipt| receipt.record_id)
        .collect();
    assert_eq!(ids.len(), RECORDS);
    ids.into_iter().collect()
}

/// Waits until the job has begun.
async fn until_one_has_changed(running: &Running, records: &[RecordId], old: &str) {
    until("the first wraps change", || async {
        for record in [records[0], records[records.len() - 1]] {
            if !still(running, record, old).await {
                return Some(());
            }
        }
        None
    })
    .await;
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
