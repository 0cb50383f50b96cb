//! Keys and participants.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use contract_interface::{MspId, ParticipantId, Role};

use super::forms::role;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make an RSA-3072 key pair: private.jwk stays with you, public.jwk is registered, with
    /// proof.jws that it is yours, which is made if a profile is named.
    Create(KeysCreate),
    /// Replace your key by a new one, or go on with a replacement that was interrupted: registers
    /// the new key, and where only you hold your records' keys wraps them all anew.
    Rotate(KeysRotate),
    /// Sign that an encryption key is yours, for whoever registers it: needed with the first key,
    /// and with a new certificate.
    Prove(KeysProve),
}

#[derive(Debug, Args)]
pub(crate) struct KeysProve {
    /// The file to write; an existing one is never overwritten.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The public key (JWK); that of your profile's encryption_key_file, if left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// The ID under which you are registered already; a new random one otherwise.
    #[arg(long, value_name = "HEX")]
    pub(crate) id: Option<ParticipantId>,
}

#[derive(Debug, Args)]
pub(crate) struct KeysRotate {
    /// Delete the key before, once nothing is wrapped for it any more. Letters that were sealed for
    /// it cannot be opened afterwards.
    #[arg(long)]
    pub(crate) forget_previous: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysCreate {
    /// Folder for the files; existing ones are never overwritten.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The ID to be registered under, if one is chosen for you; a new random one otherwise.
    #[arg(long, value_name = "HEX")]
    pub(crate) id: Option<ParticipantId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParticipantsCommand {
    /// Register someone of your organisation.
    Add(ParticipantsAdd),
    /// List participants.
    List(ParticipantsList),
}

#[derive(Debug, Args)]
pub(crate) struct ParticipantsAdd {
    /// What the participant is: patient, provider, oracle, admin or auditor.
    #[arg(long, value_parser = role)]
    pub(crate) role: Role,
    /// The participant's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The participant's public encryption key (JWK).
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_key: Option<PathBuf>,
    /// The participant's proof that the key is its own (`salus keys prove`); needed with a key, and
    /// with a new certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_proof: Option<PathBuf>,
    /// The ID to register under, to renew a certificate; if left out the one of the proof, or a
    /// new random one.
    #[arg(long, value_name = "HEX")]
    pub(crate) id: Option<ParticipantId>,
}

#[derive(Debug, Args)]
pub(crate) struct ParticipantsList {
    /// Only this role. Patients are listed only when asked for.
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<Role>,
    /// Only this organisation.
    #[arg(long, value_name = "MSP")]
    pub(crate) organization: Option<MspId>,
}
