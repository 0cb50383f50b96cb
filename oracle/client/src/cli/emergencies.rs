//! `salus emergencies` and `salus notices`.

use anyhow::{Context as _, Result};
use contract_interface::{
    EmergencyId, PageRequest, ParticipantId, ReviewEmergency, Role,
    access::{Emergency, EmergencyEntry, EmergencyFilter, Notice, NoticeFilter, ReviewOutcome},
};
use salus::{Client, letters, signing};
use serde::Serialize;

use crate::{
    access::words,
    args::{EmergenciesDeclare, EmergenciesList, EmergenciesReview, NoticesArgs},
    output::Output,
    wording,
};

pub(crate) async fn declare(client: &Client, args: &EmergenciesDeclare, out: Output) -> Result<()> {
    let patient = client
        .participant(&ParticipantId::from(args.patient))
        .await
        .context("the patient whose records are needed cannot be looked up")?;
    let officers = client
        .key_holders(&patient.msp_id, &[Role::Auditor, Role::Admin])
        .await?;
    let readers: Vec<_> = std::iter::once(patient).chain(officers).collect();
    let now = signing::now()?;
    let emergency = Emergency {
        emergency_id: EmergencyId::from_bytes(signing::random()?),
        patient: args.patient,
        reason: args.reason.into(),
        justification: letters::seal(&readers, &words(&args.justification)?)?,
        valid_until: args.lasts.from(now)?,
    };
    emergency
        .validate(now)
        .map_err(|error| anyhow::anyhow!("what is declared must be {}", error.expected))?;
    let (id, until) = (emergency.emergency_id, emergency.valid_until);
    let recorded = client.declare_emergency(emergency).await?;
    out.recorded(
        &[
            ("emergency_id", &id.to_string()),
            ("valid_until", &until.to_string()),
        ],
        &recorded,
        &format!(
            "emergency {id} declared: until {until} read with --purpose BTG; the patient and the \
             privacy officers are told"
        ),
    )?;
    Ok(())
}

/// An emergency with its justification, opened.
#[derive(Serialize)]
struct With<'a> {
    #[serde(rename = "emergency_id")]
    id: EmergencyId,
    #[serde(flatten)]
    entry: &'a EmergencyEntry,
    #[serde(rename = "justification", skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

pub(crate) async fn list(client: &Client, args: &EmergenciesList, out: Output) -> Result<()> {
    let filter = EmergencyFilter {
        patient: args.patient,
        patient_msp: args.organization.clone(),
        open_only: args.open,
        page: PageRequest::default(),
    };
    let emergencies = client.emergencies(filter).await?;
    let opened = |entry: &EmergencyEntry| match args.justifications {
        true => Some(
            client
                .open_letter(&entry.emergency.justification)
                .unwrap_or_else(|error| format!("({error})")),
        ),
        false => None,
    };
    if out.is_json() {
        let items: Vec<_> = emergencies
            .iter()
            .map(|entry| With {
                entry,
                id: entry.emergency.emergency_id,
                words: opened(entry),
            })
            .collect();
        out.lines(&items)?;
        return Ok(());
    }
    let heads = [
        "EMERGENCY",
        "PATIENT",
        "BY",
        "ORGANISATION",
        "REASON",
        "DECLARED",
        "UNTIL",
        "REVIEW",
        "JUSTIFICATION",
    ];
    out.list(&emergencies, heads, |entry: &EmergencyEntry| {
        let emergency = &entry.emergency;
        [
            emergency.emergency_id.to_string(),
            emergency.patient.to_string(),
            entry.reader.to_string(),
            entry.reader_msp.to_string(),
            snake(&emergency.reason),
            entry.declared_at.to_string(),
            emergency.valid_until.to_string(),
            entry
                .review
                .as_ref()
                .map_or_else(|| "open".to_owned(), |review| snake(&review.outcome)),
            opened(entry).unwrap_or_default(),
        ]
    })?;
    Ok(())
}

pub(crate) async fn review(client: &Client, args: &EmergenciesReview, out: Output) -> Result<()> {
    let filter = EmergencyFilter {
        patient_msp: Some(client.me().await?.msp_id),
        ..EmergencyFilter::default()
    };
    let entry = client
        .emergencies(filter)
        .await?
        .into_iter()
        .find(|entry| entry.emergency.emergency_id == args.emergency)
        .with_context(|| {
            format!(
                "your organisation's patients have no emergency {}",
                args.emergency
            )
        })?;
    let outcome: ReviewOutcome = args.outcome.into();
    let recorded = client
        .review_emergency(ReviewEmergency {
            emergency_id: args.emergency,
            patient: entry.emergency.patient,
            reader: entry.reader,
            outcome,
        })
        .await?;
    out.recorded(
        &[
            ("emergency_id", &args.emergency.to_string()),
            ("outcome", &snake(&outcome)),
        ],
        &recorded,
        &format!("emergency {} reviewed: {}", args.emergency, snake(&outcome)),
    )?;
    Ok(())
}

pub(crate) async fn notices(client: &Client, args: &NoticesArgs, out: Output) -> Result<()> {
    let filter = NoticeFilter {
        from: args.from,
        page: PageRequest::default(),
    };
    let notices = client.notices(filter).await?;
    let heads = ["TIME", "TO", "PATIENT", "WHAT"];
    out.list(&notices, heads, |notice: &Notice| {
        [
            notice.at.to_string(),
            wording::recipient(&notice.recipient),
            notice.patient.to_string(),
            wording::happening(&notice.happening),
        ]
    })?;
    Ok(())
}

/// A code of the interface as it is written in JSON.
fn snake(code: &impl Serialize) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
