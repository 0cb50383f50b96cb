//! `salus access`.

use std::io::{self, Read as _};

use anyhow::Result;
use contract_interface::{
    AccessRequestId, GrantPeriod, PageRequest,
    access::{AccessRequest, AccessRequestEntry, AccessRequestFilter},
};
use salus::{Client, letters, signing};
use serde::Serialize;

use crate::{
    args::{AccessAsk, AccessList, AccessRefuse},
    output::Output,
    wording,
};

/// Bytes read from standard input; longer letters are refused by the seal.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

/// The words themselves, or those on standard input if they are `-`: what stands on a command line
/// is seen by others on the same machine.
pub(crate) fn words(text: &str) -> Result<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut words = String::new();
    io::stdin()
        .lock()
        .take(WORDS_BYTES_MAX)
        .read_to_string(&mut words)?;
    Ok(words.trim_end().to_owned())
}

pub(crate) async fn ask(client: &Client, args: &AccessAsk, out: Output) -> Result<()> {
    let message = match &args.message {
        Some(message) => {
            let patient = client.participant(&args.patient.into()).await?;
            Some(letters::seal(&[patient], &words(message)?)?)
        }
        None => None,
    };
    let dated = args.data_from.is_some() || args.data_until.is_some();
    let request = AccessRequest {
        request_id: AccessRequestId::from_bytes(signing::random()?),
        patient: args.patient,
        types: args.types.clone(),
        data_period: dated.then_some(GrantPeriod {
            from: args.data_from,
            until: args.data_until,
        }),
        purposes: args.purpose.clone(),
        project: args.project.clone(),
        wanted_until: args.wanted_until.from(signing::now()?)?,
        message,
    };
    request
        .validate()
        .map_err(|error| anyhow::anyhow!("the request is not {}", error.expected))?;
    let id = request.request_id;
    let recorded = client.request_access(request).await?;
    out.recorded(
        &[("request_id", &id.to_string())],
        &recorded,
        &format!("the patient is asked: request {id}"),
    )?;
    Ok(())
}

/// A request with its words, opened.
#[derive(Serialize)]
struct With<'a> {
    #[serde(rename = "request_id")]
    id: AccessRequestId,
    #[serde(flatten)]
    entry: &'a AccessRequestEntry,
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

pub(crate) async fn list(client: &Client, args: &AccessList, out: Output) -> Result<()> {
    let filter = AccessRequestFilter {
        patient: args.patient,
        requester: args.requester,
        open_only: args.open,
        page: PageRequest::default(),
    };
    let requests = client.access_requests(filter).await?;
    // The words are for the patient; who asked cannot open them either.
    let readable = |entry: &AccessRequestEntry| {
        let message = entry.request.message.as_deref()?;
        client.open_letter(message).ok()
    };
    let opened: Vec<_> = requests
        .iter()
        .map(|entry| With {
            entry,
            id: entry.request.request_id,
            words: readable(entry),
        })
        .collect();
    if out.is_json() {
        out.lines(&opened)?;
        return Ok(());
    }
    let heads = [
        "REQUEST",
        "BY",
        "ORGANISATION",
        "TYPES",
        "PURPOSES",
        "UNTIL",
        "STATUS",
        "MESSAGE",
    ];
    out.list(&requests, heads, |entry: &AccessRequestEntry| {
        let request = &entry.request;
        let mut purposes = wording::list(&request.purposes, "");
        if let Some(project) = &request.project {
            purposes.push_str(&format!(" for {project}"));
        }
        [
            request.request_id.to_string(),
            entry.requester.to_string(),
            entry.requester_msp.to_string(),
            wording::list(&request.types, "all"),
            purposes,
            request.wanted_until.to_string(),
            format!("{:?}", entry.status).to_lowercase(),
            readable(entry).unwrap_or_else(|| match request.message {
                Some(_) => "(sealed)".to_owned(),
                None => String::new(),
            }),
        ]
    })?;
    Ok(())
}

pub(crate) async fn refuse(client: &Client, args: &AccessRefuse, out: Output) -> Result<()> {
    let recorded = client.refuse_access(args.request, args.patient).await?;
    out.recorded(
        &[("request_id", &args.request.to_string())],
        &recorded,
        &format!("request {} refused", args.request),
    )?;
    Ok(())
}
