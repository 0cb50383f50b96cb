//! Records.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use contract_interface::{
    Confidentiality, ContextId, ParticipantId, ProjectCode, Pseudonym, Purpose, RecordId,
    RecordType, Sensitivity, UtcTime, record::ErasureBasis,
};

#[derive(Debug, Subcommand)]
pub(crate) enum RecordsCommand {
    /// List a patient's records that you may see.
    List(RecordsList),
    /// Read records: each read is recorded for the patient to see.
    Read(RecordsRead),
    /// Print a signed read request, for `curl`: the value of the header Salus-Read-Request.
    SignRead(RecordsSignRead),
    /// Say whether a read would be permitted and which rule decides; nothing is read or recorded.
    Explain(RecordsExplain),
    /// Submit a record that you made: a report, a letter, an image, observations.
    Submit(Box<RecordsSubmit>),
    /// Submit a new version of a record. The version before stays readable.
    Amend(Box<RecordsAmend>),
    /// List the versions of a record.
    Versions(RecordsVersions),
    /// Erase a record for good, and print the certificate of its erasure.
    ///
    /// Peers forget the keys with the transaction's block. The files of their data bases keep deleted
    /// bytes until each peer's operator runs `salus peers compact`, of which the certificate says
    /// nothing.
    Erase(RecordsErase),
    /// Write a proof of one reading that shows no other.
    Prove(super::RecordsProve),
}

#[derive(Debug, Args)]
pub(crate) struct RecordsList {
    /// Whose records; your own, if left out.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Option<Pseudonym>,
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
    /// Why you read: TREAT (treatment), HPAYMT (payment), HOPERAT (operations), HRESCH
    /// (research), PATRQT (a patient's or guardian's own wish) or BTG (a declared emergency).
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// For which project, if a grant is for one.
    #[arg(long, value_name = "CODE")]
    pub(crate) project: Option<ProjectCode>,
    /// Write each record to a file in this folder instead of standard output.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsSignRead {
    /// The record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
    /// Why you read: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG.
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// For which project.
    #[arg(long, value_name = "CODE")]
    pub(crate) project: Option<ProjectCode>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsExplain {
    /// The record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
    /// Why it would be read: TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG.
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// Who would read; you, if left out. Patients ask about others so.
    #[arg(long, value_name = "ID")]
    pub(crate) reader: Option<ParticipantId>,
    /// For which project.
    #[arg(long, value_name = "CODE")]
    pub(crate) project: Option<ProjectCode>,
    /// When; now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<UtcTime>,
}

/// What is said of a submitted record.
#[derive(Debug, Args)]
pub(crate) struct Described {
    /// What it holds (LOINC code or category).
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) record_type: Option<RecordType>,
    /// Beginning of the time that it is about; now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<UtcTime>,
    /// End of the time that it is about; the beginning, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) end: Option<UtcTime>,
    /// Media type of the file.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// The encounter, care plan or episode that it belongs to.
    #[arg(long, value_name = "ID")]
    pub(crate) context: Option<ContextId>,
    /// How confidential it is: N, R or V.
    #[arg(long, value_name = "N|R|V")]
    pub(crate) confidentiality: Option<Confidentiality>,
    /// What it is sensitive for, such as PSY; may be repeated.
    #[arg(long, value_name = "CODE")]
    pub(crate) sensitivity: Vec<Sensitivity>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsSubmit {
    /// The content.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Whose record it is.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    #[command(flatten)]
    pub(crate) described: Described,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsAmend {
    /// The new content.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The version that it takes the place of. What you do not say is taken from there.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
    #[command(flatten)]
    pub(crate) described: Described,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsVersions {
    /// Any version of the record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
}

/// Why a record is erased.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Because {
    /// The patient, or a guardian, asks for it.
    PatientRequest,
    /// It has been kept long enough; for administrators.
    RetentionEnded,
    /// It should not have been registered; for administrators.
    RegisteredInError,
}

impl From<Because> for ErasureBasis {
    fn from(because: Because) -> Self {
        match because {
            Because::PatientRequest => Self::PatientRequest,
            Because::RetentionEnded => Self::RetentionEnded,
            Because::RegisteredInError => Self::RegisteredInError,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RecordsErase {
    /// The record.
    #[arg(long, value_name = "ID")]
    pub(crate) record: RecordId,
    /// Erase every version of it.
    #[arg(long)]
    pub(crate) all_versions: bool,
    /// Why.
    #[arg(long, value_enum, default_value = "patient-request")]
    pub(crate) because: Because,
    /// Of an erasure under way: end it although organisations have not said that they removed the
    /// object. The certificate names them. For administrators of the organisation that keeps it.
    #[arg(long)]
    pub(crate) insist: bool,
    /// Give up waiting for the organisations after so many seconds; the erasure goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) patience: u64,
}
