//! Who takes part: certificates, keys, and their places on the ledger.

use anyhow::Result;
use contract_interface::{ParticipantId, Pseudonym, Role};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    READS_AT_ONCE,
    command::{run_json, spec},
    staff::register,
};
use crate::{
    consortium::{Device, Person},
    ledger::Ledger,
    system::System,
};

/// Devices are bound from here on, so that readings of any date are theirs.
const BOUND_FROM: &str = "1900-01-01T00:00:00Z";

/// A patient who has been enrolled, with a device.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The patient's certificate, keys and profile.
    pub person: Person,
    /// The patient's pseudonym on the ledger.
    pub pseudonym: Pseudonym,
    /// The device that measures the patient.
    pub device: Device,
}

/// Who takes part, enrolled.
#[derive(Debug, Clone)]
pub struct Cast {
    /// An administrator of the oracle's organisation.
    pub administrator: Person,
    /// A provider of the other organisation.
    pub provider: Person,
    /// The provider's ID on the ledger.
    pub provider_id: ParticipantId,
    /// The patients, one for each in the input.
    pub patients: Vec<Patient>,
}

/// Issues certificates and registers everyone: the provider by the other organisation's
/// administrator directly, the rest through the oracle's REST API.
///
/// # Errors
/// When a registration is refused.
pub async fn enrol(system: &System, patients: usize) -> Result<Cast> {
    let consortium = &system.consortium;
    let administrator = consortium.enrol("records-admin", 0, &[("salus.role", "admin")])?;
    let provider = consortium.enrol("dr-house", 1, &[("salus.role", "provider")])?;
    let ledger = Ledger::connect(system.network.info(), 1)?;
    let known = consortium
        .known_id(&provider)
        .and_then(|id| id.parse().ok());
    let provider_id = ledger.register_provider(&provider, known).await?;
    consortium.keep_id(&provider, &provider_id.to_string())?;
    // Key pairs are made at once: each takes a noticeable fraction of a second.
    let people: Vec<(Person, Device)> = stream::iter(1..=patients)
        .map(|number| {
            let consortium = consortium.clone();
            tokio::task::spawn_blocking(move || {
                let role = [("salus.role", "patient")];
                let person = consortium.enrol(&format!("patient-{number}"), 0, &role)?;
                let device = consortium.device(&format!("monitor-{number}"))?;
                anyhow::Ok((person, device))
            })
        })
        .buffered(2)
        .map(|joined| joined?)
        .try_collect()
        .await?;
    let patients = stream::iter(people)
        .map(|(person, device)| enrol_patient(system, &administrator, person, device))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Cast {
        administrator,
        provider,
        provider_id,
        patients,
    })
}

async fn enrol_patient(
    system: &System,
    administrator: &Person,
    person: Person,
    device: Device,
) -> Result<Patient> {
    let pseudonym = register(system, administrator, &person, Role::Patient)
        .await?
        .to_string();
    let bind = spec(system, administrator)?
        .arg("devices")
        .arg("add")
        .option("--device", &device.id)
        .option("--certificate", device.file("client.crt"))
        .option("--patient", &pseudonym)
        .option("--from", BOUND_FROM);
    run_json(bind).await?;
    Ok(Patient {
        pseudonym: pseudonym.parse()?,
        person,
        device,
    })
}
