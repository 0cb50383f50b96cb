//! Schemathesis (Python) judges the REST API: it calls every operation of the OpenAPI document with
//! well-formed and malformed data and compares the answers with what the document promises.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use contract_interface::Purpose;
use salus_tests::{
    binaries,
    consortium::Person,
    story::{self, WaitFor},
};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Running, heart_rate, run};

/// Examples that fuzzing makes of each operation.
const EXAMPLES: &str = "20";
/// Time for all requests of one caller; far more than they take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What an answer must do, whatever the request.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance,\
                      unsupported_method,allow_header_conformance";

#[tokio::test]
async fn schemathesis_finds_the_api_as_described() {
    const TEST: &str = "schemathesis_finds_the_api_as_described";
    let program = interop().join(".venv/bin/schemathesis");
    // The first is written by `scripts/install-judges` once everything is installed.
    if !interop().join(".venv/.installed").is_file() || !program.is_file() {
        return binaries::report_skipped(TEST, &["tests/interop/python/.venv"]);
    }
    let running = Running::embedded().await;
    let record_id = leave_traces(&running).await;
    let patient = &running.cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();

    // The administrator sees devices and gets as far as the contracts' checks of registrations.
    let judge = Judge::new(&running, &program, &running.cast.administrator);
    let answers = judge
        .run(&fixed("/v1/devices/{id}", &patient.device.id))
        .await;
    answers.expect_successes(&["/v1/devices", "/v1/devices/{id}", "/metrics", "/readyz"]);

    // The patient sees everything else.
    let judge = Judge::new(&running, &program, &patient.person);
    let participant = fixed("/v1/participants/{id}", &pseudonym);
    let record = fixed("/v1/records/{id}", &record_id);
    let answers = judge.run(&(participant + &record)).await;
    answers.expect_successes(&[
        "/v1/participants",
        "/v1/participants/{id}",
        "/v1/records",
        "/v1/records/{id}",
        "/v1/grants",
        "/v1/reads",
    ]);
    running.system.stop().await.unwrap();
}

/// Leaves something of every kind for the API to show; returns a record's ID.
async fn leave_traces(running: &Running) -> String {
    let patient = &running.cast.patients[0];
    let readings = [heart_rate(60, 0), heart_rate(61, 1)].join("\n");
    let file = running.file("readings.ndjson", &readings);
    story::publish_file(&running.system, &patient.device, &file, WaitFor::Receipts)
        .await
        .unwrap();
    let certificate = running.cast.administrator.certificate_file().unwrap();
    let certificate = certificate.display().to_string();
    let add = ["participants", "add", "--role", "admin", "--certificate"];
    salus(
        &running.cast.administrator,
        &[&add[..], &[&certificate]].concat(),
    )
    .await;
    let grantee = format!("participant:{}", running.cast.provider_id);
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    salus(&patient.person, &give).await;
    let client = story::client(&running.cast.provider).unwrap();
    let opened = story::read_patient(&client, patient.pseudonym, Purpose::Treat)
        .await
        .unwrap();
    opened[0].record.metadata.record_id.to_string()
}

/// Runs the `salus` command as someone.
async fn salus(person: &Person, args: &[&str]) {
    let program = binaries::ours("salus").unwrap().display().to_string();
    let profile = person.profile.display().to_string();
    let args = [&["--profile", &profile], args].concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let ended = run(&program, &args).await;
    assert!(ended.success, "{ended:?}");
}

/// Schemathesis, calling as one person.
struct Judge<'a> {
    running: &'a Running,
    program: &'a Path,
    person: &'a Person,
    folder: PathBuf,
}

impl<'a> Judge<'a> {
    fn new(running: &'a Running, program: &'a Path, person: &'a Person) -> Self {
        let folder = running.dir.path().join(format!("judge-{}", person.name));
        fs::create_dir(&folder).unwrap();
        Self {
            running,
            program,
            person,
            folder,
        }
    }

    /// Calls every operation, with values for some parameters, and fails on any finding.
    async fn run(&self, operations: &str) -> Answers {
        let hooks = interop().join("rest_media_types.py");
        let config = self.folder.join("schemathesis.toml");
        let hooks = Value::from(hooks.canonicalize().unwrap().to_str().unwrap());
        fs::write(&config, format!("hooks = {hooks}\n{operations}")).unwrap();
        let report = self.folder.join("report.har");
        let mut command = Command::new(self.program);
        command
            .arg("--config-file")
            .arg(&config)
            .args(["run", "--no-color", "--phases", "coverage,fuzzing"])
            .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
            // The same examples in every run.
            .args(["--generation-deterministic", "--no-shrink"])
            .args(["--continue-on-failure", "--request-timeout", "30"])
            .arg("--tls-verify")
            .arg(self.running.system.consortium.oracle_ca_file())
            .arg("--request-cert")
            .arg(self.person.certificate_file().unwrap())
            .arg("--request-cert-key")
            .arg(self.person.home.join("msp/keystore/priv_sk"))
            .args(["--report", "har", "--report-har-path"])
            .arg(&report)
            .arg(self.url("/openapi.json"));
        let output = command
            .current_dir(&self.folder)
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(TIMEOUT, output)
            .await
            .unwrap()
            .unwrap();
        assert!(
            output.status.success(),
            "as {}:\n{}{}",
            self.person.name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Answers::read(&report, &self.url(""))
    }

    fn url(&self, path: &str) -> String {
        let (_, port) = self.running.system.rest_address().rsplit_once(':').unwrap();
        format!("https://localhost:{port}{path}")
    }
}

/// The addresses, without queries, whose GET was answered with 200.
struct Answers(Vec<String>);

impl Answers {
    /// Reads the HTTP Archive that schemathesis wrote.
    fn read(report: &Path, base: &str) -> Self {
        let archive: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        let entries = archive["log"]["entries"].as_array().unwrap();
        let good = entries.iter().filter(|entry| {
            entry["response"]["status"] == 200 && entry["request"]["method"] == "GET"
        });
        let addresses = good.map(|entry| {
            let url = entry["request"]["url"].as_str().unwrap();
            let path = url.strip_prefix(base).unwrap();
            path.split('?').next().unwrap().to_owned()
        });
        Self(addresses.collect())
    }

    /// Without successes there would be nothing but refusals to compare with the document.
    fn expect_successes(&self, templates: &[&str]) {
        for template in templates {
            let found = self
                .0
                .iter()
                .any(|path| match template.strip_suffix("{id}") {
                    None => path == template,
                    Some(parent) => path.len() > parent.len() && path.starts_with(parent),
                });
            assert!(found, "no 200 from GET {template} among {:?}", self.0);
        }
    }
}

/// Settings that make a GET ask for one ID.
fn fixed(path: &str, id: &str) -> String {
    format!(
        "[[operations]]\ninclude-name = \"GET {path}\"\nparameters = {{ \"path.id\" = \"{id}\" }}\n"
    )
}

fn interop() -> PathBuf {
    binaries::workspace_root().join("tests/interop/python")
}
