//! Tokens: one certificate each, whatever happens in between.

use super::*;

#[tokio::test]
async fn a_token_becomes_a_registered_certificate_for_the_devices_own_key() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let token = world.token().await;
    assert_eq!(token.len(), 43);
    let pem = params("hr-1")
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let issued = world.certify(&token, pem.as_bytes()).await.unwrap();
    let certificate = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
    assert_eq!(certificate.subject_common_name(), Some("hr-1"));
    assert_eq!(certificate.not_after(), NOW + 90 * DAY);
    msp(&world.organization)
        .validate_at(&certificate, NOW)
        .unwrap();
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    assert_eq!(
        parsed.public_key().subject_public_key.data.as_ref(),
        key.public_key_raw()
    );
    let registered = lock(&world.table.changes)[0].clone();
    assert_eq!(registered.thumbprint.as_bytes(), &certificate.thumbprint());
    assert_eq!(registered.patient, Pseudonym::from_bytes([7; 16]));
    assert_eq!(registered.bound_from, time("2026-01-01T00:00:00Z"));
    assert_eq!(issued.block_number, 1);
}

#[tokio::test]
async fn of_two_who_show_a_token_at_once_one_is_served() {
    let world = World::new();
    let token = world.token().await;
    let keys: Vec<_> = (0..8).map(|_| KeyPair::generate().unwrap()).collect();
    let requests: Vec<_> = keys.iter().map(|key| request(key, "hr-1")).collect();
    let tries = requests
        .iter()
        .map(|request| world.certify(&token, request));
    let outcomes = futures::future::join_all(tries).await;
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(served, 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refused, EnrolmentError::OtherKey), "{refused}");
    }
    assert_eq!(world.table.changes(), 1);
}

#[tokio::test]
async fn a_token_survives_a_restart_and_so_does_its_being_used() {
    let world = World::new();
    let token = world.token().await;
    let world = world.restart();
    let key = KeyPair::generate().unwrap();
    let first = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let world = world.restart();
    // The answer was lost: the same key gets the same certificate, and the ledger is left alone.
    let again = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    assert_eq!(again.certificate, first.certificate);
    assert_eq!(world.table.changes(), 1);
    let other = KeyPair::generate().unwrap();
    let refused = world.certify(&token, &request(&other, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::OtherKey)));
    for wrong in ["", "x", &token[1..]] {
        let refused = world.certify(wrong, &request(&key, "hr-1")).await;
        assert!(matches!(refused, Err(EnrolmentError::Token)), "{wrong}");
    }
}

#[tokio::test]
async fn a_ledger_that_is_away_costs_no_token_and_no_second_certificate() {
    let world = World::new();
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    *lock(&world.table.away) = true;
    let failed = world.certify(&token, &request(&key, "hr-1")).await;
    assert!(matches!(failed, Err(EnrolmentError::Ledger(_))));
    // Meanwhile nobody else gets in, and a crash changes nothing.
    let world = world.restart();
    let other = KeyPair::generate().unwrap();
    let refused = world.certify(&token, &request(&other, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::OtherKey)));
    *lock(&world.table.away) = false;
    let issued = world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let certificate = Certificate::from_pem(issued.certificate.as_bytes()).unwrap();
    let changes = lock(&world.table.changes);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].thumbprint.as_bytes(), &certificate.thumbprint());
}

#[tokio::test]
async fn tokens_expire_and_a_new_one_replaces_one_that_was_not_used() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    let first = world.token().await;
    let second = world.token().await;
    let refused = world.certify(&first, &csr).await;
    assert!(matches!(refused, Err(EnrolmentError::Token)));
    let late = world.enrolments.certify(&second, &csr, NOW + 3600).await;
    assert!(matches!(late, Err(EnrolmentError::Token)));
    world
        .enrolments
        .certify(&second, &csr, NOW + 3599)
        .await
        .unwrap();
    // Nothing of what has expired stays on the disk.
    let lifetime = Duration::from_secs(60);
    let next = Wanted {
        lifetime,
        ..wanted("hr-2")
    };
    world.enrolments.invite(next, NOW + 3600).await.unwrap();
    let names = std::fs::read_dir(world.folder.path().join("enrolments")).unwrap();
    let tokens = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("token-")
    });
    assert_eq!(tokens.count(), 1);
}

#[tokio::test]
async fn the_folder_holds_no_token_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let token = world.token().await;
    let folder = world.folder.path().join("enrolments");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&**token), "{}", path.display());
        assert!(!path.to_str().unwrap().contains(&**token));
    }
    let config = EnrolmentConfig {
        ca_certificate_file: PathBuf::new(),
        ca_key_file: PathBuf::new(),
        dir: folder.clone(),
        validity: Duration::ZERO,
        token_lifetime: Duration::ZERO,
    };
    let (certificate, key) = ca_files(&world.organization);
    let authority = Authority::load(&certificate, &key, &msp(&world.organization), now()).unwrap();
    let second = Enrolments::open(&config, authority, world.table.clone());
    assert!(
        matches!(second, Err(AuthorityError::Kept { .. })),
        "one at a time"
    );
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let world = World::new();
    let mut kept = world.enrolments.kept.lock().await;
    let enrolment = |device: usize| Enrolment {
        device_id: format!("hr-{device}").parse().unwrap(),
        binding: None,
        expires: NOW + 60,
        certified: None,
    };
    kept.fill_for_test(kept::KEPT_MAX - 1, NOW + 60);
    kept.invite("a", enrolment(1), NOW).unwrap();
    let full = kept.invite("b", enrolment(2), NOW).unwrap_err();
    assert!(matches!(full, EnrolmentError::Full));
    kept.invite("c", enrolment(2), NOW + 60).unwrap();
}
