//! `salus keys`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use sealed_object::PrivateKey;
use serde_json::json;

use crate::{args::KeysCreate, output::Output};

/// RSA modulus, bits.
const KEY_BITS: usize = 3072;
/// Readable by its owner only.
const PRIVATE_MODE: u32 = 0o600;
/// Readable by all.
const PUBLIC_MODE: u32 = 0o644;

pub(crate) fn create(args: &KeysCreate, out: Output) -> Result<()> {
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let key = PrivateKey::generate(KEY_BITS)?;
    let private = args.out.join("private.jwk");
    let public = args.out.join("public.jwk");
    write_new(&private, key.to_jwk().as_bytes(), PRIVATE_MODE)?;
    write_new(&public, key.public_key().to_jwk().as_bytes(), PUBLIC_MODE)?;
    let kid = key.public_key().thumbprint();
    out.result(
        &json!({ "kid": kid, "private": private, "public": public }),
        &format!(
            "key {kid}\n{} stays with you and opens your records; have {} registered",
            private.display(),
            public.display()
        ),
    )?;
    Ok(())
}

/// Writes a file that must not exist: a lost private key makes records unreadable.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}
