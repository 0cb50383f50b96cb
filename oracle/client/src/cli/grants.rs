//! `salus grants`.

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{
    AccessRequestId, Grant, GrantEntry, GrantFilter, GrantId, Grantee, PageRequest, ParticipantId,
    Pseudonym, Rule, UtcTime,
    access::{AccessRequestEntry, AccessRequestFilter, AccessRequestStatus},
};
use salus::{Client, Custody, Recorded, custody, signing, trust::Recipient};
use serde_json::json;

use crate::{
    args::{GrantsGive, GrantsList, GrantsRevoke, GrantsShare, GrantsShow, Until},
    output::Output,
    recipients::{Named, confirmed},
    wording,
};

/// How long a permit holds if nothing is said.
const PERMIT_LASTS: Until = Until::days(90);
/// A grant that holds from now on is dated back so far, in seconds, against clocks that lag.
const BACKDATE_SECONDS: i64 = 60;

/// From when something holds that holds from now on.
pub(crate) fn from_now(now: UtcTime) -> Result<UtcTime> {
    Ok(UtcTime::from_unix_seconds(
        now.unix_seconds() - BACKDATE_SECONDS,
    )?)
}

pub(crate) async fn give(client: &Client, args: &GrantsGive, out: Output) -> Result<()> {
    let now = signing::now()?;
    let asked = match args.in_reply_to {
        Some(id) => Some(open_request(client, id, args.patient).await?),
        None => None,
    };
    let grant = grant(args, asked.as_ref(), now)?;
    let (grant_id, valid_until) = (grant.grant_id, grant.valid_until);
    let done = if grant.rule.decision == contract_interface::Decision::Permit {
        "given"
    } else {
        "given, a denial,"
    };
    let shares = shares(client, &grant.rule);
    let named_here = match args.rule.to {
        Some(_) => Named::Here,
        None => Named::ByOracle,
    };
    let recipient = match named(&grant.rule) {
        Some(id) if shares => Some(confirmed(client, &id, named_here, &args.whom).await?),
        _ => None,
    };
    let recorded = client.give_grant(grant, args.patient).await?;
    let mut sentence = format!(
        "grant {grant_id} {done} until {}",
        wording::end(valid_until)
    );
    if asked.is_some() {
        sentence.push_str(", which accepts the request");
    }
    if shares {
        let shared = share_keys(client, &grant_id, args.patient, recipient.as_ref(), out)
            .await
            .with_context(|| {
                format!("{sentence}, but the keys are not handed over: `salus grants share --grant {grant_id}`")
            })?;
        sentence.push_str(&format!("; {}", handed_over(&shared)));
    }
    report(grant_id, &recorded, &sentence, out)
}

/// Whether this client has to hand keys to the grantee.
pub(crate) fn shares(client: &Client, rule: &Rule) -> bool {
    client.custody() == Custody::Patient
        && rule.decision == contract_interface::Decision::Permit
        && rule
            .purposes
            .iter()
            .any(|purpose| *purpose != contract_interface::Purpose::Btg)
}

/// The grant that the arguments describe, completed from the request that it answers.
fn grant(args: &GrantsGive, asked: Option<&AccessRequestEntry>, now: UtcTime) -> Result<Grant> {
    let grantee = match (&args.rule.to, asked) {
        (Some(grantee), _) => grantee.clone(),
        (None, Some(asked)) => Grantee::Participant(asked.requester),
        (None, None) => anyhow::bail!("no grantee: name one with --to"),
    };
    let mut rule = args.rule.rule(grantee);
    if let Some(asked) = asked {
        let request = &asked.request;
        if rule.types.is_empty() && rule.records.is_empty() {
            rule.types.clone_from(&request.types);
        }
        if rule.purposes.is_empty() {
            rule.purposes.clone_from(&request.purposes);
        }
        rule.data_period = rule.data_period.or(request.data_period);
        rule.project = rule.project.or_else(|| request.project.clone());
    }
    let valid_until = match (args.valid_until, asked) {
        (Some(until), _) => until.from(now)?,
        (None, Some(asked)) => asked.request.wanted_until,
        (None, None) if args.rule.deny => UtcTime::MAX,
        (None, None) => PERMIT_LASTS.from(now)?,
    };
    let grant = Grant {
        grant_id: GrantId::from_bytes(signing::random()?),
        rule,
        valid_from: match args.valid_from {
            Some(time) => time,
            None => from_now(now)?,
        },
        valid_until,
        max_reads: args.max_reads,
        in_reply_to: args.in_reply_to,
    };
    grant
        .validate()
        .map_err(|error| anyhow::anyhow!("the grant is not {}", error.expected))?;
    Ok(grant)
}

async fn open_request(
    client: &Client,
    request_id: AccessRequestId,
    patient: Option<Pseudonym>,
) -> Result<AccessRequestEntry> {
    let patient = match patient {
        Some(patient) => patient,
        None => client.me().await?.participant_id.into(),
    };
    let filter = AccessRequestFilter {
        patient: Some(patient),
        open_only: true,
        ..AccessRequestFilter::default()
    };
    let found = client.access_requests(filter).await?;
    found
        .into_iter()
        .find(|entry| {
            entry.request.request_id == request_id && entry.status == AccessRequestStatus::Open
        })
        .with_context(|| format!("there is no open request {request_id}: salus access list"))
}

pub(crate) async fn revoke(client: &Client, args: &GrantsRevoke, out: Output) -> Result<()> {
    let recorded = client.revoke_grant(args.grant, args.patient).await?;
    let sentence = format!("grant {} revoked", args.grant);
    report(args.grant, &recorded, &sentence, out)
}

pub(crate) async fn show(client: &Client, args: &GrantsShow, out: Output) -> Result<()> {
    let entry = client.grant(&args.grant, args.patient).await?;
    let grant = &entry.grant;
    let mut lines = vec![
        format!(
            "grant {} (version {}, {})",
            grant.grant_id,
            entry.version,
            format!("{:?}", entry.status).to_lowercase()
        ),
        format!(
            "  {} to {}",
            wording::decision(grant.rule.decision),
            wording::grantee(&grant.rule.grantee)
        ),
        format!("  data      {}", wording::data(&grant.rule)),
        format!("  purposes  {}", wording::purposes(&grant.rule)),
        format!(
            "  valid     {} to {}",
            grant.valid_from,
            wording::end(grant.valid_until)
        ),
        format!("  given     {} by {}", entry.given_at, entry.given_by),
    ];
    if let Some(max) = grant.max_reads {
        lines.push(format!("  reads     at most {max}"));
    }
    if let Some(revoked) = entry.revoked_at {
        lines.push(format!("  revoked   {revoked}"));
    }
    out.result(&entry, &lines.join("\n"))?;
    Ok(())
}

pub(crate) async fn list(client: &Client, args: &GrantsList, out: Output) -> Result<()> {
    let filter = GrantFilter {
        patient: args.patient,
        grantee: args.grantee,
        page: PageRequest::default(),
    };
    let grants = client.grants(filter).await?;
    let heads = [
        "GRANT", "SAYS", "TO", "DATA", "PURPOSES", "FROM", "UNTIL", "STATUS", "GIVEN BY",
    ];
    out.list(&grants, heads, |entry: &GrantEntry| {
        let grant = &entry.grant;
        [
            grant.grant_id.to_string(),
            wording::decision(grant.rule.decision).to_owned(),
            wording::grantee(&grant.rule.grantee),
            wording::data(&grant.rule),
            wording::purposes(&grant.rule),
            grant.valid_from.to_string(),
            wording::end(grant.valid_until),
            format!("{:?}", entry.status).to_lowercase(),
            giver(entry),
        ]
    })?;
    Ok(())
}

/// Who gave a grant: the patient, or a guardian with its delegation.
fn giver(entry: &GrantEntry) -> String {
    match entry.delegation_id {
        None => "patient".to_owned(),
        Some(delegation) => format!("guardian {} by {delegation}", entry.given_by),
    }
}

pub(crate) async fn share(client: &Client, args: &GrantsShare, out: Output) -> Result<()> {
    ensure_own_custody(client)?;
    let id = custody::named_by(client, &args.grant, None).await?;
    let recipient = confirmed(client, &id, Named::ByOracle, &args.whom).await?;
    let shared = share_keys(client, &args.grant, None, Some(&recipient), out).await?;
    out.result(
        &json!({
            "grant_id": args.grant,
            "records": shared.records,
            "changed": shared.changed,
            "elsewhere": shared.elsewhere,
        }),
        &handed_over(&shared),
    )?;
    Ok(())
}

/// Keys are handed over here only if nobody else holds them.
pub(crate) fn ensure_own_custody(client: &Client) -> Result<()> {
    ensure!(
        client.custody() == Custody::Patient,
        "your organisation's oracle hands out keys for you; `custody` in your profile says so"
    );
    Ok(())
}

/// Hands the keys of the records that a grant covers to its grantee, if it names a person, saying
/// how far it is.
pub(crate) async fn share_keys(
    client: &Client,
    grant_id: &GrantId,
    patient: Option<Pseudonym>,
    recipient: Option<&Recipient>,
    out: Output,
) -> Result<custody::Outcome> {
    let Some(recipient) = recipient else {
        custody::named_by(client, grant_id, patient).await?;
        bail!("it is not known who should get the keys");
    };
    let shared = custody::share(client, grant_id, patient, recipient, |progress| {
        out.progress("keys handed over", progress.done, progress.total);
    })
    .await?;
    Ok(shared)
}

/// What handing over did.
pub(crate) fn handed_over(shared: &custody::Outcome) -> String {
    let mut text = format!(
        "the keys of {} records are handed over, {} of them new",
        shared.records, shared.changed
    );
    for msp_id in &shared.elsewhere {
        text.push_str(&format!(
            "; records that {msp_id} keeps: share again with the address of its oracle"
        ));
    }
    text
}

fn report(grant_id: GrantId, recorded: &Recorded, sentence: &str, out: Output) -> Result<()> {
    out.recorded(&[("grant_id", &grant_id.to_string())], recorded, sentence)?;
    Ok(())
}

/// The participant that a rule names, if it names one.
pub(crate) fn named(rule: &Rule) -> Option<ParticipantId> {
    match rule.grantee {
        Grantee::Participant(id) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Command, GrantsCommand, Salus};

    fn parsed(line: &str) -> GrantsGive {
        let words = ["salus", "grants", "give"]
            .into_iter()
            .chain(line.split(' '));
        match Salus::try_parse_from(words).unwrap().command {
            Command::Grants(GrantsCommand::Give(give)) => *give,
            _ => unreachable!("it is grants give"),
        }
    }

    fn asked() -> AccessRequestEntry {
        serde_json::from_value(json!({
            "request": {
                "request_id": "01".repeat(16),
                "patient": "02".repeat(16),
                "types": ["8867-4"],
                "data_period": { "from": "2026-01-01T00:00:00Z" },
                "purposes": ["TREAT", "HRESCH"],
                "project": "study-1",
                "wanted_until": "2026-07-01T00:00:00Z",
            },
            "requester": "03".repeat(16),
            "requester_msp": "Org2MSP",
            "status": "open",
            "asked_at": "2026-05-01T00:00:00Z",
            "requests": [],
            "salt": format!("01{}", "00".repeat(31)),
        }))
        .unwrap()
    }

    #[test]
    fn an_answer_takes_from_the_request_what_is_not_said() {
        let now: UtcTime = "2026-06-01T00:00:00Z".parse().unwrap();
        let reply = format!("--in-reply-to {}", "01".repeat(16));
        let whole = grant(&parsed(&reply), Some(&asked()), now).unwrap();
        assert_eq!(
            wording::grantee(&whole.rule.grantee),
            format!("participant:{}", "03".repeat(16))
        );
        assert_eq!(wording::purposes(&whole.rule), "TREAT,HRESCH for study-1");
        assert_eq!(
            wording::data(&whole.rule),
            "types 8867-4; from 2026-01-01T00:00:00Z"
        );
        assert_eq!(whole.valid_until.to_string(), "2026-07-01T00:00:00Z");

        let narrowed = format!("{reply} --purpose TREAT --valid-until 2d --max-reads 1");
        let narrowed = grant(&parsed(&narrowed), Some(&asked()), now).unwrap();
        assert_eq!(wording::purposes(&narrowed.rule), "TREAT for study-1");
        assert_eq!(narrowed.valid_until.to_string(), "2026-06-03T00:00:00Z");
        assert_eq!(narrowed.max_reads, Some(1));
    }

    #[test]
    fn a_permit_ends_after_a_while_and_a_denial_does_not() {
        let now: UtcTime = "2026-06-01T00:00:00Z".parse().unwrap();
        let permit = grant(&parsed("--to anyone --purpose TREAT"), None, now).unwrap();
        assert_eq!(permit.valid_until.to_string(), "2026-08-30T00:00:00Z");
        assert_eq!(permit.valid_from.to_string(), "2026-05-31T23:59:00Z");
        let denial = grant(&parsed("--deny --to anyone"), None, now).unwrap();
        assert_eq!(denial.valid_until, UtcTime::MAX);
        assert_eq!(wording::purposes(&denial.rule), "all but BTG");
    }

    #[test]
    fn what_no_contract_takes_is_refused_here() {
        let now: UtcTime = "2026-06-01T00:00:00Z".parse().unwrap();
        for (line, why) in [
            (
                "--to anyone --purpose TREAT --valid-until 2020-01-01T00:00:00Z",
                "validity",
            ),
            ("--to anyone --purpose TREAT --purpose TREAT", "none twice"),
            ("--to anyone --purpose TREAT --max-reads 0", "at least one"),
        ] {
            let error = grant(&parsed(line), None, now).unwrap_err();
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
