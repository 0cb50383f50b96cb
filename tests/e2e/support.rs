//! What the tests share.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use contract_interface::{ParticipantId, RecordId};
use salus::publish::{self, Message, MqttVersion, Options};
use salus_tests::{
    binaries,
    consortium::{Consortium, Person},
    ipfs,
    ledger::Ledger,
    network,
    oracle::Oracle,
    process::Process,
    story::{self, Cast, Patient, Report, WaitFor},
    system::{Platform, Setup, System, start_contracts},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::deadline::Deadline;

/// A system in a folder of its own.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) cast: Cast,
    pub(crate) dir: TempDir,
    /// A test that takes longer on purpose puts in another.
    pub(crate) deadline: Deadline,
}

impl Running {
    /// Starts a system and enrols a provider and `patients` patients.
    pub(crate) async fn start(platform: Platform, patients: usize) -> Self {
        Self::start_with(&Setup::of(platform), patients).await
    }

    /// Starts as [`Running::start`], set up as told.
    pub(crate) async fn start_with(setup: &Setup, patients: usize) -> Self {
        Self::start_in(setup, tempfile::tempdir().unwrap(), patients).await
    }

    /// Starts as [`Running::start_with`], in a folder where something may be prepared.
    pub(crate) async fn start_in(setup: &Setup, dir: TempDir, patients: usize) -> Self {
        let deadline = Deadline::within(Deadline::USUAL);
        let system = System::start_with(setup, dir.path()).await.unwrap();
        let cast = story::enrol(&system, patients).await.unwrap();
        Self {
            system,
            cast,
            dir,
            deadline,
        }
    }

    /// The embedded system with one patient.
    pub(crate) async fn embedded() -> Self {
        Self::start(Platform::EMBEDDED, 1).await
    }

    /// Runs the `salus` command as someone; it must succeed.
    pub(crate) async fn salus(&self, who: &Person, args: &[&str]) -> Value {
        story::salus(&self.system, who, args)
            .await
            .unwrap_or_else(|error| panic!("salus {}: {error:#}", args.join(" ")))
    }

    /// Calls the first oracle's REST API as someone, with further arguments of `curl`.
    pub(crate) async fn curl(&self, who: &Person, path: &str, args: &[String]) -> Answer {
        self.curl_at(&self.system.oracle, who, path, args).await
    }

    /// Calls an oracle's REST API as someone.
    pub(crate) async fn curl_at(
        &self,
        oracle: &Oracle,
        who: &Person,
        path: &str,
        args: &[String],
    ) -> Answer {
        let (_, port) = oracle.rest().rsplit_once(':').unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let mut all = ["-s", "--path-as-is", "-w", "\n%{http_code}", "--cacert"]
            .map(str::to_owned)
            .to_vec();
        all.push(text(oracle.home.join("rest/ca.crt")));
        all.extend([
            "--cert".to_owned(),
            text(who.certificate_file().unwrap()),
            "--key".to_owned(),
            text(who.home.join("msp/keystore/priv_sk")),
        ]);
        all.extend_from_slice(args);
        all.push(format!("https://localhost:{port}{path}"));
        Answer::of(&run("curl", &all).await)
    }

    /// Posts a body as someone.
    pub(crate) async fn post(
        &self,
        who: &Person,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Answer {
        let args = [
            "-H".to_owned(),
            format!("Content-Type: {content_type}"),
            "--data-binary".to_owned(),
            body.to_owned(),
        ];
        self.curl(who, path, &args).await
    }

    /// Posts a signed request as someone.
    pub(crate) async fn post_jws(&self, who: &Person, path: &str, jws: &str) -> Answer {
        self.post(who, path, "application/jose", jws).await
    }

    /// An object's bytes, from the store.
    pub(crate) async fn object(&self, cid: &str) -> Vec<u8> {
        let url = format!("{}/api/v0/cat?arg={cid}", self.system.ipfs.api);
        let output = Command::new("curl")
            .args(["-s", "--fail", "-X", "POST", &url])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Writes a file outside the system's folders of data.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.dir.path().join("input");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// What the REST API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    fn of(ended: &Ended) -> Self {
        let (body, status) = ended
            .stdout
            .rsplit_once('\n')
            .unwrap_or(("", &ended.stdout));
        let status = status.trim().parse();
        Self {
            status: status.unwrap_or_else(|_| panic!("{ended:?}")),
            body: body.to_owned(),
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The code of a problem document.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Publishes readings from a patient's device; returns the IDs of the records that hold them, if
/// receipts were waited for.
pub(crate) async fn publish(
    running: &Running,
    patient: &Patient,
    lines: &[String],
    wait: WaitFor,
) -> Vec<RecordId> {
    let file = running.file("publish.ndjson", &lines.join("\n"));
    let answer = story::publish_file(&running.system, &patient.device, &file, wait)
        .await
        .unwrap();
    assert_eq!(answer["acknowledged"], lines.len());
    let records = answer["records"].as_array().into_iter().flatten();
    records
        .map(|record| record["record_id"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Publishes one message of any kind from a patient's device.
pub(crate) async fn publish_bytes(
    running: &Running,
    patient: &Patient,
    content_type: &str,
    payload: Vec<u8>,
) -> Vec<RecordId> {
    let options = Options {
        wait_for_receipts: true,
        ..device_options(running, patient, content_type)
    };
    let message = Message {
        seq: None,
        payload: payload.into(),
    };
    let published = publish::publish(&options, &[message]).await.unwrap();
    let records = published.receipts.iter();
    records.map(|receipt| receipt.record_id).collect()
}

/// How a patient's device publishes.
pub(crate) fn device_options(running: &Running, patient: &Patient, content_type: &str) -> Options {
    let device = &patient.device;
    let (_, port) = running.system.mqtt_address().rsplit_once(':').unwrap();
    Options {
        host: "localhost".to_owned(),
        port: port.parse().unwrap(),
        ca_file: running.system.consortium.oracle_ca_file(),
        certificate_file: device.file("client.crt"),
        key_file: device.file("client.key"),
        device_id: device.id.parse().unwrap(),
        version: MqttVersion::V5,
        content_type: content_type.to_owned(),
        wait_for_receipts: false,
        patience: Duration::from_secs(20),
    }
}

/// The files below a folder that hold any of these byte strings.
pub(crate) fn contains_any(folder: &Path, needles: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    each_file(folder, &mut |path, bytes| {
        if needles
            .iter()
            .any(|needle| memchr::memmem::find(bytes, needle).is_some())
        {
            found.push(path.to_owned());
        }
    });
    found
}

/// Shows each file below a folder.
pub(crate) fn each_file(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, look);
        } else if path.is_file() {
            look(&path, &fs::read(&path).unwrap());
        }
    }
}

/// Asks again until there is an answer, for what happens in the background.
pub(crate) async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    const PAUSE: Duration = Duration::from_millis(100);
    const ATTEMPTS: usize = 600;
    for _ in 0..ATTEMPTS {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("in vain: {what}")
}

/// Whether a platform's programs are here; says which are missing otherwise.
pub(crate) fn is_here(test: &str, platform: Platform) -> bool {
    let missing = platform.missing();
    if !missing.is_empty() {
        binaries::report_skipped(test, &missing);
    }
    missing.is_empty()
}

/// A real platform of our own parts and others': for tests of one part at a time.
pub(crate) const REAL_IPFS: Platform = Platform {
    network: network::Kind::Devnet,
    ipfs: ipfs::Kind::Kubo,
};

/// Takes no notice of steps.
pub(crate) struct Silent;

impl Report for Silent {
    fn step(&mut self, _: &str, _: &[String]) {}
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program of others to its end.
pub(crate) async fn run(program: &str, args: &[String]) -> Ended {
    const LIMIT: Duration = Duration::from_mins(10);
    let ending = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, ending)
        .await
        .unwrap_or_else(|_| panic!("{program} {args:?} goes on after {LIMIT:?}"))
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    Ended {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a program is on `PATH`; says so otherwise.
pub(crate) fn has(test: &str, program: &'static str) -> bool {
    let found = binaries::outside(program).is_some();
    if !found {
        binaries::report_skipped(test, &[program]);
    }
    found
}

/// A minimal Observation with a heart rate.
pub(crate) fn heart_rate(value: u32, minute: u32) -> String {
    serde_json::json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "effectiveDateTime": format!("2026-01-01T12:{minute:02}:00Z"),
        "valueQuantity": {
            "value": value, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min",
        },
    })
    .to_string()
}

/// How often the log of the contracts says `message` of this identity, for `function` where the
/// line names one: what is refused or only asked leaves nothing on the ledger.
pub(crate) fn in_contracts_log(
    system: &System,
    message: &str,
    function: Option<&str>,
    identity: &fabric_msp::SigningIdentity,
) -> usize {
    let certificate = hex::encode(identity.certificate().thumbprint());
    let log = fs::read_to_string(system.chaincode.log()).unwrap();
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|line| line["fields"].clone())
        .filter(|fields| fields["message"] == message && fields["certificate"] == certificate)
        .filter(|fields| function.is_none_or(|function| fields["function"] == function))
        .count()
}

/// The contracts on a network without an oracle, and a provider whom the second organisation's
/// administrator registered.
pub(crate) struct WithoutOracle {
    pub(crate) network: network::Network,
    pub(crate) ledger: Ledger,
    pub(crate) provider: ParticipantId,
    chaincode: Process,
}

impl WithoutOracle {
    pub(crate) async fn start(kind: network::Kind, dir: &Path) -> Self {
        let network = network::Network::start(kind, dir).await.unwrap();
        let chaincode = start_contracts(&network, dir).await.unwrap();
        let consortium = Consortium::open(network.info(), dir).unwrap();
        let provider = consortium
            .enrol("dr-house", 1, &[("salus.role", "provider")])
            .unwrap();
        let ledger = Ledger::connect(network.info(), 1).unwrap();
        let provider = ledger.register_provider(&provider, None).await.unwrap();
        Self {
            network,
            ledger,
            provider,
            chaincode,
        }
    }

    pub(crate) async fn stop(self) {
        self.chaincode.stop().await.unwrap();
        self.network.stop().await.unwrap();
    }
}
