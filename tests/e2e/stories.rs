//! The main job from a device's reading to the patient's list of reads.

use std::path::Path;

use salus_tests::{
    binaries,
    readings::{self, PatientReadings},
    story,
    system::{Platform, Setup, System},
};

use crate::support::{REAL_IPFS, Silent, is_here, run};

#[tokio::test]
async fn the_main_job_on_the_embedded_network() {
    play(Platform::EMBEDDED, readings::generate(2, 24, 1)).await;
}

#[tokio::test]
async fn the_main_job_with_real_kubo() {
    if is_here("the_main_job_with_real_kubo", REAL_IPFS) {
        play(REAL_IPFS, readings::generate(2, 24, 2)).await;
    }
}

#[tokio::test]
async fn the_main_job_with_1542_observations() {
    if let Some(input) = observations("the_main_job_with_1542_observations") {
        assert_eq!(
            input.iter().map(|p| p.observations.len()).sum::<usize>(),
            1542
        );
        play(Platform::EMBEDDED, input).await;
    }
}

#[tokio::test]
async fn the_main_job_on_real_fabric_and_kubo() {
    if is_here("the_main_job_on_real_fabric_and_kubo", Platform::REAL) {
        play(Platform::REAL, readings::generate(2, 24, 3)).await;
    }
}

/// Plays the story.
pub(crate) async fn play(platform: Platform, input: Vec<PatientReadings>) {
    let published: usize = input.iter().map(|patient| patient.observations.len()).sum();
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup {
        second_oracle: true,
        ..Setup::of(platform)
    };
    let mut system = System::start_with(&setup, dir.path()).await.unwrap();
    let (outcome, cast) = story::play(&mut system, &input, &mut Silent).await.unwrap();
    assert_eq!(outcome.readings, published);
    assert_eq!(outcome.opened, published);
    assert_eq!(outcome.denied, 2);
    assert_eq!(outcome.permitted, outcome.records + 3);
    assert_eq!(outcome.reads_audited, outcome.permitted + outcome.denied);

    if platform.ipfs == salus_tests::ipfs::Kind::Kubo {
        cids_are_kubos_own(dir.path(), &cast).await;
    }
    system.stop().await.unwrap();
}

/// Asks Kubo itself what CID `ipfs add --cid-version=1 --raw-leaves` gives each stored object.
async fn cids_are_kubos_own(dir: &Path, cast: &story::Cast) {
    let ipfs = binaries::outside("ipfs").unwrap().display().to_string();
    let repo = format!("IPFS_PATH={}", dir.join("kubo").display());
    let patient = &cast.patients[0];
    let client = story::client(&patient.person).unwrap();
    let records = story::records_of(&client, patient.pseudonym).await.unwrap();
    assert!(!records.is_empty());
    for record in records {
        let cid = record.metadata.cid;
        let object = dir.join("object");
        let get = run(
            "env",
            &[
                repo.clone(),
                ipfs.clone(),
                "get".into(),
                "-o".into(),
                object.display().to_string(),
                cid.clone(),
            ],
        )
        .await;
        assert!(get.success, "{get:?}");
        let add = [
            "add",
            "--only-hash",
            "--cid-version=1",
            "--raw-leaves",
            "--quieter",
        ]
        .map(str::to_owned);
        let args: Vec<String> = [repo.clone(), ipfs.clone()]
            .into_iter()
            .chain(add)
            .chain([object.display().to_string()])
            .collect();
        let added = run("env", &args).await;
        assert_eq!(added.stdout.trim(), cid, "{added:?}");
    }
}

/// The Observations of synthetic patients that lie beside the project, where they do.
fn observations(test: &str) -> Option<Vec<PatientReadings>> {
    let file = binaries::workspace_root().join("../shared/data/observations.ndjson");
    if file.is_file() {
        return Some(readings::from_file(&file).unwrap());
    }
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: {} is absent",
        file.display()
    );
    None
}
