//! Who else takes part: staff of both organisations, and a guardian.

use anyhow::Result;
use contract_interface::{ParticipantId, Role};

use super::{
    Cast,
    command::{run_json, spec, text},
};
use crate::{consortium::Person, ledger::Ledger, system::System};

/// People beside the patients and their provider.
#[derive(Debug, Clone)]
pub struct Staff {
    /// Checks who read what in the first organisation, and reviews its patients' emergencies.
    pub auditor: Person,
    /// The auditor's ID on the ledger.
    pub auditor_id: ParticipantId,
    /// A provider of the second organisation who may declare emergencies.
    pub emergency: Person,
    /// That provider's ID on the ledger.
    pub emergency_id: ParticipantId,
    /// Someone of the first organisation who may act for others.
    pub guardian: Person,
    /// The guardian's ID on the ledger.
    pub guardian_id: ParticipantId,
}

/// Enrols and registers them, and registers the administrator, who signs policies.
///
/// # Errors
/// When a registration is refused.
pub async fn enrol_staff(system: &System, cast: &Cast) -> Result<Staff> {
    let consortium = &system.consortium;
    let administrator = &cast.administrator;
    // Key pairs are made at once: each takes a noticeable fraction of a second.
    let enrol = |name: &'static str, organization, attributes: &'static [(&str, &str)]| {
        let consortium = consortium.clone();
        async move {
            tokio::task::spawn_blocking(move || consortium.enrol(name, organization, attributes))
                .await?
        }
    };
    let (auditor, guardian, emergency) = tokio::try_join!(
        enrol("auditor", 0, &[("salus.role", "auditor")]),
        enrol("guardian", 0, &[("salus.role", "patient")]),
        enrol(
            "dr-night",
            1,
            &[("salus.role", "provider"), ("salus.emergency", "true")],
        ),
    )?;
    register(system, administrator, administrator, Role::Admin).await?;
    let known = consortium
        .known_id(&emergency)
        .and_then(|id| id.parse().ok());
    let emergency_id = Ledger::connect(system.network.info(), 1)?
        .register_provider(&emergency, known)
        .await?;
    consortium.keep_id(&emergency, &emergency_id.to_string())?;
    Ok(Staff {
        auditor_id: register(system, administrator, &auditor, Role::Auditor).await?,
        guardian_id: register(system, administrator, &guardian, Role::Patient).await?,
        auditor,
        emergency,
        emergency_id,
        guardian,
    })
}

/// Has an administrator register someone of the first organisation; under the ID of an earlier
/// run if there was one.
///
/// # Errors
/// When the registration is refused.
pub async fn register(
    system: &System,
    administrator: &Person,
    person: &Person,
    role: Role,
) -> Result<ParticipantId> {
    let add = spec(system, administrator)?
        .arg("participants")
        .arg("add")
        .option("--role", role.as_str())
        .option("--certificate", person.certificate_file()?)
        .option("--encryption-key", person.public_key_file())
        .option("--key-proof", person.key_proof_file());
    let id = text(&run_json(add).await?, "participant_id")?;
    system.consortium.keep_id(person, &id)?;
    Ok(id.parse()?)
}
