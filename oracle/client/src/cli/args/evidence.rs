//! Verification: evidence, proofs, completeness of the audit.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use contract_interface::{ProjectCode, Purpose, RecordId, names};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["record", "bundle", "proof"])))]
pub(crate) struct VerifyArgs {
    /// The record; its evidence is asked of the oracle.
    pub(crate) record: Option<RecordId>,
    /// A bundle of evidence that was saved, to be checked offline.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// A proof of one reading, to be checked offline; the reading is printed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["read", "sealed", "content", "save"])]
    pub(crate) proof: Option<PathBuf>,
    /// What you trust, as often as needed: a file with the hash of a configuration block, or
    /// MSPID=PATH with an MSP folder or a CA certificate. Your own organisation's CA, if left out.
    #[arg(long = "anchor", value_name = "FILE|MSPID=PATH")]
    pub(crate) anchors: Vec<String>,
    /// Read the record too, which is recorded as every read, and check object and readings.
    #[arg(long, requires = "purpose", requires = "record", conflicts_with_all = ["bundle", "sealed", "content"])]
    pub(crate) read: bool,
    /// Why you read it: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG.
    #[arg(long, requires = "read")]
    pub(crate) purpose: Option<Purpose>,
    /// For which project you read it.
    #[arg(long, requires = "read")]
    pub(crate) project: Option<ProjectCode>,
    /// The sealed object, as it lies in IPFS.
    #[arg(long, value_name = "FILE")]
    pub(crate) sealed: Option<PathBuf>,
    /// The opened content: a segment of readings, or what was submitted.
    #[arg(long, value_name = "FILE")]
    pub(crate) content: Option<PathBuf>,
    /// Keep the evidence in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// The chaincode's name on the channel.
    #[arg(long, default_value = names::CHAINCODE)]
    pub(crate) chaincode: String,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["content", "purpose"])))]
pub(crate) struct RecordsProve {
    /// The record.
    #[arg(long)]
    pub(crate) record: RecordId,
    /// Which reading, from 0.
    #[arg(long, value_name = "N")]
    pub(crate) reading: u64,
    /// The opened content, if you have it; else the record is read for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) content: Option<PathBuf>,
    /// Why you read it: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG.
    #[arg(long)]
    pub(crate) purpose: Option<Purpose>,
    /// For which project you read it.
    #[arg(long, requires = "purpose")]
    pub(crate) project: Option<ProjectCode>,
    /// The file for the proof. Whoever has it sees this one reading and the record's metadata.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Compare the blocks with the recorded reads: is one missing, or one too many?
    Check(AuditCheck),
}

#[derive(Debug, Args)]
pub(crate) struct AuditCheck {
    /// The first block.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from_block: u64,
    /// The last block; the newest, if left out.
    #[arg(long, value_name = "N")]
    pub(crate) to_block: Option<u64>,
}
