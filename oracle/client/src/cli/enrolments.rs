//! `salus device enrol` and `renew`.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, ensure};
use contract_interface::UtcTime;
use salus::enrolment::{Enrolled, Enrolment};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    args::{DeviceEnrol, DeviceRenew},
    output::Output,
};

/// Bytes read in search of a token.
const TOKEN_BYTES_MAX: usize = 4096;

pub(crate) async fn enrol(args: &DeviceEnrol, out: Output) -> Result<()> {
    let enrolment = Enrolment {
        oracle_url: args.place.oracle.clone(),
        oracle_ca_file: args.place.ca_file.clone(),
        device_id: args.place.device.clone(),
        folder: args.place.folder.clone(),
    };
    let enrolled = enrolment.enrol(&token(&args.token_file)?).await?;
    say(&enrolled, out)
}

pub(crate) async fn renew(args: &DeviceRenew, out: Output) -> Result<()> {
    let enrolment = Enrolment {
        oracle_url: args.place.oracle.clone(),
        oracle_ca_file: args.place.ca_file.clone(),
        device_id: args.place.device.clone(),
        folder: args.place.folder.clone(),
    };
    let enrolled = enrolment.renew().await?;
    say(&enrolled, out)
}

fn say(enrolled: &Enrolled, out: Output) -> Result<()> {
    let ends = UtcTime::from_unix_seconds(enrolled.not_after)?;
    out.result(
        &json!({
            "device_id": enrolled.device_id,
            "file": enrolled.file,
            "not_after": ends,
            "transaction_id": enrolled.transaction_id,
            "block_number": enrolled.block_number,
        }),
        &format!(
            "device {}: certificate and key in {}, good until {ends}; transaction {} in block {}",
            enrolled.device_id,
            enrolled.file.display(),
            enrolled.transaction_id,
            enrolled.block_number
        ),
    )?;
    Ok(())
}

/// A token is never an argument: others of the machine could read it there.
fn token(file: &Path) -> Result<Zeroizing<String>> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::Read::take(io::stdin(), TOKEN_BYTES_MAX as u64))?
    } else {
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    let text = Zeroizing::new(text);
    let token = Zeroizing::new(text.trim().to_owned());
    ensure!(!token.is_empty(), "{} holds no token", file.display());
    Ok(token)
}
