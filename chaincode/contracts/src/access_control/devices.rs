//! Devices and whom they measure, in the collection: a device's ID often is a serial number.

use contract_interface::limits::DEVICE_BINDINGS_MAX;
use contract_interface::names::{collections, transactions, transient};
use contract_interface::{
    Device, DeviceBinding, DeviceId, DevicePage, DeviceRegistration, ErrorCode, PageRequest,
    RegistrationOutcome, Role, Salt, Status, UtcTime,
};
use fabric_shim::Stub;

use super::participants::REGISTRARS;
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::input;
use crate::keys::object_types;
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};

/// Registers a device of the creator's organisation, binds it to a patient, or changes its status.
pub(super) async fn register(stub: &Stub) -> Result<RegistrationOutcome, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &REGISTRARS).await?;
    let registration: DeviceRegistration = input::json_transient(stub, transient::DEVICE)?;
    let salt = input::salt(stub)?;
    let now = input::transaction_time(stub)?;
    check_patient(&ledger, &registration).await?;
    let old = ledger
        .device(&creator.msp_id, &registration.device_id)
        .await?;
    let empty = Device {
        device_id: registration.device_id.clone(),
        msp_id: creator.msp_id.clone(),
        thumbprint: registration.thumbprint,
        status: Status::Active,
        status_since: None,
        bindings: vec![],
        salt,
    };
    let new = changed(old.as_ref().unwrap_or(&empty), &registration, now, salt)?;
    if old.as_ref().is_some_and(|old| {
        Device {
            salt: old.salt,
            ..new.clone()
        } == *old
    }) {
        return Ok(RegistrationOutcome::Unchanged);
    }
    let key = ledger
        .blinding
        .device(&creator.msp_id, &registration.device_id)?;
    ledger.put(collections::RECORDS, &key, &new).await?;
    Ok(match old {
        Some(_) => RegistrationOutcome::Updated,
        None => RegistrationOutcome::Registered,
    })
}

async fn check_patient(
    ledger: &Ledger<'_>,
    registration: &DeviceRegistration,
) -> Result<(), Failure> {
    let patient = ledger.participant(&registration.patient.into()).await?;
    if patient.is_some_and(|participant| participant.role == Role::Patient) {
        Ok(())
    } else {
        Err(Failure::new(
            ErrorCode::ParticipantNotFound,
            "no patient is registered with this pseudonym",
        ))
    }
}

/// The device after the registration.
fn changed(
    old: &Device,
    registration: &DeviceRegistration,
    now: UtcTime,
    salt: Salt,
) -> Result<Device, Failure> {
    if registration
        .bound_until
        .is_some_and(|until| until <= registration.bound_from)
    {
        return Err(Failure::argument("a binding ends after it starts"));
    }
    let status_since = match (registration.status, registration.status_since) {
        (Status::Active, Some(_)) => {
            return Err(Failure::argument(
                "status_since is for devices that are not active",
            ));
        }
        (Status::Active, None) => None,
        (_, Some(since)) => Some(since),
        // The first report of a status fixes its time; repeating it changes nothing.
        (status, None) if status == old.status => old.status_since,
        (_, None) => Some(now),
    };
    if old.status == Status::Revoked && registration.status != Status::Revoked {
        return Err(conflict("the device has been revoked"));
    }
    let binding = DeviceBinding {
        patient: registration.patient,
        bound_from: registration.bound_from,
        bound_until: registration.bound_until,
    };
    Ok(Device {
        device_id: old.device_id.clone(),
        msp_id: old.msp_id.clone(),
        thumbprint: registration.thumbprint,
        status: registration.status,
        status_since,
        bindings: bound(&old.bindings, binding)?,
        salt,
    })
}

/// The bindings with a new one at their end. The last one is replaced if it is the same patient's
/// from the same time, and ended if it is still open when the new one starts. Earlier ones stay as
/// they are, since records rest on them.
fn bound(old: &[DeviceBinding], new: DeviceBinding) -> Result<Vec<DeviceBinding>, Failure> {
    let mut bindings = old.to_vec();
    if let Some(last) = bindings.last_mut() {
        if last.patient == new.patient && last.bound_from == new.bound_from {
            bindings.pop();
        } else if new.bound_from <= last.bound_from {
            return Err(conflict("the binding starts before the device's last one"));
        } else if last.bound_until.is_none_or(|until| until > new.bound_from) {
            last.bound_until = Some(new.bound_from);
        }
    }
    bindings.push(new);
    let surplus = bindings.len().saturating_sub(DEVICE_BINDINGS_MAX);
    bindings.drain(..surplus);
    Ok(bindings)
}

fn conflict(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::DeviceConflict, sentence)
}

/// One device of the viewer's organisation.
pub(super) async fn get(stub: &Stub, id: &DeviceId) -> Result<Device, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let device = ledger.device(viewer.administers()?, id).await?;
    device.ok_or_else(|| {
        Failure::new(
            ErrorCode::DeviceNotFound,
            "no such device in this organisation",
        )
    })
}

/// The devices of the viewer's organisation by pages.
pub(super) async fn list(stub: &Stub, page: &PageRequest) -> Result<DevicePage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = page.items()?;
    let msp_id = viewer.administers()?.to_string();
    let prefix = Prefix::new(object_types::DEVICE, vec![msp_id]);
    let query = Query::new(transactions::LIST_DEVICES, &(), &viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], page, query)?;
    let mut devices = Vec::new();
    while devices.len() < items
        && let Some(found) = scan.next().await?
    {
        devices.push(ledger::parse("a device", &found.value)?);
    }
    Ok(DevicePage {
        devices,
        next_page_token: scan.finish().await?,
    })
}

#[cfg(test)]
mod tests {
    use contract_interface::Pseudonym;

    use super::*;

    fn binding(patient: u8, from: i64, until: Option<i64>) -> DeviceBinding {
        DeviceBinding {
            patient: Pseudonym::from_bytes([patient; 16]),
            bound_from: UtcTime::from_unix_seconds(from).unwrap(),
            bound_until: until.map(|until| UtcTime::from_unix_seconds(until).unwrap()),
        }
    }

    fn check(old: &[DeviceBinding], new: DeviceBinding, expected: Option<&[DeviceBinding]>) {
        assert_eq!(bound(old, new).ok().as_deref(), expected);
    }

    #[test]
    fn bindings_follow_one_another() {
        let open = binding(1, 10, None);
        check(&[], open, Some(&[open]));
        check(&[open], open, Some(&[open]));
        check(
            &[open],
            binding(1, 10, Some(20)),
            Some(&[binding(1, 10, Some(20))]),
        );
        let next = binding(2, 15, None);
        check(&[open], next, Some(&[binding(1, 10, Some(15)), next]));
        check(
            &[binding(1, 10, Some(20))],
            next,
            Some(&[binding(1, 10, Some(15)), next]),
        );
        check(
            &[binding(1, 10, Some(12))],
            next,
            Some(&[binding(1, 10, Some(12)), next]),
        );
        check(&[open], binding(2, 10, None), None);
        check(&[open], binding(2, 9, Some(11)), None);
    }

    #[test]
    fn the_oldest_binding_leaves_first() {
        let mut bindings = vec![];
        for n in 0..70 {
            bindings = bound(&bindings, binding(1, n, None)).unwrap();
        }
        assert_eq!(bindings.len(), DEVICE_BINDINGS_MAX);
        assert_eq!(bindings[0], binding(1, 6, Some(7)));
        assert_eq!(bindings[63], binding(1, 69, None));
    }
}
