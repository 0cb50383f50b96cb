//! Bad input gets a clear answer on its own protocol; nothing crashes, nothing is lost.

use contract_interface::{DeviceRegistration, Digest, Purpose, Status};
use fabric_msp::Certificate;
use fabric_mspgen::Validity;
use salus::publish::{self, Message, Options, PublishError};
use salus::signing;
use salus_tests::{
    story::{self, WaitFor},
    system::Platform,
};

use crate::support::{Answer, Running, device_options, has, heart_rate};

#[tokio::test]
async fn bad_messages_are_refused_with_a_reason_and_the_device_goes_on() {
    let running = Running::embedded().await;
    let patient = running.cast.patients[0].clone();
    let fhir = "application/fhir+json";
    let wrong_unit = heart_rate(70, 1).replace("\"/min\"", "7");
    let huge = format!(
        "{{\"resourceType\":\"Observation\",\"x\":\"{}\"}}",
        "a".repeat(10 << 20)
    );
    let cases: [(&str, &str, String); 5] = [
        ("not JSON", fhir, "{\"resourceType\":".to_owned()),
        ("wrong unit type", fhir, wrong_unit),
        (
            "no Observation",
            fhir,
            "{\"resourceType\":\"Patient\"}".to_owned(),
        ),
        ("truncated CBOR", "application/cbor", "\u{1f}".to_owned()),
        ("10 MB", fhir, huge),
    ];
    for (name, content_type, payload) in cases {
        let options = options(&running, content_type);
        let message = Message {
            seq: None,
            payload: payload.into(),
        };
        let error = publish::publish(&options, &[message])
            .await
            .expect_err(name);
        match name {
            // The client, or the broker's Maximum Packet Size, stops it before it is sent.
            "10 MB" => assert!(!matches!(error, PublishError::TimedOut { .. }), "{error:?}"),
            _ => {
                let PublishError::Refused { index: 0, reason } = &error else {
                    panic!("{name}: {error:?}")
                };
                assert!(
                    reason.contains(':'),
                    "{name} has no reason in words: {reason}"
                );
            }
        }
    }
    good_reading_arrives(&running, &patient, 2).await;
    running.system.stop().await.unwrap();
}

#[tokio::test]
async fn strangers_are_not_let_in() {
    let running = Running::start(Platform::EMBEDDED, 2).await;
    let organization = running.system.consortium.organization(0).unwrap();

    // A certificate of the organisation, but no registered device.
    let unknown = running.system.consortium.device("stranger-1").unwrap();
    let refused = publish_as(&running, "stranger-1", &unknown.home).await;
    assert!(
        refused.contains("efused") || refused.contains("uthorized"),
        "{refused}"
    );

    // A registered device whose certificate, the very one that is registered, has expired.
    let now = signing::now().unwrap().unix_seconds();
    let just_expired = Validity {
        not_before: now - 60,
        not_after: now - 1,
    };
    let expired = running.dir.path().join("expired");
    let issued = organization.issue_device("expired-1", Some(just_expired));
    issued.unwrap().write_client(&expired).unwrap();
    register(&running, "expired-1", &expired).await;
    let refused = publish_as(&running, "expired-1", &expired).await;
    assert!(!refused.is_empty(), "an expired certificate was taken");
    // The same steps with a valid certificate succeed, so it was the expiry.
    let valid = running.dir.path().join("valid");
    let issued = organization.issue_device("valid-1", None).unwrap();
    issued.write_client(&valid).unwrap();
    register(&running, "valid-1", &valid).await;
    assert_eq!(publish_as(&running, "valid-1", &valid).await, "");

    // A registered device's name in a certificate of another organisation.
    let other = running.dir.path().join("other");
    let foreign = running.system.consortium.organization(1).unwrap();
    foreign
        .issue_device("monitor-1", None)
        .unwrap()
        .write_client(&other)
        .unwrap();
    let refused = publish_as(&running, "monitor-1", &other).await;
    assert!(
        !refused.is_empty(),
        "another organisation's device was taken"
    );

    let patient = running.cast.patients[0].clone();
    good_reading_arrives(&running, &patient, 3).await;
    running.system.stop().await.unwrap();
}

#[tokio::test]
async fn bad_requests_get_problem_documents() {
    if !has("bad_requests_get_problem_documents", "curl") {
        return;
    }
    let running = Running::embedded().await;
    let unknown = "ab".repeat(16);
    let large = running.file("large.json", &"x".repeat(2 << 20));
    let large = format!("@{}", large.display());
    let data = |kind: &str, body: &str| {
        vec![
            "-H".to_owned(),
            format!("Content-Type: {kind}"),
            "--data-binary".to_owned(),
            body.to_owned(),
        ]
    };
    let cases: Vec<(&str, String, Vec<String>, &[u16])> = vec![
        (
            "unknown record",
            format!("/v1/records/{unknown}"),
            vec![],
            &[404],
        ),
        (
            "malformed record ID",
            "/v1/records/..%2f..%2fetc".to_owned(),
            vec![],
            &[400, 404],
        ),
        (
            "no read request",
            format!("/v1/records/{unknown}/content"),
            vec![],
            &[400],
        ),
        (
            "malformed JWS",
            format!("/v1/records/{unknown}/content"),
            vec!["-H".to_owned(), "Salus-Read-Request: a.b.c".to_owned()],
            &[400],
        ),
        (
            "malformed grant",
            "/v1/grants".to_owned(),
            data("application/jose", "a.b.c"),
            &[400],
        ),
        (
            "not JSON",
            "/v1/devices".to_owned(),
            data("application/json", "{"),
            &[400, 403],
        ),
        (
            "too large",
            "/v1/participants".to_owned(),
            data("application/json", &large),
            &[413, 403],
        ),
        ("unknown route", "/v1/nothing".to_owned(), vec![], &[404]),
        (
            "malformed query",
            "/v1/records?patient=x".to_owned(),
            vec![],
            &[400],
        ),
    ];
    for (name, path, args, expected) in cases {
        let provider = &running.cast.provider;
        let answer = running.curl(provider, &path, &args).await;
        let Answer { status, body } = &answer;
        assert!(expected.contains(status), "{name}: {status} {body}");
        let problem = answer.json();
        assert_eq!(problem["status"], *status, "{name}: {body}");
        for member in ["title", "detail", "code"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no {member}: {body}");
        }
    }
    let patient = running.cast.patients[0].clone();
    good_reading_arrives(&running, &patient, 4).await;
    running.system.stop().await.unwrap();
}

#[tokio::test]
async fn readings_of_a_patient_without_a_key_are_kept_and_everybody_is_told() {
    let running = Running::embedded().await;
    let administrator = running.cast.administrator.clone();
    let consortium = &running.system.consortium;
    let role = [("salus.role", "patient")];
    let patient = consortium.enrol("patient-late", 0, &role).unwrap();
    let certificate = patient.certificate_file().unwrap().display().to_string();
    let add = ["participants", "add", "--role", "patient"];
    let add = [&add[..], &["--certificate", &certificate]].concat();
    let added = running.salus(&administrator, &add).await;
    let pseudonym = added["participant_id"].as_str().unwrap();
    let device = consortium.device("late-1").unwrap();
    let certificate = device.file("client.crt").display().to_string();
    let bind = ["devices", "add", "--device", "late-1", "--from"];
    let bind = [&bind[..], &["1900-01-01T00:00:00Z", "--patient", pseudonym]].concat();
    let bind = [&bind[..], &["--certificate", &certificate]].concat();
    running.salus(&administrator, &bind).await;

    let file = running.file("late.ndjson", &heart_rate(61, 5));
    for attempt in ["first", "sent again"] {
        let publishing = story::publish_file(&running.system, &device, &file, WaitFor::Receipts);
        let told = format!("{:#}", publishing.await.unwrap_err());
        assert!(told.contains("PATIENT_KEY_MISSING"), "{attempt}: {told}");
        let list = ["dead-letters", "list"];
        let letters = story::salus_list(&running.system, &administrator, &list).await;
        let letters = letters.unwrap();
        assert_eq!(letters.len(), 1, "{attempt}: {letters:?}");
        assert_eq!(letters[0]["device_id"], "late-1", "{letters:?}");
        assert_eq!(letters[0]["readings"], 1, "{letters:?}");
        assert_eq!(letters[0]["code"], "PATIENT_KEY_MISSING", "{letters:?}");
        assert!(letters[0].get("record_id").is_none(), "{letters:?}");
    }
    let list = ["jobs", "list"];
    let jobs = story::salus_list(&running.system, &administrator, &list).await;
    let mut names = jobs.unwrap();
    names.retain(|job| job["job"] == "wraps" && job["passes"].is_u64());
    assert_eq!(names.len(), 1, "the job that rotates keys");
    // Others are not hindered.
    let other = running.cast.patients[0].clone();
    good_reading_arrives(&running, &other, 6).await;
    running.system.stop().await.unwrap();
}

fn options(running: &Running, content_type: &str) -> Options {
    device_options(running, &running.cast.patients[0], content_type)
}

/// Registers a device for the second patient.
async fn register(running: &Running, device: &str, home: &std::path::Path) {
    let certificate = std::fs::read(home.join("client.crt")).unwrap();
    let thumbprint = Certificate::from_pem(&certificate).unwrap().thumbprint();
    let registration = DeviceRegistration {
        device_id: device.parse().unwrap(),
        thumbprint: Digest::from_bytes(thumbprint),
        patient: running.cast.patients[1].pseudonym,
        bound_from: "1900-01-01T00:00:00Z".parse().unwrap(),
        bound_until: None,
        status: Status::Active,
        status_since: None,
    };
    let administrator = story::client(&running.cast.administrator).unwrap();
    administrator.register_device(&registration).await.unwrap();
}

/// Publishes one reading with another certificate; returns what was said, empty if it was taken.
async fn publish_as(running: &Running, device: &str, home: &std::path::Path) -> String {
    let options = Options {
        certificate_file: home.join("client.crt"),
        key_file: home.join("client.key"),
        device_id: device.parse().unwrap(),
        ..options(running, "application/fhir+json")
    };
    let message = Message {
        seq: None,
        payload: heart_rate(60, 50).into(),
    };
    match publish::publish(&options, &[message]).await {
        Ok(_) => String::new(),
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    }
}

async fn good_reading_arrives(running: &Running, patient: &story::Patient, minute: u32) {
    let file = running.file("good.ndjson", &heart_rate(66, minute));
    let answer = story::publish_file(&running.system, &patient.device, &file, WaitFor::Receipts)
        .await
        .unwrap();
    assert_eq!(answer["acknowledged"], 1);
    let client = story::client(&patient.person).unwrap();
    let opened = story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
        .await
        .unwrap();
    story::check_all_there(&patient.device.id, &opened, &[heart_rate(66, minute)]).unwrap();
}
