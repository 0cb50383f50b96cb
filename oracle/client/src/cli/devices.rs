//! `salus devices`.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{Device, DeviceBinding, DeviceId, DeviceRegistration, Digest, Status};
use fabric_msp::Certificate;
use salus::{Client, EnrolmentRequest, Registered, signing};
use serde_json::json;

use crate::{
    args::{DevicesAdd, DevicesBind, DevicesEnrol, DevicesStatus, DevicesToken, DevicesUnbind},
    output::Output,
    participants::read,
};

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
        patient: args.measured.patient,
        bound_from: match args.measured.from {
            Some(time) => time,
            None => signing::now()?,
        },
        bound_until: None,
        status: Status::Active,
        status_since: None,
    };
    change(client, registration, out).await
}

/// Binds a registered device to another patient, or to the same one for another time.
pub(crate) async fn bind(client: &Client, args: &DevicesBind, out: Output) -> Result<()> {
    let device = client.device(&args.device).await?;
    let registration = DeviceRegistration {
        patient: args.measured.patient,
        bound_from: match args.measured.from {
            Some(time) => time,
            None => signing::now()?,
        },
        bound_until: args.until,
        ..as_it_is(&device)?
    };
    change(client, registration, out).await
}

/// Ends the last binding of a device.
pub(crate) async fn unbind(client: &Client, args: &DevicesUnbind, out: Output) -> Result<()> {
    let device = client.device(&args.device).await?;
    let until = match args.until {
        Some(time) => time,
        None => signing::now()?,
    };
    let registration = DeviceRegistration {
        bound_until: Some(until),
        ..as_it_is(&device)?
    };
    change(client, registration, out).await
}

/// Suspends, resumes or revokes a device.
pub(crate) async fn set_status(
    client: &Client,
    args: &DevicesStatus,
    status: Status,
    out: Output,
) -> Result<()> {
    let device = client.device(&args.device).await?;
    if status == Status::Active && args.since.is_some() {
        bail!("a device is active from now on: leave --since out");
    }
    let registration = DeviceRegistration {
        status,
        status_since: args.since,
        ..as_it_is(&device)?
    };
    change(client, registration, out).await
}

/// The registration that changes nothing.
fn as_it_is(device: &Device) -> Result<DeviceRegistration> {
    let last = device.bindings.last();
    let last = last.with_context(|| format!("{} is bound to no patient", device.device_id))?;
    let DeviceBinding {
        patient,
        bound_from,
        bound_until,
    } = *last;
    Ok(DeviceRegistration {
        device_id: device.device_id.clone(),
        thumbprint: device.thumbprint,
        patient,
        bound_from,
        bound_until,
        status: device.status,
        status_since: device.status_since,
    })
}

async fn change(client: &Client, registration: DeviceRegistration, out: Output) -> Result<()> {
    let registered = client.register_device(&registration).await?;
    say(&registration.device_id, &registered, out)
}

fn say(device_id: &DeviceId, registered: &Registered, out: Output) -> Result<()> {
    out.result(
        &json!({
            "device_id": device_id,
            "outcome": registered.outcome,
            "transaction_id": registered.transaction_id,
            "block_number": registered.block_number,
        }),
        &format!(
            "device {device_id}, transaction {} in block {}",
            registered.transaction_id, registered.block_number
        ),
    )?;
    Ok(())
}

/// Makes a token for a new device.
pub(crate) async fn enrol(client: &Client, args: &DevicesEnrol, out: Output) -> Result<()> {
    let request = EnrolmentRequest {
        device_id: args.device.clone(),
        patient: Some(args.measured.patient),
        bound_from: args.measured.from,
        bound_until: args.until,
        lifetime_seconds: args.token.lifetime.map(|lifetime| lifetime.as_secs()),
    };
    invite(client, &request, args.token.out.as_deref(), out).await
}

/// Makes a token for a device that is registered and is to get another key.
pub(crate) async fn token(client: &Client, args: &DevicesToken, out: Output) -> Result<()> {
    let request = EnrolmentRequest {
        device_id: args.device.clone(),
        patient: None,
        bound_from: None,
        bound_until: None,
        lifetime_seconds: args.token.lifetime.map(|lifetime| lifetime.as_secs()),
    };
    invite(client, &request, args.token.out.as_deref(), out).await
}

async fn invite(
    client: &Client,
    request: &EnrolmentRequest,
    file: Option<&Path>,
    out: Output,
) -> Result<()> {
    let token = client.create_enrolment(request).await?;
    let (device, expires_at) = (&request.device_id, token.expires_at);
    let Some(file) = file else {
        out.result(
            &json!({ "device_id": device, "token": token.token, "expires_at": expires_at }),
            &format!(
                "token for the device {device}, good once and until {expires_at}; whoever has it \
                 can be the device:\n{}",
                token.token
            ),
        )?;
        return Ok(());
    };
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(written, "{}", token.token)?;
    written.sync_all()?;
    out.result(
        &json!({ "device_id": device, "file": file, "expires_at": expires_at }),
        &format!(
            "token for the device {device} in {}, good once and until {expires_at}",
            file.display()
        ),
    )?;
    Ok(())
}

pub(crate) async fn show(client: &Client, device: &DeviceId, out: Output) -> Result<()> {
    let device = client.device(device).await?;
    let mut sentence = format!("device {}: {}", device.device_id, status(&device));
    for binding in &device.bindings {
        let until = binding
            .bound_until
            .map_or_else(|| "now".to_owned(), |until| until.to_string());
        sentence.push_str(&format!(
            "\npatient {} from {} until {until}",
            binding.patient, binding.bound_from
        ));
    }
    sentence.push_str(&format!("\ncertificate {}", device.thumbprint));
    out.result(&device, &sentence)?;
    Ok(())
}

fn status(device: &Device) -> String {
    let status = format!("{:?}", device.status).to_lowercase();
    match device.status_since {
        Some(since) => format!("{status} since {since}"),
        None => status,
    }
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
