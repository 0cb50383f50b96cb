//! `salus guardians`.

use anyhow::{Context as _, Result};
use contract_interface::{
    Decision, DelegationId, PageRequest, ParticipantId, Pseudonym, RevokeDelegation,
    access::{Delegation, DelegationEntry, DelegationFilter, GrantFilter, GrantStatus, Power},
};
use salus::{Client, Custody, custody, signing};
use serde_json::json;

use crate::{
    args::{GuardiansAdd, GuardiansList, GuardiansRemove, GuardiansShare, Whom},
    grants::{ensure_own_custody, from_now, handed_over},
    output::Output,
    recipients::{Named, confirmed},
};

pub(crate) async fn add(client: &Client, args: &GuardiansAdd, out: Output) -> Result<()> {
    let now = signing::now()?;
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(signing::random()?),
        patient: patient(client, args.patient).await?,
        guardian: args.guardian,
        powers: args.powers.clone(),
        basis: args.basis.into(),
        valid_from: match args.valid_from {
            Some(time) => time,
            None => from_now(now)?,
        },
        valid_until: args.valid_until.from(now)?,
    };
    delegation
        .validate()
        .map_err(|error| anyhow::anyhow!("the delegation is not {}", error.expected))?;
    let (id, until) = (delegation.delegation_id, delegation.valid_until);
    let shares = client.custody() == Custody::Patient
        && args.patient.is_none()
        && args.powers.contains(&Power::Read);
    let recorded = client.delegate(delegation).await?;
    let mut sentence = format!(
        "{} may act for the patient until {until}: delegation {id}",
        args.guardian
    );
    if shares {
        let shared = share_keys(client, &args.guardian, &args.whom, out)
            .await
            .with_context(|| {
                format!("{sentence}, but the keys are not handed over: `salus guardians share`")
            })?;
        sentence.push_str(&format!("; {}", handed_over(&shared)));
    }
    out.recorded(&[("delegation_id", &id.to_string())], &recorded, &sentence)?;
    Ok(())
}

pub(crate) async fn share(client: &Client, args: &GuardiansShare, out: Output) -> Result<()> {
    ensure_own_custody(client)?;
    let shared = share_keys(client, &args.guardian, &args.whom, out).await?;
    out.result(
        &json!({
            "guardian": args.guardian,
            "records": shared.records,
            "changed": shared.changed,
            "elsewhere": shared.elsewhere,
        }),
        &handed_over(&shared),
    )?;
    Ok(())
}

async fn share_keys(
    client: &Client,
    guardian: &ParticipantId,
    whom: &Whom,
    out: Output,
) -> Result<custody::Outcome> {
    let guardian = confirmed(client, guardian, Named::Here, whom).await?;
    let patient = patient(client, None).await?;
    let shared = custody::share_with_guardian(client, &guardian, patient, |progress| {
        out.progress("keys handed over", progress.done, progress.total);
    })
    .await?;
    Ok(shared)
}

pub(crate) async fn list(client: &Client, args: &GuardiansList, out: Output) -> Result<()> {
    let filter = DelegationFilter {
        patient: args.patient,
        guardian: args.guardian,
        page: PageRequest::default(),
    };
    let delegations = client.delegations(filter).await?;
    let heads = [
        "DELEGATION",
        "PATIENT",
        "GUARDIAN",
        "POWERS",
        "BASIS",
        "FROM",
        "UNTIL",
        "STATUS",
    ];
    out.list(&delegations, heads, |entry: &DelegationEntry| {
        let delegation = &entry.delegation;
        let powers: Vec<String> = delegation
            .powers
            .iter()
            .map(|power| format!("{power:?}").to_lowercase())
            .collect();
        [
            delegation.delegation_id.to_string(),
            delegation.patient.to_string(),
            delegation.guardian.to_string(),
            powers.join(","),
            format!("{:?}", delegation.basis).to_lowercase(),
            delegation.valid_from.to_string(),
            delegation.valid_until.to_string(),
            format!("{:?}", entry.status).to_lowercase(),
        ]
    })?;
    Ok(())
}

pub(crate) async fn remove(client: &Client, args: &GuardiansRemove, out: Output) -> Result<()> {
    let patient = patient(client, args.patient).await?;
    let filter = DelegationFilter {
        patient: Some(patient),
        ..DelegationFilter::default()
    };
    let entry = client
        .delegations(filter)
        .await?
        .into_iter()
        .find(|entry| entry.delegation.delegation_id == args.delegation)
        .with_context(|| format!("the patient has no delegation {}", args.delegation))?;
    let guardian = entry.delegation.guardian;
    // The end of each tells its holder; who is no patient leaves that to the patient.
    let revoked = match (args.end_grants, args.patient) {
        (true, None) => revoke_given_under(client, patient, args.delegation).await?,
        _ => 0,
    };
    let recorded = client
        .revoke_delegation(RevokeDelegation {
            delegation_id: args.delegation,
            patient,
            guardian,
            end_grants: args.end_grants,
        })
        .await?;
    let ended = if args.end_grants {
        ", and no permit that it gave opens anything"
    } else {
        "; what it permitted stays: salus grants list"
    };
    out.recorded(
        &[
            ("delegation_id", &args.delegation.to_string()),
            ("grants_revoked", &revoked.to_string()),
        ],
        &recorded,
        &format!("{guardian} no longer acts for the patient{ended}"),
    )?;
    Ok(())
}

/// Revokes the standing permits that a guardian gave for a patient, the caller, under a delegation;
/// how many.
async fn revoke_given_under(
    client: &Client,
    patient: Pseudonym,
    delegation: DelegationId,
) -> Result<usize> {
    let filter = GrantFilter {
        patient: Some(patient),
        ..GrantFilter::default()
    };
    let given = client.grants(filter).await?;
    let standing = given.iter().filter(|entry| {
        entry.delegation_id == Some(delegation)
            && entry.status == GrantStatus::Active
            && entry.grant.rule.decision == Decision::Permit
    });
    let mut revoked = 0;
    for entry in standing {
        client.revoke_grant(entry.grant.grant_id, None).await?;
        revoked += 1;
    }
    Ok(revoked)
}

/// The patient that is named, or the caller.
pub(crate) async fn patient(client: &Client, named: Option<Pseudonym>) -> Result<Pseudonym> {
    match named {
        Some(patient) => Ok(patient),
        None => Ok(client.me().await?.participant_id.into()),
    }
}
