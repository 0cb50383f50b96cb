//! `salus records versions` and `erase`.

use std::time::Duration;

use anyhow::Result;
use contract_interface::{
    EraseRecord, RecordId, RecordStatus,
    record::{Erasure, RegisteredRecord},
};
use salus::{Client, erasing};
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{RecordsErase, RecordsVersions},
    output::Output,
};

pub(crate) async fn versions(client: &Client, args: &RecordsVersions, out: Output) -> Result<()> {
    let versions = client.versions(&args.record).await?;
    let heads = ["VERSION", "RECORD", "STATUS", "ORGANISATION", "TRANSACTION"];
    out.list(&versions, heads, |version: &RegisteredRecord| {
        [
            version.state.version.to_string(),
            version.record_id.to_string(),
            format!("{:?}", version.state.status).to_lowercase(),
            version.state.msp_id.to_string(),
            version.state.tx_id.clone(),
        ]
    })?;
    Ok(())
}

/// Erases, waits until every organisation has removed the object, and prints each certificate.
pub(crate) async fn erase(client: &Client, args: &RecordsErase, out: Output) -> Result<()> {
    let ids: Vec<RecordId> = if args.all_versions {
        let versions = client.versions(&args.record).await?;
        versions
            .into_iter()
            .map(|version| version.record_id)
            .collect()
    } else {
        vec![args.record]
    };
    for id in &ids {
        ask(client, id, args).await?;
    }
    let (mut erasures, mut words) = (vec![], vec![]);
    for id in &ids {
        let erasure = erasing::wait(client, id, Duration::from_secs(args.patience)).await?;
        let certificate = match &erasure.completed_tx_id {
            Some(_) => Some(client.erasure_certificate(id).await?),
            None => None,
        };
        words.push(in_words(&erasure, certificate.as_deref()));
        erasures.push(Erased {
            erasure,
            certificate,
        });
    }
    let count = erasures.iter().filter(|one| one.certificate.is_none());
    let count = count.count();
    out.result(
        &json!({
            "record_id": args.record,
            "complete": count == 0,
            "erasures": erasures,
        }),
        &words.join("\n\n"),
    )?;
    if count == 0 {
        Ok(())
    } else {
        Err(Unfinished { count }.into())
    }
}

/// An erasure, with its certificate if it is complete.
#[derive(Serialize)]
struct Erased {
    #[serde(flatten)]
    erasure: Erasure,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

/// Some organisations have not removed the object yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "{count} erasures are not complete yet: the keys are gone, but some organisations have still \
     to remove the object"
)]
pub(crate) struct Unfinished {
    /// Records whose objects are still to go.
    count: usize,
}

/// Asks for the erasure, unless it is under way already.
async fn ask(client: &Client, id: &RecordId, args: &RecordsErase) -> Result<()> {
    let state = client
        .versions(id)
        .await?
        .into_iter()
        .find(|version| version.record_id == *id);
    if state.is_some_and(|version| version.state.status == RecordStatus::Erased) {
        if args.insist && client.erasure(id).await?.completed_tx_id.is_none() {
            client.complete_erasure(*id).await?;
        }
        return Ok(());
    }
    client
        .erase_record(EraseRecord {
            record_id: *id,
            basis: args.because.into(),
        })
        .await?;
    Ok(())
}

/// What a certificate does not vouch for.
const REMAINS: &str = "  still to do  `salus peers compact` at each peer, by its operator: until then \
                       files of its data bases may keep what was deleted";

fn in_words(erasure: &Erasure, certificate: Option<&str>) -> String {
    let mut lines = vec![
        match certificate {
            Some(_) => "CERTIFICATE OF ERASURE".to_owned(),
            None => "ERASURE, NOT YET COMPLETE".to_owned(),
        },
        format!("  record       {}", erasure.record_id),
        format!("  object       SHA-256 {}", erasure.object_sha256),
        format!(
            "  registered   by {} in transaction {}",
            erasure.registrar, erasure.registered_tx_id
        ),
        format!("  keys gone    in transaction {}", erasure.erased_tx_id),
    ];
    for removal in &erasure.removals {
        lines.push(format!(
            "  object gone  at {} by its word in transaction {}",
            removal.msp_id, removal.tx_id
        ));
    }
    for missing in &erasure.missing {
        lines.push(format!(
            "  no word of   {missing}; what it may hold opens with no key"
        ));
    }
    if let Some(tx_id) = &erasure.completed_tx_id {
        lines.push(format!("  complete     in transaction {tx_id}"));
    }
    if let Some(certificate) = certificate {
        lines.push(format!("  signed       {certificate}"));
        lines.push(REMAINS.to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_every_transaction() {
        let erasure: Erasure = serde_json::from_value(json!({
            "record_id": "01".repeat(16),
            "registrar": "Org1MSP",
            "registered_tx_id": "tx-registered",
            "object_sha256": "02".repeat(32),
            "erased_tx_id": "tx-erased",
            "completed_tx_id": "tx-completed",
            "removals": [
                { "msp_id": "Org1MSP", "tx_id": "tx-one" },
                { "msp_id": "Org2MSP", "tx_id": "tx-two" },
            ],
            "missing": ["Org3MSP"],
        }))
        .unwrap();
        let words = in_words(&erasure, Some("a.b.c"));
        for part in [
            "CERTIFICATE",
            "tx-registered",
            "tx-erased",
            "tx-one",
            "tx-two",
            "tx-completed",
            "no word of   Org3MSP",
            "a.b.c",
        ] {
            assert!(words.contains(part), "{part}");
        }
        assert!(words.contains("salus peers compact"));
        assert!(in_words(&erasure, None).contains("NOT YET COMPLETE"));
    }
}
