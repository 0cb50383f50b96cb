//! `salus device publish`.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use fabric_msp::SigningIdentity;
use salus::evidence::device;
use salus::publish::{self, Message, MqttVersion, ObjectOptions, Options};
use serde_json::json;

use crate::{
    args::{DevicePublish, DevicePublishObject, DeviceSession, Version},
    outbox,
    output::Output,
};

/// Most readings of one call.
const MESSAGES_MAX: usize = 1_000_000;

pub(crate) async fn publish(args: &DevicePublish, out: Output) -> Result<()> {
    let content_type = &args.content_type;
    let options = Options {
        wait_for_receipts: args.wait_receipts,
        ..options(
            &args.session,
            args.mqtt_version,
            content_type,
            args.patience,
        )?
    };
    if let Some(dir) = &args.buffer {
        return outbox::buffered(args, &options, dir, out).await;
    }
    let mut messages = messages(&args.file, args.seq_start)?;
    if args.sign {
        sign(args, &mut messages)?;
    }
    let published = publish::publish(&options, &messages).await?;
    let mut sentence = format!("{} readings acknowledged", published.acknowledged);
    for receipt in &published.receipts {
        sentence.push_str(&format!(
            "\nrecord {}: {} readings, transaction {} in block {}",
            receipt.record_id,
            receipt.readings.len(),
            receipt.transaction_id,
            receipt.block_number
        ));
    }
    let records: Vec<_> = published
        .receipts
        .iter()
        .map(|receipt| {
            json!({
                "record_id": receipt.record_id,
                "transaction_id": receipt.transaction_id,
                "block_number": receipt.block_number,
                "readings": receipt.readings.len(),
            })
        })
        .collect();
    out.result(
        &json!({
            "published": messages.len(),
            "acknowledged": published.acknowledged,
            "records": records,
        }),
        &sentence,
    )?;
    Ok(())
}

pub(crate) async fn publish_object(args: &DevicePublishObject, out: Output) -> Result<()> {
    let content_type = &args.content_type;
    let options = options(
        &args.session,
        args.mqtt_version,
        content_type,
        args.patience,
    )?;
    let signer = args.sign.then(|| signer(&args.session)).transpose()?;
    let object = ObjectOptions {
        file: args.file.clone(),
        object_id: args.object_id.clone(),
        chunk_bytes: args.chunk_size,
        seq: args.seq,
        record_type: args.record_type.clone(),
        time: args.time.clone(),
        signer,
    };
    let mut told = 0;
    let receipt = publish::publish_object(&options, &object, |progress| {
        // In twentieths; a line for each of a thousand chunks helps nobody.
        let part = progress.chunks_done * 20 / progress.chunks.max(1);
        if part > told || progress.chunks_done == progress.chunks {
            told = part;
            out.progress("chunks", progress.chunks_done, progress.chunks);
        }
    })
    .await?;
    let sentence = format!(
        "record {}: transaction {} in block {}",
        receipt.record_id, receipt.transaction_id, receipt.block_number
    );
    out.result(
        &json!({
            "record_id": receipt.record_id,
            "transaction_id": receipt.transaction_id,
            "block_number": receipt.block_number,
        }),
        &sentence,
    )?;
    Ok(())
}

/// What the library wants to know: which broker, as whom, in which way, and for how many seconds without an answer.
/// Receipts are waited for.
pub(crate) fn options(
    session: &DeviceSession,
    version: Version,
    content_type: &str,
    patience: u64,
) -> Result<Options> {
    let (host, port) = broker(&session.broker)?;
    Ok(Options {
        host,
        port,
        ca_file: session.ca_file.clone(),
        certificate_file: session.certificate.clone(),
        key_file: session.key.clone(),
        device_id: session.device.clone(),
        version: match version {
            Version::V3 => MqttVersion::V3,
            Version::V5 => MqttVersion::V5,
        },
        content_type: content_type.to_owned(),
        wait_for_receipts: true,
        patience: Duration::from_secs(patience),
    })
}

/// The device as a signer.
pub(crate) fn signer(session: &DeviceSession) -> Result<SigningIdentity> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    // A device acts for itself; the organisation's name is not part of what it signs.
    let nobody = "device".parse()?;
    Ok(SigningIdentity::from_pem(
        nobody,
        &read(&session.certificate)?,
        &read(&session.key)?,
    )?)
}

/// Signs each reading in its place.
fn sign(args: &DevicePublish, messages: &mut [Message]) -> Result<()> {
    let identity = signer(&args.session)?;
    for (index, message) in messages.iter_mut().enumerate() {
        let signed = device::sign(&identity, &message.payload);
        let signed = signed.with_context(|| format!("reading {index}"))?;
        message.payload = signed.into();
    }
    Ok(())
}

fn broker(url: &str) -> Result<(String, u16)> {
    const DEFAULT_PORT: u16 = 8883;
    let Some(address) = url.strip_prefix("mqtts://") else {
        bail!("{url} is not an address like mqtts://oracle.example.com:8883");
    };
    match address.rsplit_once(':') {
        Some((host, port)) => {
            let port = port
                .parse()
                .with_context(|| format!("{port:?} is not a port"))?;
            Ok((host.to_owned(), port))
        }
        None => Ok((address.to_owned(), DEFAULT_PORT)),
    }
}

/// A file of readings, or standard input.
pub(crate) fn open_lines(file: &Path) -> Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened =
        std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}

fn messages(file: &Path, seq_start: Option<u64>) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for line in open_lines(file)?.split(b'\n') {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        ensure!(
            messages.len() < MESSAGES_MAX,
            "more than {MESSAGES_MAX} readings"
        );
        let seq = seq_start.map(|start| start + messages.len() as u64);
        messages.push(Message {
            seq,
            payload: Bytes::from(line),
        });
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_addresses() {
        assert_eq!(
            broker("mqtts://localhost:1234").unwrap(),
            ("localhost".to_owned(), 1234)
        );
        assert_eq!(
            broker("mqtts://oracle").unwrap(),
            ("oracle".to_owned(), 8883)
        );
        assert!(broker("mqtt://localhost").is_err());
        assert!(broker("mqtts://localhost:x").is_err());
    }
}
