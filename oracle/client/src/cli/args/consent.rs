//! Consent: grants, policies, guardians, requests for access.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use contract_interface::{
    AccessRequestId, DelegationId, GrantId, MspId, ParticipantId, PolicyId, ProjectCode, Pseudonym,
    Purpose, RecordType, UtcTime,
    access::{DelegationBasis, Power},
};

use super::{
    forms::{Until, power, until},
    rules::RuleArgs,
};

/// How one is sure who gets keys; asked only where nobody but the patient holds them
/// (custody = "patient").
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// The name in the certificate of whom you mean; it is asked for, if it is not said here.
    #[arg(long, value_name = "NAME")]
    pub(crate) expect: Vec<String>,
    /// The certificate (PEM) that the person gave you.
    #[arg(long = "their-certificate", value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantsCommand {
    /// Let someone read your records, or forbid it.
    Give(Box<GrantsGive>),
    /// Show one grant in full.
    Show(GrantsShow),
    /// End a grant. What was read before cannot be taken back.
    Revoke(GrantsRevoke),
    /// List grants: a patient's, or a reader's. Without an option, those you gave as a patient, or
    /// those you hold yourself.
    List(GrantsList),
    /// Hand the keys of the records that a grant covers to its grantee. Needed only where nobody
    /// but you holds them (custody = "patient"), for records that came after the grant.
    Share(GrantsShare),
    /// Give the grants that a FHIR Consent (IHE PCF) asks for.
    ImportConsent(GrantsImport),
    /// Write your grants as FHIR Consents (IHE PCF).
    ExportConsent(GrantsExport),
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("whom").required(true).multiple(true).args(["to", "in_reply_to"])),
    group(ArgGroup::new("what").required(true).multiple(true).args(["purpose", "deny", "in_reply_to"]))
)]
pub(crate) struct GrantsGive {
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// From when it holds; now, if left out.
    #[arg(long, visible_alias = "from", value_name = "TIME")]
    pub(crate) valid_from: Option<UtcTime>,
    /// Until when it holds: a time, or a while such as 90d. If left out 90 days, or for a denial
    /// for ever.
    #[arg(long, visible_alias = "until", value_name = "TIME|WHILE", value_parser = until)]
    pub(crate) valid_until: Option<Until>,
    /// How many reads it allows.
    #[arg(long, value_name = "N", conflicts_with = "deny")]
    pub(crate) max_reads: Option<u32>,
    /// The request for access that it answers. What you do not say is taken from the request.
    #[arg(long, value_name = "ID", conflicts_with = "deny")]
    pub(crate) in_reply_to: Option<AccessRequestId>,
    /// As a guardian, for this patient.
    #[arg(long = "for", value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsShow {
    /// The grant.
    pub(crate) grant: GrantId,
    /// Whose grant it is; yours, if left out.
    #[arg(long = "for", visible_alias = "patient", value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsRevoke {
    /// The grant.
    pub(crate) grant: GrantId,
    /// As a guardian, for this patient.
    #[arg(long = "for", value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").args(["patient", "grantee"])))]
pub(crate) struct GrantsList {
    /// Grants that this patient gave.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Grants that this participant holds.
    #[arg(long, value_name = "ID")]
    pub(crate) grantee: Option<ParticipantId>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsShare {
    /// The grant.
    #[arg(long, value_name = "ID")]
    pub(crate) grant: GrantId,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsImport {
    /// The Consent (FHIR R4, JSON).
    #[arg(value_name = "FILE.json")]
    pub(crate) file: PathBuf,
    /// Who and what the Consent's references are: a JSON object from reference to
    /// participant:ID, patient:PSEUDONYM, organization:MSP, role:MSP/provider, device:ID,
    /// record:ID, context:ID or emergency, or a list of these.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Only say what would be given.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsExport {
    /// Whose grants; yours, if left out.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Only this grant; all that stand, if left out.
    #[arg(long, value_name = "ID")]
    pub(crate) grant: Option<GrantId>,
    /// Which references to write for whom; the same file as for import-consent.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Folder for the files, one a grant.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoliciesCommand {
    /// Set a rule for the records that your organisation registers. It stands above the patients'
    /// grants.
    Set(Box<PoliciesSet>),
    /// End a rule.
    Withdraw(PoliciesWithdraw),
    /// List an organisation's rules.
    List(PoliciesList),
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("whom").required(true).multiple(true).args(["to"])),
    group(ArgGroup::new("what").required(true).multiple(true).args(["purpose", "deny"]))
)]
pub(crate) struct PoliciesSet {
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// From when it holds; now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) valid_from: Option<UtcTime>,
    /// Until when it holds: a time, or a while such as 90d; until it is withdrawn, if left out.
    #[arg(long, value_name = "TIME|WHILE", value_parser = until)]
    pub(crate) valid_until: Option<Until>,
}

#[derive(Debug, Args)]
pub(crate) struct PoliciesWithdraw {
    /// The rule.
    pub(crate) policy: PolicyId,
}

#[derive(Debug, Args)]
pub(crate) struct PoliciesList {
    /// Whose rules; your organisation's, if left out.
    #[arg(long, value_name = "MSP")]
    pub(crate) organization: Option<MspId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuardiansCommand {
    /// Let someone act for a patient.
    Add(GuardiansAdd),
    /// List who may act for a patient, or for whom someone may act; without an option, for you, or
    /// for whom you may.
    List(GuardiansList),
    /// Dismiss a guardian.
    Remove(GuardiansRemove),
    /// Hand the keys of your records to a guardian. Needed only where nobody but you holds them
    /// (custody = "patient"), for records that came after the guardian was named.
    Share(GuardiansShare),
}

#[derive(Debug, Args)]
pub(crate) struct GuardiansShare {
    /// Who may read for you.
    #[arg(long, value_name = "ID")]
    pub(crate) guardian: ParticipantId,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

/// Why a guardian may act.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Basis {
    /// The patient's own word; the patient runs this.
    Patient,
    /// Parenthood; an administrator runs this.
    Parent,
    /// A court's decision; an administrator runs this.
    Court,
    /// A power of attorney; an administrator runs this.
    Attorney,
}

impl From<Basis> for DelegationBasis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Patient => Self::Patient,
            Basis::Parent => Self::Parent,
            Basis::Court => Self::Court,
            Basis::Attorney => Self::Attorney,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GuardiansAdd {
    /// Who is to act.
    #[arg(long, value_name = "ID")]
    pub(crate) guardian: ParticipantId,
    /// For which patient; yourself, if left out.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// What the guardian may do: read, grant, erase; may be repeated.
    #[arg(long = "power", value_parser = power, required = true)]
    pub(crate) powers: Vec<Power>,
    /// Why the guardian may act.
    #[arg(long, value_enum, default_value = "patient")]
    pub(crate) basis: Basis,
    /// From when; now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) valid_from: Option<UtcTime>,
    /// Until when: a time, or a while such as 365d.
    #[arg(long, value_name = "TIME|WHILE", value_parser = until)]
    pub(crate) valid_until: Until,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").args(["patient", "guardian"])))]
pub(crate) struct GuardiansList {
    /// Who may act for this patient.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// For whom this participant may act.
    #[arg(long, value_name = "ID")]
    pub(crate) guardian: Option<ParticipantId>,
}

#[derive(Debug, Args)]
pub(crate) struct GuardiansRemove {
    /// The delegation, as `guardians list` names it.
    pub(crate) delegation: DelegationId,
    /// End every permit that the guardian gave under it, too. Else these stay, as validly given.
    /// It may be asked for later as well.
    #[arg(long)]
    pub(crate) end_grants: bool,
    /// For which patient the guardian acts; yourself, if left out.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Ask a patient for access.
    Ask(AccessAsk),
    /// List requests for access: to a patient, or of a provider. Without an option, those to you as
    /// a patient, or your own.
    List(AccessList),
    /// Refuse a request. To accept it, give a grant: `salus grants give --in-reply-to ID`.
    Refuse(AccessRefuse),
}

#[derive(Debug, Args)]
pub(crate) struct AccessAsk {
    /// Whom to ask.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    /// For what: TREAT (treatment), HPAYMT (payment), HOPERAT (operations), HRESCH (research); may
    /// be repeated.
    #[arg(long, required = true)]
    pub(crate) purpose: Vec<Purpose>,
    /// Which record types; may be repeated. All, if left out.
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) types: Vec<RecordType>,
    /// Only data from this time on.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_from: Option<UtcTime>,
    /// Only data before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_until: Option<UtcTime>,
    /// For this project, such as a study.
    #[arg(long, value_name = "CODE")]
    pub(crate) project: Option<ProjectCode>,
    /// Until when access is wished: a time, or a while such as 30d.
    #[arg(long, value_name = "TIME|WHILE", value_parser = until, default_value = "90d")]
    pub(crate) wanted_until: Until,
    /// Words for the patient, which only the patient can read; `-` is standard input.
    #[arg(long)]
    pub(crate) message: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").args(["patient", "requester"])))]
pub(crate) struct AccessList {
    /// Requests to this patient.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Requests of this provider.
    #[arg(long, value_name = "ID")]
    pub(crate) requester: Option<ParticipantId>,
    /// Only those not answered.
    #[arg(long)]
    pub(crate) open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AccessRefuse {
    /// The request.
    pub(crate) request: AccessRequestId,
    /// As a guardian, for this patient.
    #[arg(long = "for", value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
}
