//! Devices that are registered: another key, renewal.

use super::*;

#[tokio::test]
async fn asking_again_does_not_bring_a_suspended_device_back() {
    let world = World::new();
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    world.certify(&token, &csr).await.unwrap();
    world.table.set_status(Status::Suspended);
    // The token still answers with the certificate, which is no secret, and changes nothing.
    world.certify(&token, &csr).await.unwrap();
    assert_eq!(world.table.changes(), 1);
    // A new token does not end a suspension either.
    let fresh = world.token().await;
    let refused = world.certify(&fresh, &request(&key, "hr-1")).await;
    assert!(matches!(refused, Err(EnrolmentError::DeviceInactive)));
    world.table.set_status(Status::Revoked);
    let refused = world.enrolments.invite(wanted("hr-1"), NOW).await;
    assert!(matches!(refused, Err(EnrolmentError::DeviceRevoked)));
}

#[tokio::test]
async fn a_device_that_is_registered_keeps_its_binding_with_a_new_key() {
    let world = World::new();
    let unbound = || Wanted {
        binding: None,
        ..wanted("hr-1")
    };
    let refused = world.enrolments.invite(unbound(), NOW).await;
    assert!(matches!(refused, Err(EnrolmentError::NoPatient)));
    world.enrolled().await;
    let token = world
        .enrolments
        .invite(unbound(), NOW)
        .await
        .unwrap()
        .secret;
    let key = KeyPair::generate().unwrap();
    world.certify(&token, &request(&key, "hr-1")).await.unwrap();
    let changes = lock(&world.table.changes);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1].patient, changes[0].patient);
    assert_eq!(changes[1].bound_from, changes[0].bound_from);
    assert_ne!(changes[1].thumbprint, changes[0].thumbprint);
}

#[tokio::test]
async fn a_device_renews_with_its_certificate_once_for_one_key() {
    let world = World::new();
    let (_, old) = world.enrolled().await;
    let key = KeyPair::generate().unwrap();
    let csr = request(&key, "hr-1");
    let renewed = world.enrolments.renew(&old, &csr, NOW + DAY).await.unwrap();
    let new = Certificate::from_pem(renewed.certificate.as_bytes()).unwrap();
    assert_eq!(new.not_after(), NOW + 91 * DAY);
    let world = world.restart();
    // The answer was lost: the old certificate is no longer registered, and still gets this answer.
    let again = world.enrolments.renew(&old, &csr, NOW + DAY).await.unwrap();
    assert_eq!(again.certificate, renewed.certificate);
    assert_eq!(world.table.changes(), 2);
    let other = KeyPair::generate().unwrap();
    let refused = world
        .enrolments
        .renew(&old, &request(&other, "hr-1"), NOW + DAY)
        .await;
    assert!(matches!(refused, Err(EnrolmentError::NotRegistered)));
    let late = world.enrolments.renew(&old, &csr, NOW + 40 * DAY).await;
    assert!(matches!(late, Err(EnrolmentError::NotRegistered)));
    let name = world
        .enrolments
        .renew(&new, &request(&key, "hr-2"), NOW)
        .await;
    assert!(matches!(name, Err(EnrolmentError::Request { .. })));
    let next = world
        .enrolments
        .renew(&new, &request(&other, "hr-1"), NOW + 2 * DAY)
        .await;
    next.unwrap();
}

#[tokio::test]
async fn only_a_device_of_this_ca_that_is_active_renews() {
    let world = World::new();
    let (_, registered) = world.enrolled().await;
    let key = KeyPair::generate().unwrap();
    let renew = async |certificate: &Certificate| {
        let csr = request(&key, certificate.subject_common_name().unwrap());
        world.enrolments.renew(certificate, &csr, NOW).await
    };
    let stranger_folder = tempfile::tempdir().unwrap();
    let stranger = Organization::create(
        stranger_folder.path(),
        "Org2MSP".parse().unwrap(),
        "org2.example.com",
        Kind::Peer,
    )
    .unwrap();
    let foreign = stranger.issue_device("hr-1", None).unwrap().certificate;
    assert!(matches!(
        renew(&foreign).await,
        Err(EnrolmentError::NotADevice)
    ));
    let unknown = world.organization.issue_device("hr-9", None).unwrap();
    let unknown = renew(&unknown.certificate).await;
    assert!(matches!(unknown, Err(EnrolmentError::NotADevice)));
    let twin = world.organization.issue_device("hr-1", None).unwrap();
    let twin = renew(&twin.certificate).await;
    assert!(matches!(twin, Err(EnrolmentError::NotRegistered)));
    world.table.set_status(Status::Suspended);
    let suspended = renew(&registered).await;
    assert!(matches!(suspended, Err(EnrolmentError::DeviceInactive)));
    assert_eq!(world.table.changes(), 1);
}
