//! `salus grants`.

use anyhow::{Context as _, Result};
use contract_interface::{
    Grant, GrantEntry, GrantFilter, GrantId, GrantPeriod, Grantee, PageRequest, UtcTime,
};
use salus::{Changed, Client, signing};
use serde_json::json;

use crate::{
    args::{GrantsGive, GrantsList, GrantsRevoke},
    output::Output,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// A grant that holds from now on is dated back so far, in seconds, against clocks that lag.
const BACKDATE_SECONDS: i64 = 60;

pub(crate) async fn give(client: &Client, args: &GrantsGive, out: Output) -> Result<()> {
    let now = signing::now()?;
    let has_period = args.data_from.is_some() || args.data_until.is_some();
    let grant = Grant {
        grant_id: GrantId::from_bytes(signing::random()?),
        grantee: args.to.clone(),
        types: args.types.clone(),
        data_period: has_period.then_some(GrantPeriod {
            from: args.data_from,
            until: args.data_until,
        }),
        valid_from: match args.from {
            Some(time) => time,
            None => UtcTime::from_unix_seconds(now.unix_seconds() - BACKDATE_SECONDS)?,
        },
        valid_until: until(&args.until, now)?,
        purposes: args.purpose.clone(),
    };
    let valid_until = grant.valid_until;
    let changed = client.give_grant(grant).await?;
    report(
        &changed,
        &format!("grant {} given until {valid_until}", changed.grant_id),
        out,
    )
}

pub(crate) async fn revoke(client: &Client, args: &GrantsRevoke, out: Output) -> Result<()> {
    let changed = client.revoke_grant(args.grant).await?;
    report(
        &changed,
        &format!("grant {} revoked", changed.grant_id),
        out,
    )
}

pub(crate) async fn list(client: &Client, args: &GrantsList, out: Output) -> Result<()> {
    let filter = GrantFilter {
        patient: args.patient,
        grantee: args.grantee,
        page: PageRequest::default(),
    };
    let grants = client.grants(filter).await?;
    let heads = [
        "GRANT", "TO", "TYPES", "PURPOSES", "FROM", "UNTIL", "STATUS",
    ];
    out.list(&grants, heads, |entry: &GrantEntry| {
        let grant = &entry.grant;
        let join = |words: Vec<String>| words.join(",");
        [
            grant.grant_id.to_string(),
            grantee(&grant.grantee),
            if grant.types.is_empty() {
                "all".to_owned()
            } else {
                join(grant.types.iter().map(ToString::to_string).collect())
            },
            join(grant.purposes.iter().map(ToString::to_string).collect()),
            grant.valid_from.to_string(),
            grant.valid_until.to_string(),
            format!("{:?}", entry.status).to_lowercase(),
        ]
    })?;
    Ok(())
}

fn report(changed: &Changed, sentence: &str, out: Output) -> Result<()> {
    let Changed {
        grant_id,
        transaction_id,
        block_number,
    } = changed;
    out.result(
        &json!({
            "grant_id": grant_id,
            "transaction_id": transaction_id,
            "block_number": block_number,
        }),
        &format!("{sentence}, transaction {transaction_id} in block {block_number}"),
    )?;
    Ok(())
}

fn grantee(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Participant(id) => format!("participant:{id}"),
        Grantee::Organization(msp_id) => format!("organization:{msp_id}"),
        Grantee::Role { msp_id, role } => format!("role:{msp_id}/{role}"),
    }
}

fn until(text: &str, now: UtcTime) -> Result<UtcTime> {
    if let Some(days) = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok())
    {
        let seconds = now.unix_seconds() + i64::from(days) * DAY_SECONDS;
        return Ok(UtcTime::from_unix_seconds(seconds)?);
    }
    text.parse().with_context(|| {
        format!("{text:?} is neither a time like 2027-01-31T00:00:00Z nor days like 90d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_days_from_now() {
        let now: UtcTime = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            until("2d", now).unwrap().to_string(),
            "2026-01-03T00:00:00Z"
        );
        assert_eq!(
            until("2027-01-31T00:00:00Z", now).unwrap().to_string(),
            "2027-01-31T00:00:00Z"
        );
        assert!(until("soon", now).is_err());
    }
}
