//! Certificates that are not valid, end or are revoked, and revocation lists that are none, at the doors of devices
//! and of people.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fabric_msp::Certificate;
use rcgen::ExtendedKeyUsagePurpose;
use salus_tests::{
    binaries,
    consortium::Person,
    ledger::Ledger,
    oracle::OracleSettings,
    process::{Process, Spec},
    system::Platform,
};

use super::{
    edge_authority::{Authority, HOUR, Wanted, now},
    edge_wire::{
        self, DISCONNECT, NOT_AUTHORIZED, Secure, hold, metrics, own, reading, reason, refused,
        register, series, with_plain_port,
    },
};
use crate::support::{Running, has};

/// Revocation lists are read again this often.
const LISTS_READ: Duration = Duration::from_secs(30);
/// Connected devices are looked at this often.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// How much later a slow machine may be.
const SLOW: Duration = Duration::from_secs(10);

/// Everything that takes the oracle's own time, side by side: certificates that end and are revoked while their
/// devices are connected, and lists that change while it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_end_or_are_revoked_serve_no_longer_than_stated() {
    if !has(
        "certificates_that_end_or_are_revoked_serve_no_longer_than_stated",
        "curl",
    ) {
        return;
    }
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    with_plain_port(&mut running).await;
    let patient = running.cast.patients[0].clone();
    let oracle = &running.system.oracle;
    let (home, other) = (
        running.system.consortium.organization(0).unwrap(),
        running.system.consortium.organization(1).unwrap(),
    );
    let authority = Authority::of(&home.folder().join("ca"));
    let lists = home.msp_folder().join("crls");

    // A certificate that ends soon, and two that will be revoked: one by a list that is past its own time, one by a
    // list for no reason.
    let ends = now() + 15;
    let ending = device(
        &running,
        &authority,
        &Wanted {
            until: ends,
            ..Wanted::device("ending")
        },
    )
    .await;
    let stolen = device(&running, &authority, &Wanted::device("stolen")).await;
    let lost = device(&running, &authority, &Wanted::device("lost")).await;
    let mut connected = Vec::new();
    for folder in [&ending, &stolen, &lost] {
        connected.push(enter(&running, folder).await);
    }
    let since = Instant::now();
    let mut good = enter(&running, &patient.device.home).await;

    let consortium = &running.system.consortium;
    let doctor = consortium
        .enrol("dr-wilson", 1, &[("salus.role", "provider")])
        .unwrap();
    let ledger = Ledger::connect(running.system.network.info(), 1).unwrap();
    ledger.register_provider(&doctor, None).await.unwrap();
    let administrator = consortium
        .enrol("second-admin", 0, &[("salus.role", "admin")])
        .unwrap();
    let doors = [(&doctor, "/v1/reads"), (&administrator, "/v1/jobs")];
    for (person, path) in doors {
        assert_eq!(
            running.curl(person, path, &[]).await.status,
            200,
            "{}",
            person.name
        );
    }
    home.revoke_certificates(&[certificate_of(&administrator)])
        .unwrap();
    other
        .revoke_certificates(&[certificate_of(&doctor)])
        .unwrap();
    fs::write(
        lists.join("old.pem"),
        authority.revoke(&[&first_of(&stolen)], true),
    )
    .unwrap();
    fs::write(
        lists.join("reasons.der"),
        authority.revoke_for_no_reason(&[&first_of(&lost)], &[0]),
    )
    .unwrap();

    certificates_that_nobody_should_take(&running, &authority).await;
    lists_that_are_none_stop_the_start(&running, &authority).await;

    // The new lists hold within the stated time, and more wrong ones change nothing.
    let said = until_refused(oracle, &stolen, LISTS_READ + SLOW).await;
    assert!(said.contains("CertificateRevoked"), "{said}");
    assert!(refused(oracle, &lost).await.contains("CertificateRevoked"));
    for (person, path) in doors {
        revoked_at_rest(&running, person, path, LISTS_READ + SLOW).await;
    }
    let said = until_refused(oracle, &ending, LISTS_READ).await;
    assert!(said.contains("CertificateExpired"), "{said}");
    let foreign = Authority::of(&other.folder().join("ca"));
    for (number, list) in wrong_lists(&authority, &foreign).into_iter().enumerate() {
        fs::write(lists.join(format!("wrong-{number}")), list).unwrap();
    }

    // Whoever stayed connected is sent away, and told why.
    for (client, name) in connected.iter_mut().zip(["ending", "stolen", "lost"]) {
        let left = (LOOKED_AT + SLOW).saturating_sub(since.elapsed());
        let bye = client
            .packet_within(left)
            .await
            .unwrap_or_else(|| panic!("{name}: no word"));
        assert_eq!(
            (bye[0], reason(&bye)),
            (DISCONNECT, NOT_AUTHORIZED),
            "{name}"
        );
        assert_eq!(client.packet().await, None, "{name}");
    }
    assert!(now() > ends, "it was sent away before its end");
    // By now the wrong lists were looked at: those before stay in force.
    let log = fs::read_to_string(oracle.process.log()).unwrap();
    assert!(
        log.contains("the last one stays in force"),
        "nobody was told of the wrong lists"
    );
    let stale = [
        r#"salus_msp_stale{msp="devices"}"#,
        r#"salus_msp_stale{msp="callers"}"#,
    ];
    let measured = metrics(oracle).await;
    for name in stale {
        assert!((series(&measured, name) - 1.0).abs() < 0.1, "{name}");
    }
    assert!(
        refused(oracle, &stolen)
            .await
            .contains("CertificateRevoked")
    );
    for (person, path) in doors {
        assert_eq!(
            running.curl(person, path, &[]).await.status,
            401,
            "{}",
            person.name
        );
    }

    for number in 0..wrong_lists(&authority, &foreign).len() {
        fs::remove_file(lists.join(format!("wrong-{number}"))).unwrap();
    }
    // Everybody else goes on, on the same connection too.
    let readings = vec![reading(&patient.device.id, 0)];
    assert_eq!(
        good.publish(&own(&patient.device.id), readings[0].as_bytes())
            .await,
        Some(0)
    );
    assert_eq!(refused(oracle, &patient.device.home).await, "");
    drop((good, connected));
    hold(running, &[readings]).await;
}

/// A registered device with such a certificate; the folder of certificate and key.
async fn device(running: &Running, authority: &Authority, wanted: &Wanted<'_>) -> PathBuf {
    let folder = write(running, wanted.name, &authority.issue(wanted));
    register(running, wanted.name, &folder, 0).await;
    folder
}

/// Writes a certificate and its key for a device and for a person.
fn write(running: &Running, name: &str, (pem, key): &(String, String)) -> PathBuf {
    let folder = running
        .dir
        .path()
        .join("edge")
        .join(name.replace(['/', '#', '+'], "_"));
    for below in ["msp/signcerts", "msp/keystore"] {
        fs::create_dir_all(folder.join(below)).unwrap();
    }
    for (file, text) in [
        ("client.crt", pem),
        ("client.key", key),
        ("msp/signcerts/cert.pem", pem),
        ("msp/keystore/priv_sk", key),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

/// Somebody with the certificate in a folder.
fn person(running: &Running, folder: &Path) -> Person {
    Person {
        home: folder.to_owned(),
        ..running.cast.administrator.clone()
    }
}

fn certificate_of(person: &Person) -> Certificate {
    Certificate::from_pem(&fs::read(person.certificate_file().unwrap()).unwrap()).unwrap()
}

fn first_of(folder: &Path) -> Certificate {
    Certificate::from_pem(&fs::read(folder.join("client.crt")).unwrap()).unwrap()
}

async fn enter(running: &Running, folder: &Path) -> Secure {
    let mut client = edge_wire::secure(&running.system.oracle, folder)
        .await
        .unwrap();
    client.enter("edge").await;
    client
}

/// Each registered by an administrator who noticed nothing, so that the certificate alone decides.
async fn certificates_that_nobody_should_take(running: &Running, authority: &Authority) {
    let tls = Authority::of(
        &running
            .system
            .consortium
            .organization(0)
            .unwrap()
            .folder()
            .join("tlsca"),
    );
    let foreign = Authority::of(
        &running
            .system
            .consortium
            .organization(1)
            .unwrap()
            .folder()
            .join("ca"),
    );
    let hidden = authority.intermediate("ca.hidden");
    let at = now();
    let wanted = Wanted::device;
    let cases = [
        (
            "not-yet",
            authority,
            Wanted {
                from: at + HOUR,
                until: at + 2 * HOUR,
                ..wanted("not-yet")
            },
            "CertificateExpired",
        ),
        (
            "ended",
            authority,
            Wanted {
                from: at - 2 * HOUR,
                until: at - 1,
                ..wanted("ended")
            },
            "CertificateExpired",
        ),
        (
            "for-mail",
            authority,
            Wanted {
                purposes: vec![ExtendedKeyUsagePurpose::EmailProtection],
                ..wanted("for-mail")
            },
            "UnknownCA",
        ),
        (
            "for-code",
            authority,
            Wanted {
                purposes: vec![ExtendedKeyUsagePurpose::CodeSigning],
                ..wanted("for-code")
            },
            "UnknownCA",
        ),
        ("of-tls-ca", &tls, wanted("of-tls-ca"), "UnknownCA"),
        (
            "without-unit",
            authority,
            Wanted {
                units: &[],
                ..wanted("without-unit")
            },
            "UnknownCA",
        ),
        ("hidden-ca", &hidden, wanted("hidden-ca"), "UnknownCA"),
        (
            "is-a-ca",
            authority,
            Wanted {
                is_ca: true,
                purposes: vec![],
                ..wanted("is-a-ca")
            },
            "UnknownCA",
        ),
        ("of-others", &foreign, wanted("of-others"), "UnknownCA"),
        ("good", authority, wanted("good"), ""),
    ];
    for (name, issuer, wanted, alert) in cases {
        let folder = device(running, issuer, &wanted).await;
        let said = refused(&running.system.oracle, &folder).await;
        assert!(
            said.contains(alert) && said.is_empty() == alert.is_empty(),
            "{name}: {said}"
        );
        let answer = running
            .curl(&person(running, &folder), "/v1/reads", &[])
            .await;
        // The other organisation's people may call; that they are nobody is another matter.
        let at_the_door = !["good", "of-others"].contains(&name);
        assert_eq!(answer.status == 401, at_the_door, "{name}: {answer:?}");
    }
    // A name that no device can have, and another device's name.
    let nameless = write(running, "no/name+#", &authority.issue(&wanted("no/name+#")));
    assert_ne!(refused(&running.system.oracle, &nameless).await, "");
    let device = &running.cast.patients[0].device.id;
    let impostor = write(running, "impostor", &authority.issue(&wanted(device)));
    assert_eq!(
        refused(&running.system.oracle, &impostor).await,
        "CONNACK 87"
    );
    let none = running.dir.path().join("edge/none");
    fs::create_dir_all(&none).unwrap();
    let said = refused(&running.system.oracle, &none).await;
    assert!(said.contains("CertificateRequired"), "{said}");
}

/// Lists that nobody of the organisation signed, or that are no lists.
fn wrong_lists(authority: &Authority, foreign: &Authority) -> Vec<Vec<u8>> {
    let good = authority.revoke(&[], false).into_bytes();
    let mut flipped = authority.revoke_for_no_reason(&[], &[0]);
    *flipped.last_mut().unwrap() ^= 1;
    vec![
        foreign.revoke(&[], false).into_bytes(),
        authority.revoke_unsigned(&[]),
        flipped,
        good[..good.len() / 2].to_vec(),
        b"revoke nobody".to_vec(),
        vec![],
    ]
}

/// With a wrong list no oracle starts, whichever door it is for; with a strange one that is signed it does.
async fn lists_that_are_none_stop_the_start(running: &Running, authority: &Authority) {
    let consortium = &running.system.consortium;
    let foreign = Authority::of(&consortium.organization(1).unwrap().folder().join("ca"));
    let settings = OracleSettings {
        name: "judged".to_owned(),
        ipfs_api: running.system.ipfs.api.clone(),
        ..OracleSettings::default()
    };
    let info = running.system.network.info();
    let config = consortium
        .write_oracle_config(info, &settings, &running.system.oracle.identity)
        .unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let msp = &info.organizations[0].msp_dir;
    let copied = running.dir.path().join("edge/msp");
    // Each start has a log of its own.
    let spec = |case: &str| {
        Spec::new(case, &binaries::ours("oracle").unwrap(), running.dir.path())
            .arg("serve")
            .option("--config", &config)
    };
    // Each door has an MSP folder of its own in the configuration.
    let (devices, people) = text.split_once("[rest]").unwrap();
    let elsewhere = |part: &str| {
        let changed = part.replace(
            &format!("\"{}\"", msp.display()),
            &format!("\"{}\"", copied.display()),
        );
        assert_ne!(changed, part);
        changed
    };
    let doors = [
        format!("{}[rest]{people}", elsewhere(devices)),
        format!("{devices}[rest]{}", elsewhere(people)),
    ];
    for (door, text) in ["devices", "people"].into_iter().zip(doors) {
        fs::write(&config, text).unwrap();
        for (number, list) in wrong_lists(authority, &foreign).into_iter().enumerate() {
            copy_msp(msp, &copied, &list);
            let started = Process::start_ready(spec(&format!("judged-{door}-{number}"))).await;
            let said = format!("{:#}", started.expect_err("it started with a wrong list"));
            assert!(
                said.contains("revocation list refused"),
                "list {number}: {said}"
            );
            assert!(!said.contains("panicked"), "list {number}: {said}");
        }
        for reasons in [&[0][..], &[], &[7], &[0, 0], &[1, 0xff, 0xff, 0xff, 0xfe]] {
            copy_msp(msp, &copied, &authority.revoke_for_no_reason(&[], reasons));
            match Process::start_ready(spec(&format!("judged-{door}-{}", hex::encode(reasons))))
                .await
            {
                Ok((process, _)) => process.stop().await.map(drop).unwrap(),
                Err(error) => {
                    let said = format!("{error:#}");
                    assert!(
                        said.contains("revocation list refused"),
                        "reasons {reasons:x?}: {said}"
                    );
                }
            }
        }
    }
}

/// Copies an MSP folder without its lists, and puts one list there.
fn copy_msp(from: &Path, to: &Path, list: &[u8]) {
    let _ = fs::remove_dir_all(to);
    for below in ["cacerts", "tlscacerts"] {
        fs::create_dir_all(to.join(below)).unwrap();
        for entry in fs::read_dir(from.join(below)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(below).join(entry.file_name())).unwrap();
        }
    }
    fs::copy(from.join("config.yaml"), to.join("config.yaml")).unwrap();
    fs::create_dir_all(to.join("crls")).unwrap();
    fs::write(to.join("crls/list"), list).unwrap();
}

/// Tries until a device is refused; what is said then.
async fn until_refused(
    oracle: &salus_tests::oracle::Oracle,
    folder: &Path,
    time: Duration,
) -> String {
    let since = Instant::now();
    loop {
        let said = refused(oracle, folder).await;
        if !said.is_empty() {
            return said;
        }
        assert!(since.elapsed() < time, "it is still let in");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn revoked_at_rest(running: &Running, person: &Person, path: &str, time: Duration) {
    let since = Instant::now();
    loop {
        let answer = running.curl(person, path, &[]).await;
        if answer.status == 401 {
            assert!(
                answer.code().contains("REVOKED"),
                "{}: {answer:?}",
                person.name
            );
            return;
        }
        assert!(
            since.elapsed() < time,
            "{} may still call: {answer:?}",
            person.name
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
