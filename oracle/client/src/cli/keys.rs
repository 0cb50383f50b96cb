//! `salus keys`.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::{Jwk, Participant, ParticipantId, Role};
use salus::{Client, Custody, Profile, custody, key_files, key_proof, signing};
use sealed_object::{PrivateKey, PublicKey};
use serde_json::json;

use crate::{
    args::{KeysCreate, KeysProve, KeysRotate},
    output::Output,
    participants::public_key,
};

/// RSA modulus, bits.
const KEY_BITS: usize = 3072;
/// Readable by its owner only.
const PRIVATE_MODE: u32 = 0o600;
/// Readable by all.
const PUBLIC_MODE: u32 = 0o644;

pub(crate) fn create(profile: Option<&Profile>, args: &KeysCreate, out: Output) -> Result<()> {
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let key = PrivateKey::generate(KEY_BITS)?;
    let private = args.out.join("private.jwk");
    let public = args.out.join("public.jwk");
    write_new(&private, key.to_jwk().as_bytes(), PRIVATE_MODE)?;
    write_new(&public, key.public_key().to_jwk().as_bytes(), PUBLIC_MODE)?;
    let kid = key.public_key().thumbprint();
    let mut result = json!({ "kid": kid, "private": private, "public": public });
    let mut sentence = format!(
        "key {kid}\n{} stays with you and opens your records; have {} registered",
        private.display(),
        public.display()
    );
    if let Some(profile) = profile {
        let proof = args.out.join("proof.jws");
        let id = write_proof(profile, &jwk(key.public_key())?, args.id, &proof)?;
        result["proof"] = json!(proof);
        result["participant_id"] = json!(id);
        sentence.push_str(&format!(
            " with {}, which says that it is yours as participant {id}",
            proof.display()
        ));
    }
    out.result(&result, &sentence)?;
    Ok(())
}

/// Signs that a key is one's own.
pub(crate) fn prove(profile: &Profile, args: &KeysProve, out: Output) -> Result<()> {
    let key = match (&args.public_key, &profile.encryption_key_file) {
        (Some(file), _) => public_key(file)?,
        (None, Some(file)) => jwk(key_files::read(file)?.public_key())?,
        (None, None) => bail!("name the key with --public-key: your profile has none"),
    };
    let id = write_proof(profile, &key, args.id, &args.out)?;
    let kid = key.thumbprint();
    out.result(
        &json!({ "kid": kid, "proof": args.out, "participant_id": id }),
        &format!(
            "{} says that key {kid} is yours as participant {id}; have it registered with the key",
            args.out.display()
        ),
    )?;
    Ok(())
}

fn write_proof(
    profile: &Profile,
    key: &Jwk,
    id: Option<ParticipantId>,
    file: &Path,
) -> Result<ParticipantId> {
    let id = match id {
        Some(id) => id,
        None => ParticipantId::from_bytes(signing::random()?),
    };
    let proof = key_proof::sign(&signing::identity(profile)?, id, key)?;
    write_new(file, proof.as_bytes(), PUBLIC_MODE)?;
    Ok(id)
}

fn jwk(key: &PublicKey) -> Result<Jwk> {
    Ok(serde_json::from_str(&key.to_jwk())?)
}

/// Replaces the profile's key, or goes on with a replacement that was interrupted.
pub(crate) async fn rotate(profile: &Profile, args: &KeysRotate, out: Output) -> Result<()> {
    let file = profile
        .encryption_key_file
        .as_deref()
        .context("the profile names no encryption_key_file")?;
    if !file.exists() && key_files::next(file).exists() {
        key_files::take_into_use(file)?;
    }
    let client = Client::new(profile)?;
    let me = client.me().await?;
    let previous = key_files::previous(file);
    if !previous.exists() {
        ensure!(
            !args.forget_previous,
            "there is no previous key to forget: {} is not there",
            previous.display()
        );
        register_next(&client, &me, file).await?;
        key_files::take_into_use(file)
            .with_context(|| format!("cannot take the new key into use as {}", file.display()))?;
    }
    let client = Client::new(profile)?;
    let kid = client
        .encryption_key()?
        .public_key()
        .thumbprint()
        .to_owned();
    let outcome = wrap_anew(&client, &me, out).await?;
    let forgotten = args.forget_previous;
    if forgotten {
        ensure!(
            outcome.pending == 0 && outcome.elsewhere.is_empty(),
            "the key before is still needed: {} records are not wrapped for the new one",
            outcome.pending
        );
        fs::remove_file(&previous)?;
    }
    out.result(
        &json!({
            "kid": kid,
            "records": outcome.records,
            "changed": outcome.changed,
            "pending": outcome.pending,
            "elsewhere": outcome.elsewhere,
            "previous": (!forgotten).then_some(&previous),
        }),
        &sentence(
            &kid,
            &outcome,
            (!forgotten).then_some(&*previous),
            (&me, client.custody()),
        ),
    )?;
    Ok(())
}

/// Makes the next key, if there is none yet, and registers it, unless it is registered.
async fn register_next(client: &Client, me: &Participant, file: &Path) -> Result<()> {
    let next = key_files::next(file);
    if !next.exists() {
        let key = PrivateKey::generate(KEY_BITS)?;
        write_new(&next, key.to_jwk().as_bytes(), PRIVATE_MODE)?;
    }
    let key = key_files::read(&next)?;
    let public = jwk(key.public_key())?;
    if me.encryption_key.as_ref() != Some(&public) {
        client.rotate_key(&me.participant_id, public).await?;
    }
    Ok(())
}

/// Has the keys of a patient's records wrapped for the new key: here, where only the patient holds
/// them; else by the organisations' oracles, and here is only counted.
async fn wrap_anew(client: &Client, me: &Participant, out: Output) -> Result<custody::Outcome> {
    if me.role != Role::Patient {
        return Ok(custody::Outcome::default());
    }
    let patient = me.participant_id.into();
    let progress =
        |progress: custody::Progress| out.progress("wrapped", progress.done, progress.total);
    Ok(match client.custody() {
        Custody::Patient => custody::rewrap(client, patient, progress).await?,
        Custody::Organization => custody::survey(client, patient, |_| {}).await?,
    })
}

fn sentence(
    kid: &str,
    outcome: &custody::Outcome,
    previous: Option<&Path>,
    (me, custody): (&Participant, Custody),
) -> String {
    let mut lines = vec![format!("your key is now {kid}")];
    if me.role == Role::Patient {
        lines.push(format!(
            "{} records are wrapped for it, {} are not yet",
            outcome.records, outcome.pending
        ));
        if outcome.pending > 0 && custody == Custody::Organization {
            lines.push(
                "your organisation's oracle wraps them by itself, which takes a few minutes"
                    .to_owned(),
            );
        }
    }
    for msp_id in &outcome.elsewhere {
        lines.push(format!(
            "records that {msp_id} keeps: do the same with the address of its oracle"
        ));
    }
    if let Some(previous) = previous {
        lines.push(format!(
            "{} opens what was sealed for you before: keep it until nothing of that is needed, \
             then run `salus keys rotate --forget-previous`",
            previous.display()
        ));
    }
    lines.join("\n")
}

/// Writes a file that must not exist, whole or not at all: a lost private key makes records
/// unreadable.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let cannot = || format!("cannot create {}", path.display());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .with_context(cannot)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_never_overwritten_and_the_private_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let args = KeysCreate {
            out: folder.path().join("new"),
            id: None,
        };
        create(None, &args, Output::new(true)).unwrap();
        let private = args.out.join("private.jwk");
        let before = fs::read(&private).unwrap();
        let mode = fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE_MODE);
        assert!(create(None, &args, Output::new(true)).is_err());
        assert_eq!(fs::read(&private).unwrap(), before);
        assert_eq!(fs::read_dir(&args.out).unwrap().count(), 2, "no leftovers");
    }
}
