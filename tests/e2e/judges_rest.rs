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

use crate::support::{Running, heart_rate, publish};

/// Examples that fuzzing makes of each operation.
const EXAMPLES: &str = "8";
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
    let (record_id, read_id) = leave_traces(&running).await;
    let patient = &running.cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();

    // The administrator sees devices and the organisation's affairs, and gets as far as the
    // contracts' checks of registrations.
    let judge = Judge::new(&running, &program, &running.cast.administrator);
    let device = fixed("/v1/devices/{id}", "path.id", &patient.device.id);
    let policies = fixed("/v1/policies", "query.msp_id", "Org1MSP");
    let emergencies = fixed("/v1/emergencies", "query.patient_msp", "Org1MSP");
    let answers = judge.run(&(device + &policies + &emergencies)).await;
    answers.expect_successes(&[
        "/v1/devices",
        "/v1/devices/{id}",
        "/v1/policies",
        "/v1/emergencies",
        "/v1/notices",
        "/v1/jobs",
        "/metrics",
        "/readyz",
    ]);

    // The patient sees everything else.
    let judge = Judge::new(&running, &program, &patient.person);
    let mut settings = fixed("/v1/participants/{id}", "path.id", &pseudonym);
    for address in ["", "/access", "/versions", "/wraps", "/evidence"] {
        let address = format!("/v1/records/{{id}}{address}");
        settings.push_str(&fixed(&address, "path.id", &record_id));
    }
    settings.push_str(&fixed("/v1/reads/{id}", "path.id", &read_id));
    for list in ["grants", "records", "delegations", "access-requests"] {
        let address = format!("/v1/{list}");
        settings.push_str(&fixed(&address, "query.patient", &pseudonym));
    }
    let answers = judge.run(&settings).await;
    answers.expect_successes(&[
        "/v1/participants",
        "/v1/participants/{id}",
        "/v1/records",
        "/v1/records/{id}",
        "/v1/records/{id}/versions",
        "/v1/records/{id}/wraps",
        "/v1/grants",
        "/v1/delegations",
        "/v1/access-requests",
        "/v1/reads",
        "/v1/reads/{id}",
    ]);
    running.system.stop().await.unwrap();
}

/// Leaves something of every kind for the API to show; returns the IDs of a record and of a read.
async fn leave_traces(running: &Running) -> (String, String) {
    let patient = &running.cast.patients[0];
    let readings = [heart_rate(60, 0), heart_rate(61, 1)];
    let record = publish(running, patient, &readings, WaitFor::Receipts).await[0];
    let staff = story::enrol_staff(&running.system, &running.cast)
        .await
        .unwrap();
    let pseudonym = patient.pseudonym.to_string();
    let administrator = &running.cast.administrator;
    let grantee = format!("participant:{}", running.cast.provider_id);
    let guardian = staff.guardian_id.to_string();
    let give = ["grants", "give", "--to", &grantee, "--purpose", "TREAT"];
    running.salus(&patient.person, &give).await;
    let name = [
        "guardians",
        "add",
        "--guardian",
        &guardian,
        "--power",
        "read",
        "--valid-until",
        "9d",
    ];
    running.salus(&patient.person, &name).await;
    let forbid = [
        "policies",
        "set",
        "--deny",
        "--to",
        "anyone",
        "--purpose",
        "HPAYMT",
    ];
    running.salus(administrator, &forbid).await;
    let ask = [
        "access",
        "ask",
        "--patient",
        &pseudonym,
        "--purpose",
        "HRESCH",
    ];
    running.salus(&running.cast.provider, &ask).await;
    let declare = [
        "emergencies",
        "declare",
        "--patient",
        &pseudonym,
        "--reason",
        "unresponsive",
        "--justification",
        "a fall",
    ];
    running.salus(&staff.emergency, &declare).await;
    let client = story::client(&running.cast.provider).unwrap();
    let opened = client.read(&record, Purpose::Treat).await.unwrap();
    (record.to_string(), opened.read_id.to_string())
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
            let found = self.0.iter().any(|path| fits(path, template));
            assert!(found, "no 200 from GET {template} among {:?}", self.0);
        }
    }
}

/// Whether a path is one of a template's, with something in the place of `{id}`.
fn fits(path: &str, template: &str) -> bool {
    let (asked, known) = (path.split('/'), template.split('/'));
    let mut pairs = asked.clone().zip(known.clone());
    asked.count() == known.count()
        && pairs.all(|(asked, known)| asked == known || (known == "{id}" && !asked.is_empty()))
}

/// Settings that give one parameter of a GET a value.
fn fixed(path: &str, parameter: &str, value: &str) -> String {
    format!(
        "[[operations]]\ninclude-name = \"GET {path}\"\nparameters = {{ \"{parameter}\" = \"{value}\" }}\n"
    )
}

fn interop() -> PathBuf {
    binaries::workspace_root().join("tests/interop/python")
}
