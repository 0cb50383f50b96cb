//! Recorded decisions on reads as FHIR R4 AuditEvents.
//!
//! A permitted read conforms to the profile PatientRead of IHE's Basic Audit Log Patterns (BALP). A
//! denied one has the same form but claims no profile, since BALP's are for successes: its outcome
//! is a failure and says why. The README of this crate has the mapping, member by member.
//!
//! What the ledger does not know is not made up: there is no address of the reader's computer, so
//! the client's network access point is the certificate that it held, as a URI of RFC 6920.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract_interface::access::RuleRef;
use contract_interface::{Decision, Purpose, ReadEntry, ReasonCode};
use fabric_msp::jws::Jws;
use serde_json::{Value, json};

use crate::api::sentences::{self, Addressee, Around};

/// Media type of FHIR resources in JSON.
pub(crate) const MEDIA_TYPE: &str = "application/fhir+json";
/// The profile of a permitted read.
const PATIENT_READ: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead";

const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const RESOURCE_TYPE: &str = "http://hl7.org/fhir/resource-types";
/// `AuditEvent.agent.network.type`: the address is a URI.
const NETWORK_URI: &str = "5";

/// Names under which the identifiers of the consortium stand in FHIR.
mod systems {
    pub(super) const PARTICIPANT: &str = "urn:salus:participant";
    pub(super) const PATIENT: &str = "urn:salus:patient";
    pub(super) const ORGANIZATION: &str = "urn:salus:msp";
    pub(super) const RECORD: &str = "urn:salus:record";
    pub(super) const GRANT: &str = "urn:salus:grant";
    pub(super) const POLICY: &str = "urn:salus:policy";
    pub(super) const DELEGATION: &str = "urn:salus:delegation";
    pub(super) const EMERGENCY: &str = "urn:salus:emergency";
}

/// The AuditEvent of one decision.
pub(crate) fn of(read: &ReadEntry) -> Value {
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": read.read_id.to_string(),
        "type": coding(EVENT_TYPE, "rest", "Restful Operation"),
        "subtype": subtypes(read),
        "action": "R",
        "recorded": read.tx_time.to_string(),
        "outcome": outcome(read.reason),
        "outcomeDesc": outcome_text(read),
        "purposeOfEvent": [{"coding": [purpose(read.purpose)]}],
        "agent": agents(read),
        "source": {
            "site": read.oracle_msp.as_str(),
            "observer": oracle(read),
            "type": [coding(SOURCE_TYPE, "4", "Application Server")],
        },
        "entity": entities(read),
    });
    if read.decision == Decision::Permit {
        event["meta"] = json!({"profile": [PATIENT_READ]});
    }
    event
}

/// Several AuditEvents as the answer to a search. `base` is where this API is reached, `this` and
/// `next` the search's own path and query and those of the next page.
pub(crate) fn bundle(reads: &[ReadEntry], base: &str, this: &str, next: Option<&str>) -> Value {
    let link =
        |relation, target: &str| json!({"relation": relation, "url": format!("{base}{target}")});
    let mut links = vec![link("self", this)];
    links.extend(next.map(|next| link("next", next)));
    let entries = reads.iter().map(|read| {
        json!({
            "fullUrl": format!("{base}/v1/reads/{}", read.read_id),
            "resource": of(read),
            "search": {"mode": "match"},
        })
    });
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "link": links});
    // FHIR has no empty arrays.
    if !reads.is_empty() {
        bundle["entry"] = entries.collect();
    }
    bundle
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [coding(system, code, display)]})
}

fn identified(kind: &str, system: &str, value: &str) -> Value {
    json!({"type": kind, "identifier": {"system": system, "value": value}})
}

/// A read; and a disclosure, if data went to another organisation than the one that keeps it.
fn subtypes(read: &ReadEntry) -> Vec<Value> {
    let mut subtypes = vec![coding(INTERACTION, "read", "read")];
    if read.decision == Decision::Permit && read.reader_msp != read.registrar {
        subtypes.push(coding(
            LIFECYCLE,
            "disclose",
            "Disclose Record Lifecycle Event",
        ));
    }
    subtypes
}

/// Success; a failure that happens in daily work; or one that someone should look into.
fn outcome(reason: ReasonCode) -> &'static str {
    match (reason.decision(), reason) {
        (Decision::Permit, _) => "0",
        (
            Decision::Deny,
            ReasonCode::ReaderNotActive
            | ReasonCode::RequestReplayed
            | ReasonCode::CertificateNotValid
            | ReasonCode::TimeRefused,
        ) => "8",
        (Decision::Deny, _) => "4",
    }
}

fn outcome_text(read: &ReadEntry) -> String {
    let around = Around {
        registrar: Some(&read.registrar),
        patient_msp: Some(&read.patient_msp),
        rule: read.rule.as_ref(),
    };
    let sentence = sentences::of_reason(read.reason, around, Addressee::Other);
    format!("{}: {sentence}", read.reason)
}

fn purpose(purpose: Purpose) -> Value {
    let display = match purpose {
        Purpose::Treat => "treatment",
        Purpose::Hpaymt => "healthcare payment",
        Purpose::Hoperat => "healthcare operations",
        Purpose::Hresch => "healthcare research",
        Purpose::Patrqt => "patient requested",
        Purpose::Btg => "break the glass",
    };
    coding(ACT_REASON, purpose.as_str(), display)
}

fn oracle(read: &ReadEntry) -> Value {
    let mut oracle = identified("Device", systems::ORGANIZATION, read.oracle_msp.as_str());
    oracle["display"] = format!("Oracle of {}", read.oracle_msp).into();
    oracle
}

fn agents(read: &ReadEntry) -> Vec<Value> {
    let mut client = json!({
        "type": concept(DICOM, "110152", "Destination Role ID"),
        "who": {"display": format!("Client of participant {}", read.reader)},
        "requestor": false,
    });
    client["network"] = match certificate_uri(&read.request) {
        Some(uri) => json!({"address": uri, "type": NETWORK_URI}),
        None => json!({"type": NETWORK_URI}),
    };
    let mut user = json!({
        "type": concept(PARTICIPATION, "IRCP", "information recipient"),
        "who": person(read),
        "requestor": true,
        "purposeOfUse": [{"coding": [purpose(read.purpose)]}],
    });
    if let Some((system, id, _)) = read.rule.as_ref().map(rule) {
        user["policy"] = json!([format!("{system}:{id}")]);
    }
    vec![
        client,
        json!({
            "type": concept(DICOM, "110153", "Source Role ID"),
            "who": oracle(read),
            "requestor": false,
            "network": {
                "address": format!("{}:{}", systems::ORGANIZATION, read.oracle_msp),
                "type": NETWORK_URI,
            },
        }),
        user,
        json!({
            "type": concept(ROLE_CLASS, "PROV", "healthcare provider"),
            "who": identified("Organization", systems::ORGANIZATION, read.reader_msp.as_str()),
            "requestor": false,
        }),
    ]
}

/// The reader, and what kind of person it is as far as the decision tells: only providers read by
/// rules and in emergencies.
fn person(read: &ReadEntry) -> Value {
    let id = read.reader.to_string();
    if read.reader.as_bytes() == read.patient.as_bytes() {
        return identified("Patient", systems::PATIENT, &id);
    }
    match read.reason {
        ReasonCode::Guardian | ReasonCode::GuardianNotAllowed => {
            identified("RelatedPerson", systems::PARTICIPANT, &id)
        }
        ReasonCode::Granted | ReasonCode::PolicyPermits | ReasonCode::Emergency => {
            identified("Practitioner", systems::PARTICIPANT, &id)
        }
        _ => json!({"identifier": {"system": systems::PARTICIPANT, "value": id}}),
    }
}

/// The reader's certificate, which the signed request names, as RFC 6920 writes a hash.
fn certificate_uri(request: &str) -> Option<String> {
    let jws = Jws::parse(request).ok()?;
    let hash = URL_SAFE_NO_PAD.encode(jws.header_thumbprint);
    Some(format!("ni:///sha-256;{hash}"))
}

fn entities(read: &ReadEntry) -> Vec<Value> {
    let record = read.record_id.to_string();
    let mut data = json!({
        "what": identified("DocumentReference", systems::RECORD, &record),
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
        "detail": [
            {"type": "reason", "valueString": read.reason.as_str()},
            {"type": "registrar", "valueString": read.registrar.as_str()},
            {"type": "requested_at", "valueString": read.requested_at.to_string()},
            {"type": "signed_request", "valueString": read.request},
        ],
    });
    if let (Some(project), Some(details)) = (&read.project, data["detail"].as_array_mut()) {
        details.push(json!({"type": "project", "valueString": project.as_str()}));
    }
    let patient = json!({
        "what": identified("Patient", systems::PATIENT, &read.patient.to_string()),
        "type": coding(ENTITY_TYPE, "1", "Person"),
        "role": coding(OBJECT_ROLE, "1", "Patient"),
    });
    let mut entities = vec![patient, data];
    entities.extend(read.rule.as_ref().map(rule_entity));
    entities
}

/// The rule that decided or came nearest. A grant is a Consent; the others have no resource type
/// of FHIR's, and BALP has the type System Object for the data alone.
fn rule_entity(reference: &RuleRef) -> Value {
    let (system, id, version) = rule(reference);
    let kind = match reference {
        RuleRef::Grant { .. } => coding(RESOURCE_TYPE, "Consent", "Consent"),
        _ => coding(ENTITY_TYPE, "4", "Other"),
    };
    let mut what = json!({"identifier": {"system": system, "value": id}});
    if matches!(reference, RuleRef::Grant { .. }) {
        what["type"] = "Consent".into();
    }
    let mut entity = json!({
        "what": what,
        "type": kind,
        "role": coding(OBJECT_ROLE, "13", "Security Resource"),
    });
    if let Some(version) = version {
        entity["detail"] = json!([{"type": "version", "valueString": version.to_string()}]);
    }
    entity
}

fn rule(reference: &RuleRef) -> (&'static str, String, Option<u32>) {
    match reference {
        RuleRef::Grant { grant_id, version } => {
            (systems::GRANT, grant_id.to_string(), Some(*version))
        }
        RuleRef::Policy {
            policy_id, version, ..
        } => (systems::POLICY, policy_id.to_string(), Some(*version)),
        RuleRef::Delegation {
            delegation_id,
            version,
        } => (
            systems::DELEGATION,
            delegation_id.to_string(),
            Some(*version),
        ),
        RuleRef::Emergency { emergency_id } => (systems::EMERGENCY, emergency_id.to_string(), None),
    }
}
