use contract_interface::names::{transactions, transient};
use contract_interface::{
    Device, DeviceBinding, DevicePage, DeviceRegistration, ErrorCode, PageRequest, PageToken,
    RegistrationOutcome, Status, UtcTime,
};

use crate::testing::Who::*;
use crate::testing::*;

const GET: &str = transactions::GET_DEVICE;
const LIST: &str = transactions::LIST_DEVICES;

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

async fn register(world: &mut World, registration: &DeviceRegistration) -> RegistrationOutcome {
    let tx = world.register_device(registration);
    world.get(Oracle1, tx).await
}

async fn stored(world: &mut World) -> Device {
    world.get(Oracle1, query_text(GET, &DEVICE)).await
}

#[tokio::test]
async fn a_device_moves_from_one_patient_to_another() {
    let mut world = World::populated().await;
    let first = world.device();
    assert_eq!(
        register(&mut world, &first).await,
        RegistrationOutcome::Unchanged
    );
    let moved = time("2026-03-01T00:00:00Z");
    let second = DeviceRegistration {
        patient: OtherPatient.pseudonym(),
        bound_from: moved,
        ..first.clone()
    };
    assert_eq!(
        register(&mut world, &second).await,
        RegistrationOutcome::Updated
    );
    let bindings = [
        DeviceBinding {
            patient: Patient.pseudonym(),
            bound_from: first.bound_from,
            bound_until: Some(moved),
        },
        DeviceBinding {
            patient: OtherPatient.pseudonym(),
            bound_from: moved,
            bound_until: None,
        },
    ];
    assert_eq!(stored(&mut world).await.bindings, bindings);
    let tx = world.register_device(&first);
    world.refused(Oracle1, tx, ErrorCode::DeviceConflict).await;
}

#[tokio::test]
async fn a_status_has_a_time_and_revocation_is_for_good() {
    let mut world = World::populated().await;
    let active = world.device();
    let suspended = DeviceRegistration {
        status: Status::Suspended,
        ..active.clone()
    };
    assert_eq!(
        register(&mut world, &suspended).await,
        RegistrationOutcome::Updated
    );
    let since = Some(world.time(0));
    world.now += 60;
    assert_eq!(
        register(&mut world, &suspended).await,
        RegistrationOutcome::Unchanged
    );
    let device = stored(&mut world).await;
    assert_eq!(
        (device.status, device.status_since),
        (Status::Suspended, since)
    );

    assert_eq!(
        register(&mut world, &active).await,
        RegistrationOutcome::Updated
    );
    let device = stored(&mut world).await;
    assert_eq!((device.status, device.status_since), (Status::Active, None));

    let earlier = Some(time("2026-02-01T00:00:00Z"));
    let revoked = DeviceRegistration {
        status: Status::Revoked,
        status_since: earlier,
        ..active.clone()
    };
    assert_eq!(
        register(&mut world, &revoked).await,
        RegistrationOutcome::Updated
    );
    assert_eq!(stored(&mut world).await.status_since, earlier);
    for status in [Status::Active, Status::Suspended] {
        let tx = world.register_device(&DeviceRegistration {
            status,
            ..active.clone()
        });
        world.refused(Oracle1, tx, ErrorCode::DeviceConflict).await;
    }
}

#[tokio::test]
async fn who_may_not_register_and_what_makes_no_sense_is_refused() {
    let mut world = World::populated().await;
    let good = world.device();
    for who in [Auditor1, Patient, Provider1, Nobody] {
        let tx = world.register_device(&good);
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
    let invalid = ErrorCode::InvalidArgument;
    for (registration, code) in [
        (
            DeviceRegistration {
                patient: Nobody.pseudonym(),
                ..good.clone()
            },
            ErrorCode::ParticipantNotFound,
        ),
        (
            DeviceRegistration {
                patient: Provider1.pseudonym(),
                ..good.clone()
            },
            ErrorCode::ParticipantNotFound,
        ),
        (
            DeviceRegistration {
                bound_until: Some(good.bound_from),
                ..good.clone()
            },
            invalid,
        ),
        (
            DeviceRegistration {
                status_since: Some(good.bound_from),
                ..good.clone()
            },
            invalid,
        ),
    ] {
        let tx = world.register_device(&registration);
        world.refused(Oracle1, tx, code).await;
    }
    let text = String::from_utf8(json(&good)).unwrap();
    for bad in [
        text.replace(DEVICE, "hr/0042"),
        text.replace("bound_from", "from"),
        String::new(),
    ] {
        let tx = world
            .salted(transactions::REGISTER_DEVICE)
            .transient(transient::DEVICE, bad);
        let message = world.refused(Oracle1, tx, invalid).await;
        assert!(!message.contains("0042"), "{message}");
    }
    let unsalted = fabric_shim::testing::Tx::submit(transactions::REGISTER_DEVICE)
        .transient(transient::DEVICE, json(&good));
    world.refused(Oracle1, unsalted, invalid).await;
}

#[tokio::test]
async fn organizations_do_not_see_one_anothers_devices() {
    let mut world = World::populated().await;
    assert_eq!(stored(&mut world).await.device_id.as_str(), DEVICE);
    let tx = query_text(GET, &DEVICE);
    world
        .refused(Oracle2, tx.clone(), ErrorCode::DeviceNotFound)
        .await;
    world
        .refused(Provider1, tx.clone(), ErrorCode::Forbidden)
        .await;
    world
        .refused(
            Oracle1,
            for_caller(tx.clone(), Patient),
            ErrorCode::Forbidden,
        )
        .await;
    world
        .refused(Oracle1, for_caller(tx, Auditor2), ErrorCode::DeviceNotFound)
        .await;

    // The same ID in another organisation is another device.
    let own = world.device();
    let tx = world.register_device(&own);
    let outcome: RegistrationOutcome = world.get(Oracle2, tx).await;
    assert_eq!(outcome, RegistrationOutcome::Registered);
}

#[tokio::test]
async fn devices_come_in_pages() {
    let mut world = World::populated().await;
    for n in 0..6 {
        let registration = DeviceRegistration {
            device_id: format!("d-{n}").parse().unwrap(),
            ..world.device()
        };
        register(&mut world, &registration).await;
    }
    let mut page = PageRequest {
        page_size: Some(3),
        page_token: None,
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut sizes = Vec::new();
    loop {
        let found: DevicePage = world.get(Auditor1, query(LIST, &page)).await;
        sizes.push(found.devices.len());
        seen.extend(found.devices.into_iter().map(|device| device.device_id));
        match found.next_page_token {
            Some(token) => page.page_token = Some(token),
            None => break,
        }
    }
    assert_eq!((sizes, seen.len()), (vec![3, 3, 1], 7));
    let none: DevicePage = world
        .get(Oracle2, query(LIST, &PageRequest::default()))
        .await;
    assert!(none.devices.is_empty());
    for key in [
        "",
        "\0device\0Org2MSP\0",
        "\0device\0Org1MSPx\0",
        "\0record\0",
    ] {
        let page = PageRequest {
            page_size: None,
            page_token: Some(PageToken::from_bytes(key.as_bytes())),
        };
        world
            .refused(Oracle1, query(LIST, &page), ErrorCode::PageTokenInvalid)
            .await;
    }
}
