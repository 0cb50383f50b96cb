//! What a device's message says about itself: record type, period, sequence number. Pure.
//!
//! The payload's bytes are kept as they are; decoding only reads them. Accepted are a FHIR R4 Observation or a
//! Bundle of them (JSON), a compact reading (JSON or CBOR), and any bytes with a content type of their own.

mod codes;
mod compact;
mod fhir;
mod labels;
mod sampled;
#[cfg(test)]
mod tests;
mod when;

use contract_interface::limits::CONTENT_TYPE_BYTES_MAX;
use contract_interface::{Period, RecordType, UtcTime};
use serde_json::Value;
use thiserror::Error;

use super::dicom;
use crate::journal::{Labels, Mark, Marks};

/// FHIR resources as JSON.
pub const FHIR_JSON: &str = "application/fhir+json";
/// JSON: a FHIR resource if it has a `resourceType`, else a compact reading. Also assumed when none is named.
pub const JSON: &str = "application/json";
/// A compact reading as JSON.
pub const READING_JSON: &str = "application/vnd.salus.reading+json";
/// CBOR: a compact reading.
pub const CBOR: &str = "application/cbor";
/// A compact reading as CBOR.
pub const READING_CBOR: &str = "application/vnd.salus.reading+cbor";

/// Category of a Bundle whose Observations are of several types and no common category.
const MIXED: &str = "bundle";

/// What the transport said about a message, beside its payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// The device's sequence number.
    pub sequence: Option<u64>,
    /// Record type, for bytes that do not say.
    pub code: Option<String>,
    /// RFC 3339 time of the measurement, for bytes that do not say.
    pub time: Option<String>,
}

/// What the oracle needs to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Media type, as it is kept with the payload.
    pub content_type: String,
    /// The device's sequence number, if it gave one.
    pub sequence: Option<u64>,
    /// Record type.
    pub code: RecordType,
    /// The period covered.
    pub period: Period,
    /// Whether it is bytes of another kind, which become a record of their own.
    pub opaque: bool,
    /// Confidentiality, sensitivities and context. A compact reading and bytes of another kind
    /// cannot name them and are of normal confidentiality.
    pub labels: Labels,
    /// What is odd about it.
    pub marks: Marks,
}

/// Why a message cannot be taken. [`DecodeError::name`] is stable; no variant holds payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing was sent.
    #[error("the payload is empty")]
    Empty,
    /// Not JSON, or JSON too deep or with numbers out of range.
    #[error("the payload is not JSON: line {line}, column {column}")]
    NotJson {
        /// Line of the first wrong character.
        line: usize,
        /// Column of the first wrong character.
        column: usize,
    },
    /// Not CBOR, or not one item.
    #[error("the payload is not one CBOR item: byte {offset}")]
    NotCbor {
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// A FHIR resource that is no measurement.
    #[error("a resource of type Observation or Bundle is expected")]
    ResourceType,
    /// A member must be there.
    #[error("{field} is missing")]
    Missing {
        /// Path of the member.
        field: &'static str,
    },
    /// A member has the wrong type.
    #[error("{field} must be {expected}")]
    WrongType {
        /// Path of the member.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A time cannot be read.
    #[error("{field} is not a time")]
    Time {
        /// Path of the member.
        field: &'static str,
    },
    /// A period ends before it starts.
    #[error("the period ends before it starts")]
    Period,
    /// A Bundle without Observations.
    #[error("the bundle holds no observation")]
    EmptyBundle,
    /// A Bundle whose Observations have different labels or encounters, which share no record.
    #[error("the bundle's observations differ in security labels or encounter")]
    LabelsDiffer,
    /// An entry of a Bundle is wrong.
    #[error("entry {index}: {error}")]
    Entry {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// Content that is not of the media type it was sent as.
    #[error("the content is not what its content type says")]
    ContentTypeMismatch,
    /// Transport and payload name different sequence numbers.
    #[error("the message's and the payload's sequence numbers differ")]
    SequencesDiffer,
    /// A sequence number that is not one.
    #[error("the sequence number must be an integer from 0 to 2^64-1")]
    Sequence,
    /// A content type that is not one.
    #[error("the content type is not a media type")]
    ContentType,
}

impl DecodeError {
    /// The error's stable name, as dead letters, metrics and reason strings spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "payload-empty",
            Self::NotJson { .. } => "payload-not-json",
            Self::NotCbor { .. } => "payload-not-cbor",
            Self::ResourceType => "payload-resource-type",
            Self::Missing { .. } => "payload-member-missing",
            Self::WrongType { .. } => "payload-member-type",
            Self::Time { .. } => "payload-time",
            Self::Period => "payload-period",
            Self::EmptyBundle => "payload-bundle-empty",
            Self::LabelsDiffer => "payload-labels-differ",
            Self::Entry { error, .. } => error.name(),
            Self::ContentTypeMismatch => "content-type-mismatch",
            Self::SequencesDiffer => "sequence-differs",
            Self::Sequence => "sequence-malformed",
            Self::ContentType => "content-type-malformed",
        }
    }
}

/// What a payload says, before the transport's hints are added.
struct Said {
    sequence: Option<u64>,
    code: RecordType,
    period: Option<Period>,
    opaque: bool,
    labels: Labels,
    marks: Marks,
}

/// Reads a message received at `received`.
///
/// # Errors
///
/// [`DecodeError`] names what is wrong.
pub fn decode(hints: &Hints, payload: &[u8], received: UtcTime) -> Result<Decoded, DecodeError> {
    if payload.is_empty() {
        return Err(DecodeError::Empty);
    }
    let content_type = content_type(hints)?;
    let said = match essence(&content_type).as_str() {
        FHIR_JSON => fhir::read(&json(payload)?)?,
        JSON => {
            let value = json(payload)?;
            if value.get("resourceType").is_some() {
                fhir::read(&value)?
            } else {
                compact::from_json(&value)?
            }
        }
        READING_JSON => compact::from_json(&json(payload)?)?,
        CBOR | READING_CBOR => compact::from_cbor(payload)?,
        other => opaque(hints, other, payload)?,
    };
    let recognised =
        said.opaque && dicom::judge(&essence(&content_type), payload) == dicom::Verdict::Dicom;
    let content_type = match recognised {
        true => dicom::DICOM.to_owned(),
        false => content_type,
    };
    let sequence = match (hints.sequence, said.sequence) {
        (Some(a), Some(b)) if a != b => return Err(DecodeError::SequencesDiffer),
        (a, b) => a.or(b),
    };
    let period = match said.period {
        Some(period) => period,
        // Without number and time, two equal readings could not be told from one sent twice.
        None if sequence.is_none() && !said.opaque => {
            return Err(DecodeError::Missing { field: "time" });
        }
        None => Period {
            start: received,
            end: received,
        },
    };
    Ok(Decoded {
        content_type,
        sequence,
        code: said.code,
        period,
        opaque: said.opaque,
        labels: said.labels,
        marks: said.marks,
    })
}

fn content_type(hints: &Hints) -> Result<String, DecodeError> {
    let Some(named) = &hints.content_type else {
        return Ok(JSON.to_owned());
    };
    let printable = named.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let essence = essence(named);
    let two_parts = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_media_token(kind) && is_media_token(subtype));
    if printable && two_parts && named.len() <= CONTENT_TYPE_BYTES_MAX {
        Ok(named.clone())
    } else {
        Err(DecodeError::ContentType)
    }
}

/// A media type without parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    essence.trim().to_ascii_lowercase()
}

fn is_media_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

fn json(payload: &[u8]) -> Result<Value, DecodeError> {
    serde_json::from_slice(payload).map_err(|error| DecodeError::NotJson {
        line: error.line(),
        column: error.column(),
    })
}

/// What is known of content that comes in pieces, received at `received`: bytes of any kind, whatever they are.
///
/// # Errors
///
/// [`DecodeError`] names what is wrong.
pub(crate) fn describe(hints: &Hints, received: UtcTime) -> Result<Decoded, DecodeError> {
    let content_type = content_type(hints)?;
    let said = described(hints, &essence(&content_type))?;
    Ok(Decoded {
        content_type,
        sequence: hints.sequence,
        code: said.code,
        period: said.period.unwrap_or(Period {
            start: received,
            end: received,
        }),
        opaque: true,
        labels: said.labels,
        marks: said.marks,
    })
}

/// Any bytes, which must be what their content type says.
fn opaque(hints: &Hints, essence: &str, payload: &[u8]) -> Result<Said, DecodeError> {
    match dicom::judge(essence, payload) {
        dicom::Verdict::Mismatch => Err(DecodeError::ContentTypeMismatch),
        dicom::Verdict::AsNamed => described(hints, essence),
        dicom::Verdict::Dicom => described(hints, dicom::DICOM),
    }
}

/// Their type is what the transport says, else what the content type says.
fn described(hints: &Hints, essence: &str) -> Result<Said, DecodeError> {
    let code = match &hints.code {
        Some(code) => code.parse().map_err(|_| DecodeError::WrongType {
            field: "type",
            expected: "a LOINC code or a category of at most 64 characters",
        })?,
        None => category(essence),
    };
    let mut marks = Marks::default();
    let mistyped = codes::looks_like_loinc(code.as_str()) && !codes::is_loinc(code.as_str());
    marks.add_if(mistyped, Mark::CodeNotLoinc);
    let period = match &hints.time {
        Some(time) => Some(when::instant(time).ok_or(DecodeError::Time { field: "time" })?),
        None => None,
    };
    Ok(Said {
        sequence: None,
        code,
        period,
        opaque: true,
        labels: Labels::default(),
        marks,
    })
}

/// `image` of `image/png`, `dicom` of `application/dicom`.
pub(crate) fn category(essence: &str) -> RecordType {
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    let chosen = if kind == "application" { subtype } else { kind };
    let token: String = chosen
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(contract_interface::limits::TOKEN_CHARS_MAX)
        .collect();
    token
        .parse()
        .unwrap_or_else(|_| MIXED.parse().expect("the constant is a record type"))
}
