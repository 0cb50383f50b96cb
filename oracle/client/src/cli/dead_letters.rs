//! `salus dead-letters`.

use anyhow::Result;
use contract_interface::UtcTime;
use salus::{Client, DeadLetters};
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{DeadLettersCommand, DeadLettersDrop, DeadLettersRetry, Which},
    output::Output,
};

pub(crate) async fn run(client: &Client, command: &DeadLettersCommand, out: Output) -> Result<()> {
    match command {
        DeadLettersCommand::List => list(client, out).await,
        DeadLettersCommand::Retry(args) => retry(client, args, out).await,
        DeadLettersCommand::Drop(args) => give_up(client, args, out).await,
    }
}

/// One row: a refused record, or readings of a device that wait.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    /// Absent for readings that are in no record yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_id: Option<String>,
    device_id: String,
    readings: usize,
    code: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<UtcTime>,
    retry_in_seconds: u64,
}

fn rows(letters: DeadLetters) -> Vec<Row> {
    let refused = letters.dead_letters.into_iter().map(|letter| Row {
        record_id: Some(letter.record_id.to_string()),
        device_id: letter.device_id.to_string(),
        readings: letter.readings,
        code: letter.code,
        reason: letter.reason,
        since: letter.since,
        retry_in_seconds: letter.retry_in_seconds,
    });
    let waiting = letters.waiting.into_iter().map(|waiting| Row {
        record_id: None,
        device_id: waiting.device_id.to_string(),
        readings: waiting.readings,
        code: waiting.code,
        reason: waiting.reason,
        since: waiting.since,
        retry_in_seconds: waiting.retry_in_seconds,
    });
    refused.chain(waiting).collect()
}

/// What an administrator does about a refusal.
fn remedy(code: &str) -> Option<&'static str> {
    match code {
        "PATIENT_KEY_MISSING" => Some(
            "register the patient's encryption key (`salus participants add --id ... \
             --encryption-key ...`); the readings then go on by themselves",
        ),
        "DEVICE_NOT_BOUND" | "UNKNOWN_DEVICE" => Some(
            "register the device and bind it to its patient (`salus devices add`), then \
             `salus dead-letters retry`",
        ),
        _ => None,
    }
}

async fn list(client: &Client, out: Output) -> Result<()> {
    let letters = client.dead_letters().await?;
    let (listed, total) = (letters.dead_letters.len(), letters.total);
    let rows = rows(letters);
    let heads = ["RECORD", "DEVICE", "READINGS", "SINCE", "NEXT TRY", "WHY"];
    out.list(&rows, heads, |row: &Row| {
        [
            row.record_id
                .clone()
                .unwrap_or_else(|| "none yet".to_owned()),
            row.device_id.clone(),
            row.readings.to_string(),
            row.since.map(|since| since.to_string()).unwrap_or_default(),
            next_try(row.retry_in_seconds),
            format!("{}: {}", row.code, row.reason),
        ]
    })?;
    if out.is_json() {
        return Ok(());
    }
    let mut codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    for (code, remedy) in codes.iter().filter_map(|code| Some((code, remedy(code)?))) {
        out.result(&json!({}), &format!("{code}: {remedy}"))?;
    }
    if listed < total {
        let more = total - listed;
        out.result(
            &json!({}),
            &format!("{more} more refused records are not listed"),
        )?;
    }
    Ok(())
}

fn next_try(seconds: u64) -> String {
    match seconds {
        0 => "now".to_owned(),
        1..=119 => format!("in {seconds} s"),
        _ => format!("in {} min", seconds / 60),
    }
}

async fn retry(client: &Client, args: &DeadLettersRetry, out: Output) -> Result<()> {
    let records = match args.which {
        Which::One(record) => vec![record],
        Which::All => {
            let letters = client.dead_letters().await?.dead_letters;
            // One that is being tried is refused; it needs no retry.
            let idle = letters.into_iter().filter(|l| l.retry_in_seconds > 0);
            idle.map(|letter| letter.record_id).collect()
        }
    };
    for record in &records {
        client.retry_dead_letter(record).await?;
    }
    let what = match &records[..] {
        [] => "nothing is to be tried again".to_owned(),
        [record] => format!("record {record} is tried again now; the list says what comes of it"),
        all => format!(
            "{} records are tried again now; the list says what comes of it",
            all.len()
        ),
    };
    out.result(&json!({ "retried": records }), &what)?;
    Ok(())
}

async fn give_up(client: &Client, args: &DeadLettersDrop, out: Output) -> Result<()> {
    let record = args.record;
    client.drop_dead_letter(&record).await?;
    out.result(
        &json!({ "dropped": record }),
        &format!(
            "record {record} is given up and its readings are lost; the oracle's log says by whom"
        ),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_records_come_first_and_readings_without_one_have_no_id() {
        let record = "ab".repeat(16);
        let letters: DeadLetters = serde_json::from_value(json!({
            "dead_letters": [{
                "record_id": record, "device_id": "hr-1", "readings": 3,
                "code": "DEVICE_NOT_BOUND", "reason": "not bound", "refusals": 2,
                "retry_in_seconds": 60,
            }],
            "total": 1,
            "waiting": [{
                "device_id": "hr-2", "readings": 5, "code": "PATIENT_KEY_MISSING",
                "reason": "no key", "retry_in_seconds": 0,
            }],
        }))
        .unwrap();
        let rows = rows(letters);
        let ids: Vec<_> = rows.iter().map(|row| row.record_id.as_deref()).collect();
        assert_eq!(ids, [Some(record.as_str()), None]);
        assert!(rows.iter().all(|row| remedy(&row.code).is_some()));
        assert_eq!(remedy("FORBIDDEN"), None);
    }

    #[test]
    fn the_next_try_is_told_in_words() {
        for (seconds, words) in [
            (0, "now"),
            (59, "in 59 s"),
            (120, "in 2 min"),
            (3600, "in 60 min"),
        ] {
            assert_eq!(next_try(seconds), words);
        }
    }
}
