//! Rules, reasons and happenings in words.

use std::collections::BTreeMap;

use contract_interface::{
    Decision, Grantee, MarkName, ReasonCode, Rule, UtcTime,
    access::{Author, Happening, Recipient, RuleRef, SecurityLabel},
};

/// Whom a rule is about, as `--to` takes it.
pub(crate) fn grantee(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Participant(id) => format!("participant:{id}"),
        Grantee::Organization(msp_id) => format!("organization:{msp_id}"),
        Grantee::Role { msp_id, role } => format!("role:{msp_id}/{role}"),
        Grantee::Anyone => "anyone".to_owned(),
    }
}

/// Permit or deny.
pub(crate) fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Permit => "permit",
        Decision::Deny => "deny",
    }
}

/// What is odd about readings, and of how many.
pub(crate) fn marks(marks: &BTreeMap<MarkName, u32>) -> String {
    let words: Vec<String> = marks
        .iter()
        .map(|(mark, readings)| format!("{mark}: {readings}"))
        .collect();
    words.join(", ")
}

/// A list with commas, or `empty`.
pub(crate) fn list<T: ToString>(items: &[T], empty: &str) -> String {
    if items.is_empty() {
        return empty.to_owned();
    }
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(",")
}

fn author(author: &Author) -> String {
    match author {
        Author::Participant(id) => format!("participant:{id}"),
        Author::Device(id) => format!("device:{id}"),
        Author::Organization(msp_id) => format!("organization:{msp_id}"),
    }
}

fn label(label: &SecurityLabel) -> String {
    match label {
        SecurityLabel::Confidentiality(code) => code.to_string(),
        SecurityLabel::Sensitivity(code) => code.to_string(),
    }
}

/// Which data a rule is about, in one cell of a table.
pub(crate) fn data(rule: &Rule) -> String {
    let mut words = Vec::new();
    let mut say = |name: &str, items: Vec<String>| {
        if !items.is_empty() {
            words.push(format!("{name} {}", items.join(",")));
        }
    };
    say(
        "types",
        rule.types.iter().map(ToString::to_string).collect(),
    );
    say(
        "records",
        rule.records.iter().map(ToString::to_string).collect(),
    );
    say("by", rule.authors.iter().map(author).collect());
    say(
        "of",
        rule.contexts.iter().map(ToString::to_string).collect(),
    );
    say("labelled", rule.labels.iter().map(label).collect());
    say(
        "up to",
        rule.confidentiality
            .iter()
            .map(ToString::to_string)
            .collect(),
    );
    if let Some(period) = &rule.data_period {
        say(
            "from",
            period.from.iter().map(ToString::to_string).collect(),
        );
        say(
            "before",
            period.until.iter().map(ToString::to_string).collect(),
        );
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join("; ")
    }
}

/// For which purposes a rule is.
pub(crate) fn purposes(rule: &Rule) -> String {
    let mut text = list(&rule.purposes, "all but BTG");
    if let Some(project) = &rule.project {
        text.push_str(&format!(" for {project}"));
    }
    text
}

/// Until when something holds.
pub(crate) fn end(time: UtcTime) -> String {
    if time == UtcTime::MAX {
        "open end".to_owned()
    } else {
        time.to_string()
    }
}

/// Which rule, in words.
pub(crate) fn rule_ref(rule: &RuleRef) -> String {
    match rule {
        RuleRef::Grant { grant_id, version } => {
            format!("the patient's grant {grant_id} (version {version})")
        }
        RuleRef::Policy {
            policy_id,
            msp_id,
            version,
        } => format!("the policy {policy_id} of {msp_id} (version {version})"),
        RuleRef::Delegation {
            delegation_id,
            version,
        } => format!("the guardian's delegation {delegation_id} (version {version})"),
        RuleRef::Emergency { emergency_id } => format!("the emergency {emergency_id}"),
    }
}

/// Why a read is permitted or denied.
pub(crate) fn reason(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::OwnRecord => "it is the patient's own record",
        ReasonCode::Guardian => "a guardian reads for the patient",
        ReasonCode::PolicyPermits => "the organisation that keeps the record permits it",
        ReasonCode::Granted => "the patient permits it",
        ReasonCode::Emergency => "an emergency was declared and still lasts",
        ReasonCode::ReadsExhausted => "all reads that the grant allows have been made",
        ReasonCode::PurposeNotCovered => "the grant is for other purposes or another project",
        ReasonCode::PeriodNotCovered => "the grant is for data of another time",
        ReasonCode::LabelNotCovered => {
            "the record bears other labels, or is more confidential, than the grant names"
        }
        ReasonCode::TypeNotCovered => "the grant is for other records",
        ReasonCode::GrantExpired => "the grant has run out",
        ReasonCode::GrantNotYetValid => "the grant does not hold yet",
        ReasonCode::GrantRevoked => "the grant was revoked",
        ReasonCode::GranteeMismatch => "the grant is for someone else",
        ReasonCode::GrantOfOtherPatient => "the rule is of another patient or organisation",
        ReasonCode::NoGrant => "no grant of the patient permits it",
        ReasonCode::GrantDenies => "the patient forbids it",
        ReasonCode::PolicyDenies => "the organisation that keeps the record forbids it",
        ReasonCode::EmergencyOver => "the declared emergency is over",
        ReasonCode::EmergencyNotDeclared => "no emergency was declared for this patient",
        ReasonCode::GuardianNotAllowed => "the guardian may not read, or no longer",
        ReasonCode::PurposeNotForPatients => "patients read their own records for PATRQT",
        ReasonCode::RoleNotAllowed => "only patients, guardians and providers read",
        ReasonCode::ReaderNotActive => "the reader's registration is suspended or revoked",
        ReasonCode::RequestStale => "the request was signed too long before or after",
        ReasonCode::RequestReplayed => "the request had been used before",
        ReasonCode::CertificateNotValid => "the reader's certificate was not valid then",
        ReasonCode::TimeRefused => "the time lies before the one on the channel's clocks",
        _ => "of a rule that this program does not know",
    }
}

/// What can be done about a denial.
pub(crate) fn advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::ReadsExhausted
        | ReasonCode::PurposeNotCovered
        | ReasonCode::PeriodNotCovered
        | ReasonCode::LabelNotCovered
        | ReasonCode::TypeNotCovered
        | ReasonCode::GrantExpired
        | ReasonCode::GrantRevoked
        | ReasonCode::GranteeMismatch
        | ReasonCode::NoGrant => {
            "ask the patient: salus access ask --patient PSEUDONYM --purpose …"
        }
        ReasonCode::GrantNotYetValid => "wait until it holds, or ask the patient",
        ReasonCode::GrantDenies => {
            "talk to the patient, who alone can revoke the denial; an emergency can be declared"
        }
        ReasonCode::PolicyDenies => "ask the administrators of the organisation that keeps it",
        ReasonCode::EmergencyOver | ReasonCode::EmergencyNotDeclared => {
            "declare an emergency: salus emergencies declare --patient PSEUDONYM …"
        }
        ReasonCode::GuardianNotAllowed => {
            "ask the patient, or the administrators of the patient's organisation"
        }
        ReasonCode::PurposeNotForPatients => "use --purpose PATRQT",
        ReasonCode::RoleNotAllowed
        | ReasonCode::ReaderNotActive
        | ReasonCode::CertificateNotValid => "ask your organisation's administrator",
        ReasonCode::RequestStale | ReasonCode::TimeRefused => {
            "set this machine's clock and ask again"
        }
        ReasonCode::RequestReplayed => "ask again, with a new request",
        _ => "nothing needs to be done",
    }
}

/// What a notice tells.
pub(crate) fn happening(happening: &Happening) -> String {
    match happening {
        Happening::GrantRevoked { grant_id } => format!("grant {grant_id} was revoked"),
        Happening::GrantExpired { grant_id } => format!("grant {grant_id} has run out"),
        Happening::GrantGiven { grant_id } => format!("grant {grant_id} was given"),
        Happening::AccessRequested { request_id } => {
            format!("access is asked for: request {request_id}")
        }
        Happening::AccessRefused { request_id } => {
            format!("request {request_id} for access was refused")
        }
        Happening::DelegationChanged { delegation_id } => {
            format!("a guardian was named or dismissed: delegation {delegation_id}")
        }
        Happening::EmergencyDeclared { emergency_id } => {
            format!("the glass was broken: emergency {emergency_id}")
        }
        Happening::EmergencyRead {
            read_id,
            emergency_id,
        } => format!("a record was read in emergency {emergency_id}: read {read_id}"),
        Happening::EmergencyReviewed { emergency_id } => {
            format!("the review of emergency {emergency_id} has ended")
        }
        Happening::RecordErased { record_id } => format!("record {record_id} was erased"),
    }
}

/// To whom a notice goes.
pub(crate) fn recipient(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Participant(_) => "you".to_owned(),
        Recipient::PrivacyOfficers(msp_id) => format!("privacy officers of {msp_id}"),
        Recipient::Providers(msp_id) => format!("providers of {msp_id}"),
        Recipient::Anyone => "all providers".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_and_every_denial_advice() {
        let unknown = "of a rule that this program does not know";
        for code in ReasonCode::ALL {
            assert_ne!(reason(*code), unknown, "{code}");
            let nothing = advice(*code) == "nothing needs to be done";
            let permitted = code.decision() == Decision::Permit;
            let foreign = *code == ReasonCode::GrantOfOtherPatient;
            assert_eq!(nothing, permitted || foreign, "{code}");
        }
    }
}
