//! Consent in daily use: a request that is answered, an emergency that is reviewed, a record that
//! is amended, verified, and erased.

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{Purpose, RecordId};
use serde_json::Value;

use super::{
    Cast, Staff,
    access::{client, records_of},
    command::{salus, salus_list, text},
};
use crate::{consortium::Person, ledger::Ledger, system::System};

/// What a research project may read, in one word.
const PROJECT: &str = "study-1";

/// What people say to one another in the story: nobody else may find it anywhere.
pub const CONFIDED: [&str; 4] = [
    "We study how pulse and temperature go together. May we use yours?",
    "found unconscious, no relatives known",
    "I take 5 mg of it every morning.",
    "I take 10 mg of it every morning.",
];

/// The provider asks, the patient grants one read, the second read is denied and explained.
pub(super) async fn ask_and_answer(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let patient = &cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();
    let record = first_record(cast).await?.to_string();
    let asked = salus(
        system,
        &cast.provider,
        &[
            "access",
            "ask",
            "--patient",
            &pseudonym,
            "--purpose",
            "HRESCH",
            "--project",
            PROJECT,
            "--message",
            CONFIDED[0],
        ],
    )
    .await?;
    let request = text(&asked, "request_id")?;
    told(system, &patient.person, "access_requested", &request).await?;
    let given = salus(
        system,
        &patient.person,
        &[
            "grants",
            "give",
            "--in-reply-to",
            &request,
            "--max-reads",
            "1",
        ],
    )
    .await?;
    let read = [
        "records",
        "read",
        "--record",
        &record,
        "--purpose",
        "HRESCH",
        "--project",
        PROJECT,
    ];
    salus_list(system, &cast.provider, &read).await?;
    let Err(denied) = salus_list(system, &cast.provider, &read).await else {
        bail!("a grant of one read allowed two")
    };
    let sentence = said(&denied);
    let explained = salus(
        system,
        &patient.person,
        &[
            "records",
            "explain",
            "--record",
            &record,
            "--purpose",
            "HRESCH",
            "--project",
            PROJECT,
            "--reader",
            &cast.provider_id.to_string(),
        ],
    )
    .await?;
    ensure!(
        explained.to_string().contains("READS_EXHAUSTED"),
        "the patient is told another reason: {explained}"
    );
    Ok(vec![
        format!("request {request}"),
        format!(
            "answered by grant {} of one read",
            text(&given, "grant_id")?
        ),
        format!("the second read: {sentence}"),
    ])
}

/// Someone without a grant breaks the glass; the patient and the privacy officers are told, and an
/// auditor reviews it.
pub(super) async fn emergency(system: &System, cast: &Cast, staff: &Staff) -> Result<Vec<String>> {
    let patient = &cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();
    let record = first_record(cast).await?;
    let declared = salus(
        system,
        &staff.emergency,
        &[
            "emergencies",
            "declare",
            "--patient",
            &pseudonym,
            "--reason",
            "unresponsive",
            "--justification",
            CONFIDED[1],
            "--for",
            "1h",
        ],
    )
    .await?;
    let id = text(&declared, "emergency_id")?;
    let read = client(&staff.emergency)?
        .read(&record, Purpose::Btg)
        .await
        .context("an emergency read")?;
    for person in [&patient.person, &staff.auditor] {
        told(system, person, "emergency_declared", &id).await?;
        told(system, person, "emergency_read", &read.read_id.to_string()).await?;
    }
    let reviewed = salus(
        system,
        &staff.auditor,
        &["emergencies", "review", &id, "--outcome", "justified"],
    )
    .await?;
    Ok(vec![
        format!("emergency {id}, read {}", read.read_id),
        "the patient and the auditor were told of both".to_owned(),
        format!(
            "reviewed in transaction {} in block {}",
            text(&reviewed, "transaction_id")?,
            reviewed["block_number"]
        ),
    ])
}

/// The patient hands in a letter, and a better one after it.
pub(super) async fn amend(system: &System, cast: &Cast) -> Result<(String, Vec<String>)> {
    let patient = &cast.patients[0];
    let pseudonym = patient.pseudonym.to_string();
    let folder = system.dir.join("input");
    std::fs::create_dir_all(&folder)?;
    let (first, second) = (folder.join("letter-1.txt"), folder.join("letter-2.txt"));
    std::fs::write(&first, CONFIDED[2])?;
    std::fs::write(&second, CONFIDED[3])?;
    let submitted = salus(
        system,
        &patient.person,
        &[
            "records",
            "submit",
            &first.display().to_string(),
            "--patient",
            &pseudonym,
            "--type",
            "34133-9",
            "--content-type",
            "text/plain",
        ],
    )
    .await?;
    let original = text(&submitted, "record_id")?;
    let amended = salus(
        system,
        &patient.person,
        &[
            "records",
            "amend",
            &second.display().to_string(),
            "--record",
            &original,
        ],
    )
    .await?;
    let current = text(&amended, "record_id")?;
    let versions = salus_list(
        system,
        &patient.person,
        &["records", "versions", "--record", &current],
    )
    .await?;
    ensure!(versions.len() == 2, "not two versions: {versions:?}");
    let lines = vec![
        format!("version 1 {original}"),
        format!("version 2 {current}; both stay readable"),
    ];
    Ok((original, lines))
}

/// The patient checks a record, and that it was registered as it is, without trusting the oracle.
pub(super) async fn verify(system: &System, cast: &Cast) -> Result<Vec<String>> {
    let record = first_record(cast).await?.to_string();
    let args = ["verify", &record, "--read", "--purpose", "PATRQT"];
    let verified = salus(system, &cast.patients[0].person, &args).await?;
    ensure!(verified["verified"] == true, "not verified: {verified}");
    let passed = |check: &&Value| check["outcome"] == "passed";
    let checks = verified["checks"].as_array().into_iter().flatten();
    let passed = checks.filter(passed).count();
    ensure!(passed > 0, "nothing was checked: {verified}");
    Ok(vec![format!("record {record}: {passed} checks passed")])
}

/// The patient has a record erased; nobody reads it any more, and the certificate names
/// transactions that exist.
pub(super) async fn erase(system: &System, cast: &Cast, record: &str) -> Result<Vec<String>> {
    let patient = &cast.patients[0];
    let erased = salus(
        system,
        &patient.person,
        &["records", "erase", "--record", record],
    )
    .await?;
    let mut transactions = Vec::new();
    transactions_of(&erased, &mut transactions);
    ensure!(
        transactions.len() > 2,
        "the certificate names too few transactions: {erased}"
    );
    let ledger = Ledger::connect(system.network.info(), 0)?;
    for id in &transactions {
        let transaction = ledger.transaction(id).await?;
        ensure!(transaction.is_valid, "{id} is not valid");
    }
    let read = ["records", "read", "--record", record, "--purpose", "PATRQT"];
    let Err(gone) = salus_list(system, &patient.person, &read).await else {
        bail!("the erased record {record} was read")
    };
    Ok(vec![
        format!(
            "the certificate names {} transactions, all VALID",
            transactions.len()
        ),
        format!("a read: {}", said(&gone)),
    ])
}

/// Every text under a member whose name ends in `tx_id` or `transaction_id`.
fn transactions_of(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                match inner.as_str() {
                    Some(id) if name.ends_with("tx_id") || name.ends_with("transaction_id") => {
                        if !found.iter().any(|known| known == id) {
                            found.push(id.to_owned());
                        }
                    }
                    _ => transactions_of(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| transactions_of(item, found)),
        _ => {}
    }
}

/// Checks that someone has a notice of this kind about this thing.
async fn told(system: &System, person: &Person, what: &str, about: &str) -> Result<()> {
    let notices = salus_list(system, person, &["notices"]).await?;
    let found = notices.iter().any(|notice| {
        let notice = notice.to_string();
        notice.contains(what) && notice.contains(about)
    });
    ensure!(
        found,
        "{} was not told of {what} {about}: {notices:?}",
        person.name
    );
    Ok(())
}

async fn first_record(cast: &Cast) -> Result<RecordId> {
    let patient = &cast.patients[0];
    let records = records_of(&client(&patient.person)?, patient.pseudonym).await?;
    let record = records.first().context("the patient has no record")?;
    Ok(record.metadata.record_id)
}

/// What the oracle refused, in the words of a failed command.
fn said(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let refusal = text.lines().find(|line| line.contains("refused"));
    refusal.unwrap_or(text.trim()).trim().to_owned()
}
