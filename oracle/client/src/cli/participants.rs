//! `salus participants`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use contract_interface::{
    Jwk, PageRequest, ParticipantFilter, ParticipantId, ParticipantRegistration, Status,
};
use salus::{Client, key_proof, signing};
use serde_json::json;

use crate::{
    args::{ParticipantsAdd, ParticipantsList},
    output::Output,
};

pub(crate) async fn add(client: &Client, args: &ParticipantsAdd, out: Output) -> Result<()> {
    let key_proof = match &args.key_proof {
        Some(file) => Some(read(file)?.trim_end().to_owned()),
        None => None,
    };
    let participant_id = match (&args.id, &key_proof) {
        (Some(id), _) => *id,
        (None, Some(proof)) => key_proof::statement(proof)?.participant_id(),
        (None, None) => ParticipantId::from_bytes(signing::random()?),
    };
    let registration = ParticipantRegistration {
        participant_id,
        role: args.role,
        certificate: read(&args.certificate)?,
        encryption_key: match &args.encryption_key {
            Some(file) => Some(public_key(file)?),
            None => None,
        },
        key_proof,
        status: Status::Active,
    };
    let registered = client.register_participant(&registration).await?;
    out.result(
        &json!({
            "participant_id": participant_id,
            "outcome": registered.outcome,
            "transaction_id": registered.transaction_id,
            "block_number": registered.block_number,
        }),
        &format!(
            "{} {participant_id}, transaction {} in block {}",
            args.role, registered.transaction_id, registered.block_number
        ),
    )?;
    Ok(())
}

pub(crate) async fn list(client: &Client, args: &ParticipantsList, out: Output) -> Result<()> {
    let filter = ParticipantFilter {
        role: args.role,
        msp_id: args.organization.clone(),
        page: PageRequest::default(),
    };
    let participants = client.participants(filter).await?;
    out.list(
        &participants,
        ["ID", "ROLE", "ORGANISATION", "STATUS"],
        |participant| {
            [
                participant.participant_id.to_string(),
                participant.role.to_string(),
                participant.msp_id.to_string(),
                format!("{:?}", participant.status).to_lowercase(),
            ]
        },
    )?;
    Ok(())
}

pub(crate) fn public_key(file: &Path) -> Result<Jwk> {
    serde_json::from_str(&read(file)?)
        .with_context(|| format!("{} is not a public RSA JWK", file.display()))
}

pub(crate) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
