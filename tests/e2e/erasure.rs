//! An erased record is nowhere: no key, no object, in no file of any store, data base, journal, log
//! or block.

mod peers;

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose};
use contract_interface::{Purpose, RecordId, RecordWraps, record::Erasure};
use salus_tests::{
    binaries,
    ipfs::{self, Ipfs},
    ledger::Ledger,
    story::{self, WaitFor},
    system::{Platform, Setup, System},
};
use serde_json::Value;

use crate::{
    custody::wraps,
    support::{Running, contains_any, has, heart_rate, is_here, publish, run, until},
};

#[tokio::test]
async fn an_erased_record_is_nowhere() {
    if has("an_erased_record_is_nowhere", "curl") {
        erase(Platform::EMBEDDED).await;
    }
}

#[tokio::test]
async fn an_erased_record_is_nowhere_on_real_fabric_and_kubo() {
    let test = "an_erased_record_is_nowhere_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) && has(test, "curl") {
        erase(Platform::REAL).await;
    }
}

async fn erase(platform: Platform) {
    let setup = Setup {
        second_oracle: true,
        ..Setup::of(platform)
    };
    let running = Running::start_with(&setup, 1).await;
    let patient = running.cast.patients[0].clone();
    let lines = [heart_rate(71, 0), heart_rate(72, 1)];
    let record = publish(&running, &patient, &lines, WaitFor::Receipts).await[0];
    let kept = publish(&running, &patient, &[heart_rate(73, 2)], WaitFor::Receipts).await[0];
    let traces = leave_traces(&running, record).await;
    let (_, second_store) = running.system.second.as_ref().unwrap();
    let stores = [&running.system.ipfs, second_store];
    for store in stores {
        assert!(
            holds(store, &traces.cid).await,
            "the object is not there yet"
        );
    }

    let args = ["records", "erase", "--record", &record.to_string()];
    let certificate = running.salus(&patient.person, &args).await;
    certificate_is_true(&running, &record, &certificate).await;
    for store in stores {
        assert!(!holds(store, &traces.cid).await, "a store holds the object");
    }
    nobody_reads(&running, record).await;
    let client = story::client(&running.cast.provider).unwrap();
    client.read(&kept, Purpose::Treat).await.unwrap();

    let running = nothing_is_left_on_disks(running, &setup, &traces).await;
    // What was rewritten serves on, once the peers have found each other again.
    let client = story::client(&running.cast.provider).unwrap();
    until("the record that was kept", || async {
        client.read(&kept, Purpose::Treat).await.ok()
    })
    .await;
    nobody_reads(&running, record).await;
    let later = publish(&running, &patient, &[heart_rate(74, 3)], WaitFor::Receipts).await[0];
    client.read(&later, Purpose::Treat).await.unwrap();
    running.system.stop().await.unwrap();
}

/// Stops everything, has the operators' command run on each real peer, searches all files, and
/// starts everything again.
async fn nothing_is_left_on_disks(running: Running, setup: &Setup, traces: &Traces) -> Running {
    let Running {
        system,
        cast,
        dir,
        deadline,
    } = running;
    let run_dir = system.dir.clone();
    let peers: Vec<PathBuf> = (0..setup.organizations)
        .filter_map(|organization| system.network.peer_folder(organization))
        .collect();
    for peer in &peers {
        peers::refuses_while_it_runs(peer).await;
    }
    system.stop().await.unwrap();
    if setup.platform.ipfs == ipfs::Kind::Kubo {
        for name in ["kubo", "ipfs-2"] {
            kubo_holds_nothing(&run_dir.join(name), &traces.cid).await;
        }
    }
    let needles = traces.needles();
    for peer in &peers {
        peers::is_compacted(peer, &needles).await;
    }
    let found = contains_any(&run_dir, &needles);
    assert!(found.is_empty(), "what was erased is in {found:?}");
    let system = System::start_with(setup, &run_dir).await.unwrap();
    Running {
        system,
        cast,
        dir,
        deadline,
    }
}

/// What an erasure has to end.
struct Traces {
    cid: String,
    object: Vec<u8>,
    wraps: RecordWraps,
    data_key: [u8; 32],
}

impl Traces {
    /// The wraps, the key and a part of the object, in every form in which they could be kept.
    fn needles(&self) -> Vec<Vec<u8>> {
        let mut needles = Vec::new();
        for wrap in &self.wraps.wraps {
            // The parts of a compact JWE that are its own: encrypted key and ciphertext.
            let parts: Vec<&str> = wrap.jwe.split('.').collect();
            for part in [parts[1], parts[3]] {
                let bytes = general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
                needles.push(part.as_bytes()[..40].to_vec());
                needles.push(bytes[..32].to_vec());
                needles.push(hex::encode(&bytes[..32]).into_bytes());
            }
        }
        needles.push(self.data_key.to_vec());
        needles.push(hex::encode(self.data_key).into_bytes());
        needles.push(
            general_purpose::URL_SAFE_NO_PAD
                .encode(self.data_key)
                .into_bytes(),
        );
        let middle = self.object.len() / 2;
        needles.push(self.object[middle..middle + 48].to_vec());
        needles
    }
}

/// Lets the record be granted and read, and puts a copy of the object into the second store, as if
/// its organisation had fetched it.
async fn leave_traces(running: &Running, record: RecordId) -> Traces {
    let patient = &running.cast.patients[0];
    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    running.salus(&patient.person, &give).await;
    let client = story::client(&running.cast.provider).unwrap();
    let opened = client.read(&record, Purpose::Treat).await.unwrap();
    let wraps = until("the grantee's wrap", || async {
        let wraps = wraps(running, record).await;
        (wraps.wraps.len() == 3).then_some(wraps)
    })
    .await;
    let key = running.system.oracle.identity.private_key().unwrap();
    let own = wraps.for_kid(key.public_key().thumbprint()).unwrap();
    let data_key = *key.unwrap(&own.jwe).unwrap().expose_secret();
    let cid = opened.record.metadata.cid;
    let object = running.object(&cid).await;
    let file = running.dir.path().join("object");
    std::fs::write(&file, &object).unwrap();
    let (_, second) = running.system.second.as_ref().unwrap();
    let form = format!("file=@{}", file.display());
    let url = format!(
        "{}/api/v0/add?cid-version=1&raw-leaves=true&pin=true",
        second.api
    );
    let added = run("curl", &["-s", "-F", &form, &url].map(str::to_owned)).await;
    assert!(added.stdout.contains(&cid), "{added:?}");
    std::fs::remove_file(file).unwrap();
    Traces {
        cid,
        object,
        wraps,
        data_key,
    }
}

/// Whether a store has an object, without looking elsewhere.
async fn holds(store: &Ipfs, cid: &str) -> bool {
    let url = format!("{}/api/v0/block/stat?arg={cid}&offline=true", store.api);
    let args = ["-s", "--fail", "-X", "POST", &url].map(str::to_owned);
    run("curl", &args).await.success
}

/// Asks Kubo's own command, with its daemon stopped.
async fn kubo_holds_nothing(repo: &Path, cid: &str) {
    let ipfs = binaries::outside("ipfs").unwrap().display().to_string();
    let args = [
        format!("IPFS_PATH={}", repo.display()),
        ipfs,
        "block".to_owned(),
        "stat".to_owned(),
        "--offline".to_owned(),
        cid.to_owned(),
    ];
    let ended = run("env", &args).await;
    assert!(!ended.success, "{} holds it: {ended:?}", repo.display());
}

/// The certificate names the record, both organisations and transactions that took effect.
async fn certificate_is_true(running: &Running, record: &RecordId, certificate: &Value) {
    let client = story::client(&running.cast.patients[0].person).unwrap();
    let erasure: Erasure = client.erasure(record).await.unwrap();
    assert_eq!(erasure.record_id, *record);
    let organizations: Vec<&str> = erasure
        .removals
        .iter()
        .map(|removal| removal.msp_id.as_str())
        .collect();
    assert_eq!(organizations, ["Org1MSP", "Org2MSP"]);
    let mut named = vec![
        erasure.registered_tx_id.clone(),
        erasure.erased_tx_id.clone(),
        erasure.completed_tx_id.clone().expect("it is complete"),
    ];
    named.extend(erasure.removals.iter().map(|removal| removal.tx_id.clone()));
    let ledger = Ledger::connect(running.system.network.info(), 1).unwrap();
    let text = certificate.to_string();
    for id in named {
        assert!(ledger.transaction(&id).await.unwrap().is_valid, "{id}");
        assert!(text.contains(&id), "the certificate does not name {id}");
    }
}

/// Patient and provider are told, in words, that the record was erased.
async fn nobody_reads(running: &Running, record: RecordId) {
    let id = record.to_string();
    let readers = [
        (&running.cast.patients[0].person, "PATRQT"),
        (&running.cast.provider, "TREAT"),
    ];
    for (person, purpose) in readers {
        let args = ["records", "read", "--record", &id, "--purpose", purpose];
        let said = story::salus_list(&running.system, person, &args).await;
        let said = format!("{:#}", said.unwrap_err());
        assert!(said.contains("erased"), "{}: {said}", person.name);
        let sign = [
            "records",
            "sign-read",
            "--record",
            &id,
            "--purpose",
            purpose,
        ];
        let signed = running.salus(person, &sign).await;
        let header = format!(
            "Salus-Read-Request: {}",
            signed["request"].as_str().unwrap()
        );
        let path = format!("/v1/records/{id}/content");
        let answer = running
            .curl(person, &path, &["-H".to_owned(), header])
            .await;
        assert!([404, 410].contains(&answer.status), "{answer:?}");
    }
}
