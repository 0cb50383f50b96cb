//! What can be typed.

mod consent;
mod device;
mod devices;
mod evidence;
mod forms;
mod operation;
mod oversight;
mod peers;
mod records;
mod rules;
mod setup;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use consent::*;
pub(crate) use device::*;
pub(crate) use devices::*;
pub(crate) use evidence::*;
pub(crate) use forms::Until;
pub(crate) use operation::*;
pub(crate) use oversight::*;
pub(crate) use peers::*;
pub(crate) use records::*;
pub(crate) use setup::*;

/// Share medical data: enrol people and devices, publish readings, give consent, read, audit.
///
/// Exit status: 0 done, 1 failed here, 2 wrong usage, 3 refused, 4 unreachable, 5 what arrived is
/// not what the ledger registered or cannot be opened with your key.
#[derive(Debug, Parser)]
#[command(name = "salus", version)]
pub(crate) struct Salus {
    /// Who you are and which oracle you ask (TOML).
    #[arg(long, global = true, env = "SALUS_PROFILE", value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Print JSON for programs instead of tables for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encryption keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Patients, providers, staff. For administrators.
    #[command(subcommand)]
    Participants(ParticipantsCommand),
    /// The organisations' CAs that your profile pins, with fingerprints to compare.
    Anchors,
    /// Devices and whom they measure. For administrators.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Acting as a device.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Records: find, read, submit, amend, erase them.
    #[command(subcommand)]
    Records(RecordsCommand),
    /// Consent: who may read your records. For patients and guardians.
    #[command(subcommand)]
    Grants(GrantsCommand),
    /// Rules of your organisation. For administrators.
    #[command(subcommand)]
    Policies(PoliciesCommand),
    /// Who may act for a patient. For patients and administrators.
    #[command(subcommand)]
    Guardians(GuardiansCommand),
    /// Requests for access: providers ask, patients answer.
    #[command(subcommand)]
    Access(AccessCommand),
    /// Emergencies: break the glass, and review it.
    #[command(subcommand)]
    Emergencies(EmergenciesCommand),
    /// What you are told: grants given, revoked or run out, requests, emergencies, erasures.
    Notices(NoticesArgs),
    /// Who read what.
    #[command(subcommand)]
    Reads(ReadsCommand),
    /// Check that a record is the registered one, trusting no oracle. Offline with --bundle or --proof.
    Verify(Box<VerifyArgs>),
    /// Whether the record of reads is complete. For auditors and administrators.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What the oracle does in the background: key rotation, sharing, erasures. For administrators.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Readings that were taken and do not get on the ledger. For administrators.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Your organisation's Fabric peers. For those who operate them.
    #[command(subcommand)]
    Peers(PeersCommand),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Salus::command().debug_assert();
    }

    #[test]
    fn what_belongs_together_is_taken_and_what_does_not_is_refused() {
        let id = "ab".repeat(16);
        let parse = |line: &str| {
            let line = line.replace("ID", &id);
            Salus::try_parse_from(["salus"].into_iter().chain(line.split(' '))).map(|_| ())
        };
        for good in [
            "records read --patient ID --type 8867-4 --purpose TREAT --out d",
            "records read --record ID --purpose TREAT --json",
            "grants list",
            "grants list --patient ID",
            "grants list --grantee ID --profile p",
            "reads list",
            "reads list --patient ID --from 2026-01-01T00:00:00Z",
            "grants give --to anyone --purpose TREAT --label N --label PSY --up-to R --max-reads 3",
            "grants give --deny --to organization:Org2MSP --author device:hr-1 --for ID",
            "grants give --in-reply-to ID",
            "grants give --to anyone --purpose TREAT --from 2026-01-01T00:00:00Z --until 4d",
            "policies set --deny --to anyone --purpose HRESCH --project study-1",
            "guardians add --guardian ID --patient ID --power read --power grant --basis court \
             --valid-until 365d",
            "guardians list",
            "guardians remove ID",
            "access ask --patient ID --purpose TREAT --message hello",
            "access list --open",
            "access list --patient ID --open",
            "emergencies declare --patient ID --reason unresponsive --justification x --for 4h",
            "emergencies list --open --justifications",
            "emergencies review ID --outcome justified",
            "notices --from 2026-01-01T00:00:00Z",
            "records explain --record ID --purpose TREAT --reader ID",
            "records submit f --patient ID --type 8867-4 --confidentiality R",
            "records amend f --record ID",
            "records erase --record ID --all-versions --because registered-in-error",
            "keys rotate",
            "reads export --fhir --patient ID --out d",
            "verify ID --read --purpose TREAT --anchor Org1MSP=d --anchor f --save b",
            "verify --bundle b --content c --sealed s",
            "verify --proof p",
            "records prove --record ID --reading 0 --purpose TREAT --out p",
            "audit check --from-block 1 --to-block 9",
            "jobs list",
            "jobs status wraps",
            "dead-letters list --json",
            "dead-letters retry ID",
            "dead-letters retry all",
            "dead-letters drop ID --lose-the-readings",
            "peers compact /var/hyperledger/production",
            "devices enrol --device hr-1 --patient ID --lifetime 30m --out f",
            "devices token --device hr-1",
            "devices bind --device hr-1 --patient ID --from 2026-01-01T00:00:00Z",
            "devices unbind --device hr-1",
            "devices suspend --device hr-1",
            "devices resume --device hr-1",
            "devices revoke --device hr-1 --since 2026-01-01T00:00:00Z",
            "devices show --device hr-1",
            "device enrol --device hr-1 --oracle https://o:1 --ca-file f --token-file - --folder d",
            "device renew --device hr-1 --oracle https://o:1 --ca-file f --folder d",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        for bad in [
            "peers compact",
            "records read --purpose TREAT",
            "verify",
            "verify ID --proof p",
            "verify ID --read",
            "verify --bundle b --read --purpose TREAT",
            "records prove --record ID --reading 0 --out p",
            "records read --record ID --patient ID --purpose TREAT",
            "grants list --patient ID --grantee ID",
            "records read --record ID --type 8867-4 --purpose TREAT",
            "records read --record ID --purpose FUN",
            "grants give --to nobody --purpose TREAT",
            "grants give --to organization:Org2MSP",
            "grants give --deny --to anyone --up-to R",
            "grants give --deny --to anyone --max-reads 1",
            "grants give --purpose TREAT",
            "policies set --to anyone",
            "policies set --deny",
            "guardians add --guardian ID --patient ID --power fly --valid-until 1d",
            "emergencies declare --patient ID --reason boredom --justification x",
            "jobs status",
            "dead-letters retry",
            "dead-letters retry some",
            "dead-letters drop ID",
            "dead-letters drop all --lose-the-readings",
            "devices enrol --device hr-1",
            "devices enrol --device hr-1 --patient ID --lifetime 2026-01-01T00:00:00Z",
            "device enrol --device hr-1 --oracle https://o:1 --ca-file f --folder d --token x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
