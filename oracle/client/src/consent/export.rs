//! From a grant to a Consent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contract_interface::{
    Confidentiality, Decision, GrantEntry, GrantPeriod, GrantStatus, Grantee, Purpose, Rule,
    UtcTime,
    access::{Author, SecurityLabel},
};
use serde_json::{Map, Value, json};

use super::{
    ConsentError, codes, dates,
    elements::Obstacles,
    references::{References, Target},
};

/// Every purpose but emergencies: what a denial that names none is for.
const ALL_BUT_EMERGENCIES: [Purpose; 5] = [
    Purpose::Treat,
    Purpose::Hpaymt,
    Purpose::Hoperat,
    Purpose::Hresch,
    Purpose::Patrqt,
];

/// Writes a grant as a FHIR R4 Consent (IHE PCF), whose source is the request that was signed.
///
/// # Errors
/// [`ConsentError::Refused`] with everything that a Consent cannot say: a number of reads, a
/// project for other purposes than research, conditions that must hold together.
pub fn export(entry: &GrantEntry, references: &References) -> Result<Value, ConsentError> {
    let mut obstacles = Obstacles::default();
    if entry.grant.max_reads.is_some() {
        obstacles.add("max_reads", "a Consent does not count reads");
    }
    let provision = provision(entry, references, &mut obstacles);
    let obstacles = obstacles.into_vec();
    if !obstacles.is_empty() {
        return Err(ConsentError::Refused { obstacles });
    }
    let patient = Target::Patient(entry.patient);
    let performer = if entry.given_by == entry.patient.into() {
        patient.clone()
    } else {
        Target::Participant(entry.given_by)
    };
    let signed = entry.requests.first().map(String::as_str).unwrap_or("");
    Ok(json!({
        "resourceType": "Consent",
        "identifier": [{ "system": "urn:salus:grant", "value": entry.grant.grant_id }],
        "status": match entry.status {
            GrantStatus::Active => "active",
            GrantStatus::Revoked => "inactive",
        },
        "scope": { "coding": [{ "system": codes::CONSENT_SCOPE, "code": codes::PRIVACY }] },
        "category": [{ "coding": [{ "system": codes::LOINC, "code": codes::CONSENT_DOCUMENT }] }],
        "patient": references.reference_to(&patient),
        "dateTime": entry.given_at,
        "performer": [references.reference_to(&performer)],
        "organization": [
            references.reference_to(&Target::Organization(entry.patient_msp.clone())),
        ],
        "sourceAttachment": {
            "contentType": "application/jose",
            "data": STANDARD.encode(signed),
        },
        "policy": [{ "uri": codes::POLICY }],
        "provision": provision,
    }))
}

fn provision(entry: &GrantEntry, references: &References, obstacles: &mut Obstacles) -> Value {
    let grant = &entry.grant;
    let rule = &grant.rule;
    let mut provision = Map::new();
    let decision = match rule.decision {
        Decision::Permit => "permit",
        Decision::Deny => "deny",
    };
    provision.insert("type".to_owned(), decision.into());
    let until = (grant.valid_until != UtcTime::MAX).then_some(grant.valid_until);
    provision.insert("period".to_owned(), period(Some(grant.valid_from), until));
    let mut list = |name: &str, items: Vec<Value>| {
        if !items.is_empty() {
            provision.insert(name.to_owned(), items.into());
        }
    };
    list("actor", actor(&rule.grantee, references));
    list("purpose", purposes(rule, obstacles));
    list("securityLabel", labels(rule, obstacles));
    list("data", data(rule, references, obstacles));
    list("code", rule.types.iter().map(record_type).collect());
    if let Some(GrantPeriod { from, until }) = rule.data_period {
        provision.insert("dataPeriod".to_owned(), period(from, until));
    }
    Value::Object(provision)
}

fn period(start: Option<UtcTime>, until: Option<UtcTime>) -> Value {
    let mut period = Map::new();
    if let Some(start) = start {
        period.insert("start".to_owned(), json!(start));
    }
    if let Some(until) = until {
        period.insert("end".to_owned(), json!(dates::before(until)));
    }
    Value::Object(period)
}

fn actor(grantee: &Grantee, references: &References) -> Vec<Value> {
    let target = match grantee {
        Grantee::Anyone => return vec![],
        Grantee::Participant(id) => Target::Participant(*id),
        Grantee::Organization(msp_id) => Target::Organization(msp_id.clone()),
        Grantee::Role { msp_id, role } => Target::Role {
            msp_id: msp_id.clone(),
            role: *role,
        },
    };
    vec![json!({
        "role": { "coding": [{ "system": codes::PARTICIPATION, "code": codes::RECIPIENT }] },
        "reference": references.reference_to(&target),
    })]
}

fn purposes(rule: &Rule, obstacles: &mut Obstacles) -> Vec<Value> {
    if let Some(project) = &rule.project {
        if rule.purposes != [Purpose::Hresch] {
            obstacles.add(
                "project",
                "a Consent names projects of research (HRESCH) only",
            );
        }
        return vec![json!({ "system": codes::PROJECT, "code": project })];
    }
    let purposes = if rule.purposes.is_empty() {
        &ALL_BUT_EMERGENCIES
    } else {
        &rule.purposes[..]
    };
    purposes
        .iter()
        .map(|purpose| json!({ "system": codes::ACT_REASON, "code": purpose }))
        .collect()
}

fn labels(rule: &Rule, obstacles: &mut Obstacles) -> Vec<Value> {
    let up_to = |ceiling: Confidentiality| {
        [Confidentiality::N, Confidentiality::R, Confidentiality::V]
            .into_iter()
            .filter(move |code| *code <= ceiling)
            .map(SecurityLabel::Confidentiality)
    };
    let labels: Vec<SecurityLabel> = match (&rule.labels[..], rule.confidentiality) {
        (labels, None) => labels.to_vec(),
        ([], Some(ceiling)) => up_to(ceiling).collect(),
        (labels, Some(ceiling)) => {
            let both: Vec<_> = up_to(ceiling).filter(|l| labels.contains(l)).collect();
            let by_sensitivity = labels
                .iter()
                .any(|label| matches!(label, SecurityLabel::Sensitivity(_)));
            if by_sensitivity || both.is_empty() {
                obstacles.add(
                    "confidentiality",
                    "the labels of a Consent are alternatives: none can limit another",
                );
            }
            both
        }
    };
    labels
        .iter()
        .map(|label| match label {
            SecurityLabel::Confidentiality(code) => {
                json!({ "system": codes::CONFIDENTIALITY, "code": code })
            }
            SecurityLabel::Sensitivity(code) => json!({ "system": codes::ACT_CODE, "code": code }),
        })
        .collect()
}

fn data(rule: &Rule, references: &References, obstacles: &mut Obstacles) -> Vec<Value> {
    let kinds = [
        !rule.records.is_empty(),
        !rule.contexts.is_empty(),
        !rule.authors.is_empty(),
    ];
    if kinds.into_iter().filter(|named| *named).count() > 1 {
        obstacles.add(
            "data",
            "the data of a Consent are alternatives: records, contexts and authors cannot be \
             named together",
        );
    }
    let item = |meaning: &str, target: Target| json!({ "meaning": meaning, "reference": references.reference_to(&target) });
    let records = rule
        .records
        .iter()
        .map(|id| item("instance", Target::Record(*id)));
    let contexts = rule
        .contexts
        .iter()
        .map(|id| item("related", Target::Context(id.clone())));
    let authors = rule.authors.iter().map(|author| {
        let target = match author {
            Author::Participant(id) => Target::Participant(*id),
            Author::Device(id) => Target::Device(id.clone()),
            Author::Organization(msp_id) => Target::Organization(msp_id.clone()),
        };
        item("authoredby", target)
    });
    records.chain(contexts).chain(authors).collect()
}

fn record_type(record_type: &contract_interface::RecordType) -> Value {
    let is_loinc = record_type
        .as_str()
        .split_once('-')
        .is_some_and(|(number, check)| {
            !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
                && check.len() == 1
                && check.bytes().all(|b| b.is_ascii_digit())
        });
    let system = if is_loinc {
        codes::LOINC
    } else {
        codes::RECORD_TYPE
    };
    json!({ "coding": [{ "system": system, "code": record_type }] })
}
