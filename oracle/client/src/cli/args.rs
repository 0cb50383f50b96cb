//! What can be typed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use contract_interface::{
    DeviceId, GrantId, Grantee, MspId, ParticipantId, Pseudonym, Purpose, RecordId, RecordType,
    Role, UtcTime,
};

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
    /// Devices and whom they measure. For administrators.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Acting as a device.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Records: find and read them.
    #[command(subcommand)]
    Records(RecordsCommand),
    /// Consent: who may read your records. For patients.
    #[command(subcommand)]
    Grants(GrantsCommand),
    /// Who read what.
    #[command(subcommand)]
    Reads(ReadsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make an RSA-3072 key pair: private.jwk stays with you, public.jwk is registered.
    Create(KeysCreate),
}

#[derive(Debug, Args)]
pub(crate) struct KeysCreate {
    /// Folder for the two files; existing ones are never overwritten.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
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
    /// The ID to register under, to renew a certificate; a new random one otherwise.
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

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Register a device and bind it to a patient.
    Add(DevicesAdd),
    /// List your organisation's devices.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesAdd {
    /// The device ID: the common name of its certificate.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// The device's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// Whom it measures.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    /// From when it measures this patient; readings before are refused. Now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Publish readings, one a line, until each is acknowledged.
    Publish(DevicePublish),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    V3,
    /// MQTT 5.
    #[value(name = "5")]
    V5,
}

#[derive(Debug, Args)]
pub(crate) struct DevicePublish {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// The oracle's broker.
    #[arg(long, value_name = "mqtts://HOST:PORT")]
    pub(crate) broker: String,
    /// CA of the broker's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: PathBuf,
    /// The device's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The device's private key (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The readings, one a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Number the readings from here; without it the oracle tells them apart by content.
    #[arg(long, value_name = "N")]
    pub(crate) seq_start: Option<u64>,
    /// What the lines are.
    #[arg(long, default_value = "application/fhir+json")]
    pub(crate) content_type: String,
    /// Protocol version.
    #[arg(long, value_enum, default_value = "5")]
    pub(crate) mqtt_version: Version,
    /// Wait until every reading is committed on the ledger.
    #[arg(long)]
    pub(crate) wait_receipts: bool,
    /// Give up when nothing happens for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) patience: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecordsCommand {
    /// List a patient's records that you may see.
    List(RecordsList),
    /// Read records: each read is recorded for the patient to see.
    Read(RecordsRead),
    /// Print a signed read request, for `curl`: the value of the header Salus-Read-Request.
    SignRead(RecordsSignRead),
}

#[derive(Debug, Args)]
pub(crate) struct RecordsList {
    /// Whose records.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    /// Only this type (LOINC code or category).
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) record_type: Option<RecordType>,
    /// Only records with a reading at or after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
    /// Only records with a reading at or before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<UtcTime>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["record", "patient"])))]
pub(crate) struct RecordsRead {
    /// The record to read.
    #[arg(long, value_name = "ID")]
    pub(crate) record: Option<RecordId>,
    /// Read all records of this patient that you may read.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Only this type.
    #[arg(long = "type", value_name = "CODE", conflicts_with = "record")]
    pub(crate) record_type: Option<RecordType>,
    /// Only records with a reading at or after this time.
    #[arg(long, value_name = "TIME", conflicts_with = "record")]
    pub(crate) from: Option<UtcTime>,
    /// Only records with a reading at or before this time.
    #[arg(long, value_name = "TIME", conflicts_with = "record")]
    pub(crate) to: Option<UtcTime>,
    /// Why you read: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG.
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// Write each record to a file in this folder instead of standard output.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsSignRead {
    /// The record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
    /// Why you read.
    #[arg(long)]
    pub(crate) purpose: Purpose,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantsCommand {
    /// Let someone read your records.
    Give(GrantsGive),
    /// End a grant. What was read before cannot be taken back.
    Revoke(GrantsRevoke),
    /// List grants.
    List(GrantsList),
}

#[derive(Debug, Args)]
pub(crate) struct GrantsGive {
    /// To whom: participant:ID, organization:MSP or role:MSP/ROLE.
    #[arg(long, value_parser = grantee)]
    pub(crate) to: Grantee,
    /// For what: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT, BTG; may be repeated.
    #[arg(long, required = true)]
    pub(crate) purpose: Vec<Purpose>,
    /// Which record types; may be repeated. All, if left out.
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) types: Vec<RecordType>,
    /// From when it holds: a time, or now if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
    /// Until when it holds: a time, or a number of days such as 90d.
    #[arg(long, value_name = "TIME|DAYS", default_value = "90d")]
    pub(crate) until: String,
    /// Only data from this time on.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_from: Option<UtcTime>,
    /// Only data before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_until: Option<UtcTime>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantsRevoke {
    /// The grant.
    pub(crate) grant: GrantId,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true).args(["patient", "grantee"])))]
pub(crate) struct GrantsList {
    /// Grants that this patient gave.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Grants that this participant holds.
    #[arg(long, value_name = "ID")]
    pub(crate) grantee: Option<ParticipantId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReadsCommand {
    /// List reads and denials.
    List(ReadsList),
}

#[derive(Debug, Args)]
pub(crate) struct ReadsList {
    /// Reads of this patient's records.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Reads of this record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: Option<RecordId>,
    /// Reads by this participant.
    #[arg(long, value_name = "ID")]
    pub(crate) reader: Option<ParticipantId>,
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
    /// Not after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<UtcTime>,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_text(text)
        .ok_or_else(|| format!("{text:?} is none of patient, provider, oracle, admin, auditor"))
}

fn grantee(text: &str) -> Result<Grantee, String> {
    let forms = "expected participant:ID, organization:MSP or role:MSP/ROLE";
    let (kind, rest) = text.split_once(':').ok_or(forms)?;
    let parsed = match kind {
        "participant" => rest.parse().map(Grantee::Participant),
        "organization" => rest.parse().map(Grantee::Organization),
        "role" => {
            let (msp_id, role) = rest.split_once('/').ok_or(forms)?;
            let msp_id = msp_id
                .parse()
                .map_err(|error| format!("{msp_id}: {error}"))?;
            return self::role(role).map(|role| Grantee::Role { msp_id, role });
        }
        _ => return Err(forms.to_owned()),
    };
    parsed.map_err(|error| format!("{rest}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grantees_are_parsed_or_the_forms_named() {
        let id = "ab".repeat(16);
        assert!(matches!(
            grantee(&format!("participant:{id}")),
            Ok(Grantee::Participant(_))
        ));
        assert!(matches!(
            grantee("organization:Org2MSP"),
            Ok(Grantee::Organization(_))
        ));
        assert!(matches!(
            grantee("role:Org2MSP/provider"),
            Ok(Grantee::Role { .. })
        ));
        for bad in ["", "x", "person:1", "role:Org2MSP"] {
            assert!(
                grantee(bad).unwrap_err().contains("participant:ID"),
                "{bad}"
            );
        }
        assert!(grantee("participant:12").unwrap_err().starts_with("12: "));
    }

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
            "grants list --patient ID",
            "grants list --grantee ID --profile p",
            "reads list",
            "reads list --patient ID --from 2026-01-01T00:00:00Z",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        for bad in [
            "records read --purpose TREAT",
            "records read --record ID --patient ID --purpose TREAT",
            "records read --record ID --type 8867-4 --purpose TREAT",
            "records read --record ID --purpose FUN",
            "grants list",
            "grants give --to nobody --purpose TREAT",
            "grants give --to organization:Org2MSP",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
