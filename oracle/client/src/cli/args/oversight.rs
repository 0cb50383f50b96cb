//! Oversight: emergencies, notices, reads.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use contract_interface::{
    EmergencyId, MspId, ParticipantId, Pseudonym, ReadId, RecordId, UtcTime,
    access::{EmergencyReason, ReviewOutcome},
};

use super::forms::{Until, until};

#[derive(Debug, Subcommand)]
pub(crate) enum EmergenciesCommand {
    /// Break the glass: for at most four hours you may read a patient's records with purpose BTG.
    /// The patient and the privacy officers are told, of this and of every read.
    Declare(EmergenciesDeclare),
    /// List emergencies: of a patient, or of an organisation's patients. Without an option, yours
    /// as a patient, or those of your organisation.
    List(EmergenciesList),
    /// Close the review of an emergency.
    Review(EmergenciesReview),
}

/// What the emergency is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// The patient's life is in danger.
    LifeThreatening,
    /// The patient cannot be asked.
    Unresponsive,
    /// Others are in danger, as from an infection.
    DangerToOthers,
    /// Urgent treatment whose delay would harm.
    UrgentTreatment,
}

impl From<Reason> for EmergencyReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::LifeThreatening => Self::LifeThreatening,
            Reason::Unresponsive => Self::Unresponsive,
            Reason::DangerToOthers => Self::DangerToOthers,
            Reason::UrgentTreatment => Self::UrgentTreatment,
        }
    }
}

/// What a review found.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Outcome {
    /// The glass was broken for a good reason.
    Justified,
    /// It was not.
    Unjustified,
}

impl From<Outcome> for ReviewOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Justified => Self::Justified,
            Outcome::Unjustified => Self::Unjustified,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EmergenciesDeclare {
    /// Whose records are needed.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    /// What the emergency is.
    #[arg(long, value_enum)]
    pub(crate) reason: Reason,
    /// Why, in your words, which only the patient and the privacy officers can read; `-` is
    /// standard input.
    #[arg(long)]
    pub(crate) justification: String,
    /// How long: at most 4h.
    #[arg(long = "for", value_name = "WHILE", value_parser = until, default_value = "1h")]
    pub(crate) lasts: Until,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").args(["patient", "organization"])))]
pub(crate) struct EmergenciesList {
    /// Of this patient.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
    /// Of patients of this organisation, whose auditors review them.
    #[arg(long, value_name = "MSP")]
    pub(crate) organization: Option<MspId>,
    /// Only those not reviewed.
    #[arg(long)]
    pub(crate) open: bool,
    /// Open the justifications with your key.
    #[arg(long)]
    pub(crate) justifications: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EmergenciesReview {
    /// The emergency.
    pub(crate) emergency: EmergencyId,
    /// What the review found.
    #[arg(long, value_enum)]
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Args)]
pub(crate) struct NoticesArgs {
    /// Only of this time or later. To see what is new, name the latest time that you saw less ten
    /// minutes: notices may come that far out of order.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReadsCommand {
    /// List reads and denials. Without an option, those of your records as a patient, or your own;
    /// auditors and administrators see with a period alone what concerns their organisation.
    List(ReadsList),
    /// Show one read or denial in full.
    Show(ReadsShow),
    /// Write reads and denials as FHIR AuditEvents.
    Export(ReadsExport),
}

#[derive(Debug, Args)]
pub(crate) struct ReadsFilter {
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

#[derive(Debug, Args)]
pub(crate) struct ReadsList {
    #[command(flatten)]
    pub(crate) filter: ReadsFilter,
}

#[derive(Debug, Args)]
pub(crate) struct ReadsShow {
    /// The read: the ID on the receipt.
    pub(crate) read: ReadId,
    /// As a FHIR AuditEvent.
    #[arg(long)]
    pub(crate) fhir: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReadsExport {
    #[command(flatten)]
    pub(crate) filter: ReadsFilter,
    /// As FHIR Bundles of AuditEvents (IHE BALP); the only form there is, so it may be left out.
    #[arg(long)]
    pub(crate) fhir: bool,
    /// Folder for the Bundles, one file a page.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
