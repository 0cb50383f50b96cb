//! What the tests share.

use std::{fs, path::PathBuf, process::Stdio};

use salus_tests::{
    binaries, ipfs, network,
    story::{self, Cast, Report},
    system::{Platform, System},
};
use tempfile::TempDir;
use tokio::process::Command;

/// A system in a folder of its own.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) cast: Cast,
    pub(crate) dir: TempDir,
}

impl Running {
    /// Starts a system and enrols a provider and `patients` patients.
    pub(crate) async fn start(platform: Platform, patients: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let system = System::start(platform, dir.path()).await.unwrap();
        let cast = story::enrol(&system, patients).await.unwrap();
        Self { system, cast, dir }
    }

    /// The embedded system with one patient.
    pub(crate) async fn embedded() -> Self {
        Self::start(Platform::EMBEDDED, 1).await
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
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program of others to its end.
pub(crate) async fn run(program: &str, args: &[String]) -> Ended {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    Ended {
        success: output.status.success(),
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
