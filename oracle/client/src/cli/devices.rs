//! `salus devices`.

use anyhow::{Context as _, Result, ensure};
use contract_interface::{Device, DeviceRegistration, Digest, Status};
use fabric_msp::Certificate;
use salus::{Client, signing};
use serde_json::json;

use crate::{args::DevicesAdd, output::Output, participants::read};

pub(crate) async fn add(client: &Client, args: &DevicesAdd, out: Output) -> Result<()> {
    let certificate = Certificate::from_pem(read(&args.certificate)?.as_bytes())
        .with_context(|| format!("{} is not a certificate", args.certificate.display()))?;
    let name = certificate.subject_common_name().unwrap_or_default();
    ensure!(
        name == args.device.as_str(),
        "the certificate is for {name:?}, not for the device {}",
        args.device
    );
    let registration = DeviceRegistration {
        device_id: args.device.clone(),
        thumbprint: Digest::from_bytes(certificate.thumbprint()),
        patient: args.patient,
        bound_from: match args.from {
            Some(time) => time,
            None => signing::now()?,
        },
        bound_until: None,
        status: Status::Active,
        status_since: None,
    };
    let registered = client.register_device(&registration).await?;
    out.result(
        &json!({
            "device_id": args.device,
            "outcome": registered.outcome,
            "transaction_id": registered.transaction_id,
            "block_number": registered.block_number,
        }),
        &format!(
            "device {}, transaction {} in block {}",
            args.device, registered.transaction_id, registered.block_number
        ),
    )?;
    Ok(())
}

pub(crate) async fn list(client: &Client, out: Output) -> Result<()> {
    let devices = client.devices().await?;
    out.list(
        &devices,
        ["DEVICE", "PATIENT", "FROM", "STATUS"],
        |device: &Device| {
            let last = device.bindings.last();
            [
                device.device_id.to_string(),
                last.map(|binding| binding.patient.to_string())
                    .unwrap_or_default(),
                last.map(|binding| binding.bound_from.to_string())
                    .unwrap_or_default(),
                format!("{:?}", device.status).to_lowercase(),
            ]
        },
    )?;
    Ok(())
}
