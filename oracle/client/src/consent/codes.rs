//! Code systems and codes.

use contract_interface::{
    Confidentiality, ProjectCode, Purpose, Sensitivity, access::SecurityLabel,
};

pub(super) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(super) const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
/// Information recipient: the role that an actor of a Consent has in PCF.
pub(super) const RECIPIENT: &str = "IRCP";
pub(super) const CONSENT_SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
pub(super) const PRIVACY: &str = "patient-privacy";
pub(super) const LOINC: &str = "http://loinc.org";
/// LOINC: consent document.
pub(super) const CONSENT_DOCUMENT: &str = "59284-0";

/// Systems of Salus's own identifiers and codes.
pub(super) const PROJECT: &str = "urn:salus:project";
pub(super) const RECORD_TYPE: &str = "urn:salus:record-type";
/// The policy under which grants are given: the contracts' rules.
pub(super) const POLICY: &str = "urn:salus:policy:access-control";

/// Sub-concepts of HRESCH in HL7 v3 PurposeOfUse, kept as projects of that name.
const RESEARCH: [&str; 8] = [
    "BIORCH",
    "CLINTRCH",
    "CLINTRCHNPC",
    "CLINTRCHPC",
    "PRECLINTRCH",
    "DSRCH",
    "POARCH",
    "TRANSRCH",
];

/// Sensitivities with those that PCF counts among them: who names the first names all.
const SENSITIVITY_FAMILIES: [(&str, &[&str]); 1] = [("ETH", &["ETH", "ETHUD", "OPIOIDUD"])];

/// A purpose of use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PurposeOfUse {
    /// One that readers declare.
    Known(Purpose),
    /// Research for a project.
    Project(ProjectCode),
}

pub(super) fn purpose(system: &str, code: &str) -> Result<PurposeOfUse, String> {
    let project = || {
        code.parse()
            .map(PurposeOfUse::Project)
            .map_err(|error| format!("{code:?} is no project code: {error}"))
    };
    if system != ACT_REASON {
        return project();
    }
    match code.parse() {
        Ok(purpose) => Ok(PurposeOfUse::Known(purpose)),
        Err(_) if RESEARCH.contains(&code) => project(),
        Err(_) => Err(format!(
            "readers declare TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT or BTG; {code} is narrower or \
             another"
        )),
    }
}

pub(super) fn labels(system: &str, code: &str) -> Result<Vec<SecurityLabel>, String> {
    match system {
        CONFIDENTIALITY => code
            .parse::<Confidentiality>()
            .map(|code| vec![SecurityLabel::Confidentiality(code)])
            .map_err(|_| format!("records are N, R or V, not {code}")),
        ACT_CODE => {
            let family = SENSITIVITY_FAMILIES
                .iter()
                .find(|(head, _)| *head == code)
                .map_or_else(|| vec![code], |(_, members)| members.to_vec());
            family
                .into_iter()
                .map(|code| {
                    code.parse::<Sensitivity>()
                        .map(SecurityLabel::Sensitivity)
                        .map_err(|error| format!("{code:?}: {error}"))
                })
                .collect()
        }
        _ => Err(format!(
            "labels are of v3-Confidentiality or v3-ActCode, not of {system:?}"
        )),
    }
}
