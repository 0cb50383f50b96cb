//! AuditEvents against the constraints of BALP's profile PatientRead, as IHE's FSH states them, and
//! against what FHIR R4 requires of every AuditEvent.

use contract_interface::UtcTime;
use serde_json::Value;

use super::*;

const ID: &str = "00112233445566778899aabbccddeeff";
const PATIENT: &str = "ffeeddccbbaa99887766554433221100";
const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn entry(reason: ReasonCode, rule: Option<RuleRef>) -> ReadEntry {
    let time: UtcTime = "2026-01-02T03:04:05Z".parse().expect("a time");
    let header =
        r#"{"alg":"ES256","typ":"JOSE","x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let request = format!(
        "{}.e30.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode([1; 64])
    );
    ReadEntry {
        read_id: HASH.parse().expect("an ID"),
        record_id: ID.parse().expect("an ID"),
        patient: PATIENT.parse().expect("an ID"),
        patient_msp: "Org3MSP".parse().expect("a name"),
        registrar: "Org1MSP".parse().expect("a name"),
        reader: ID.parse().expect("an ID"),
        reader_msp: "Org2MSP".parse().expect("a name"),
        oracle_msp: "Org1MSP".parse().expect("a name"),
        purpose: Purpose::Treat,
        decision: reason.decision(),
        reason,
        project: Some("study-1".parse().expect("a code")),
        rule,
        requested_at: time,
        tx_time: time,
        request,
        salt: format!("01{}", "00".repeat(31)).parse().expect("a salt"),
    }
}

fn every_rule() -> [Option<RuleRef>; 5] {
    [
        None,
        Some(RuleRef::Grant {
            grant_id: ID.parse().expect("an ID"),
            version: 2,
        }),
        Some(RuleRef::Policy {
            policy_id: ID.parse().expect("an ID"),
            msp_id: "Org1MSP".parse().expect("a name"),
            version: 1,
        }),
        Some(RuleRef::Delegation {
            delegation_id: ID.parse().expect("an ID"),
            version: 1,
        }),
        Some(RuleRef::Emergency {
            emergency_id: ID.parse().expect("an ID"),
        }),
    ]
}

/// `system|code` of a Coding.
fn code(coding: &Value) -> String {
    format!(
        "{}|{}",
        coding["system"].as_str().expect("a system"),
        coding["code"].as_str().expect("a code")
    )
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// The items of a slice, whose discriminator is the value of `type`.
fn slice<'a>(items: &'a [Value], of_type: &str) -> Vec<&'a Value> {
    let kind = |item: &Value| {
        let kind = &item["type"];
        code(kind.get("coding").map_or(kind, |codings| &codings[0]))
    };
    items.iter().filter(|item| kind(item) == of_type).collect()
}

fn one<'a>(items: &'a [Value], of_type: &str) -> &'a Value {
    let found = slice(items, of_type);
    assert_eq!(found.len(), 1, "exactly one {of_type}");
    found[0]
}

/// No member is null, empty text, an empty list or an empty object: FHIR has none of these.
fn nothing_empty(value: &Value, path: &str) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::String(text) => assert!(!text.is_empty(), "{path} is empty"),
        Value::Array(items) => {
            assert!(!items.is_empty(), "{path} is empty");
            for (index, item) in items.iter().enumerate() {
                nothing_empty(item, &format!("{path}[{index}]"));
            }
        }
        Value::Object(members) => {
            assert!(!members.is_empty(), "{path} is empty");
            for (name, member) in members {
                nothing_empty(member, &format!("{path}.{name}"));
            }
        }
        Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What FHIR R4 requires of an AuditEvent.
fn check_resource(event: &Value) {
    nothing_empty(event, "AuditEvent");
    assert_eq!(event["resourceType"], "AuditEvent");
    let id = event["id"].as_str().expect("an ID");
    assert!(id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert!(event["type"].is_object() && event["recorded"].is_string());
    assert!(event["source"]["observer"].is_object());
    for agent in list(event, "agent") {
        assert!(agent["requestor"].is_boolean());
        if let Some(kind) = agent["network"].get("type") {
            assert!(["1", "2", "3", "4", "5"].contains(&kind.as_str().expect("a code")));
        }
    }
    for entity in list(event, "entity") {
        // sev-1: a name or a query, not both.
        assert!(entity.get("name").is_none() || entity.get("query").is_none());
        for detail in list(entity, "detail") {
            assert!(detail["type"].is_string() && detail["valueString"].is_string());
        }
    }
}

/// Profiles Read and PatientRead, but for the outcome.
fn check_pattern(event: &Value) {
    check_resource(event);
    assert_eq!(
        code(&event["type"]),
        "http://terminology.hl7.org/CodeSystem/audit-event-type#rest".replace('#', "|")
    );
    let reads =
        ["read", "vread"].map(|read| format!("http://hl7.org/fhir/restful-interaction|{read}"));
    let any_read = list(event, "subtype")
        .iter()
        .filter(|s| reads.contains(&code(s)));
    assert_eq!(any_read.count(), 1);
    assert_eq!(event["action"], "R");

    let agents = list(event, "agent");
    let dicom = "http://dicom.nema.org/resources/ontology/DCM";
    for role in ["110152", "110153"] {
        let agent = one(agents, &format!("{dicom}|{role}"));
        assert!(agent["who"].is_object() && agent["network"].is_object());
        assert!(agent.get("media").is_none());
    }
    let user = one(
        agents,
        "http://terminology.hl7.org/CodeSystem/v3-ParticipationType|IRCP",
    );
    assert!(user["who"].is_object() && user["requestor"] == true);
    assert!(user.get("media").is_none() && user.get("network").is_none());

    let entities = list(event, "entity");
    assert!(entities.len() >= 2);
    let types = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
    let roles = "http://terminology.hl7.org/CodeSystem/object-role";
    let data = one(entities, &format!("{types}|2"));
    assert!(data["what"].is_object());
    let allowed = ["4", "3", "20"].map(|role| format!("{roles}|{role}"));
    assert!(allowed.contains(&code(&data["role"])));
    let patient = one(entities, &format!("{types}|1"));
    assert_eq!(code(&patient["role"]), format!("{roles}|1"));
    assert_eq!(patient["what"]["type"], "Patient");
    let transaction =
        "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType|XrequestId";
    assert!(slice(entities, transaction).len() <= 1);
}

#[test]
fn permitted_reads_conform_to_patient_read() {
    for reason in ReasonCode::ALL {
        if reason.decision() != Decision::Permit {
            continue;
        }
        for rule in every_rule() {
            let event = of(&entry(*reason, rule));
            check_pattern(&event);
            assert_eq!(event["meta"]["profile"][0], PATIENT_READ);
            assert_eq!(event["outcome"], "0");
            assert_eq!(
                code(&event["subtype"][1]),
                "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle|disclose"
            );
        }
    }
}

#[test]
fn denied_reads_have_the_pattern_and_claim_no_profile() {
    for reason in ReasonCode::ALL {
        if reason.decision() != Decision::Deny {
            continue;
        }
        for rule in every_rule() {
            let event = of(&entry(*reason, rule));
            check_pattern(&event);
            assert!(event.get("meta").is_none(), "{reason}");
            let outcome = event["outcome"].as_str().expect("an outcome");
            assert!(["4", "8"].contains(&outcome), "{reason}: {outcome}");
            let text = event["outcomeDesc"].as_str().expect("a text");
            assert!(text.starts_with(&format!("{reason}: ")), "{text}");
            assert_eq!(list(&event, "subtype").len(), 1, "nothing was disclosed");
        }
    }
    assert_eq!(outcome(ReasonCode::NoGrant), "4");
    assert_eq!(outcome(ReasonCode::RequestReplayed), "8");
}

#[test]
fn an_event_says_who_read_what_of_whom_and_by_which_grant() {
    let [_, grant, ..] = every_rule();
    let event = of(&entry(ReasonCode::Granted, grant));
    assert_eq!(event["recorded"], "2026-01-02T03:04:05Z");
    assert_eq!(
        code(&event["purposeOfEvent"][0]["coding"][0]),
        "http://terminology.hl7.org/CodeSystem/v3-ActReason|TREAT"
    );
    let agents = list(&event, "agent");
    assert_eq!(
        agents[0]["network"]["address"],
        format!("ni:///sha-256;{}", "A".repeat(43))
    );
    assert_eq!(agents[1]["who"]["identifier"]["value"], "Org1MSP");
    assert_eq!(agents[1]["who"], event["source"]["observer"]);
    assert_eq!(agents[2]["who"]["identifier"]["value"], ID);
    assert_eq!(agents[2]["policy"][0], format!("urn:salus:grant:{ID}"));
    assert_eq!(agents[3]["who"]["identifier"]["value"], "Org2MSP");
    let entities = list(&event, "entity");
    assert_eq!(entities[0]["what"]["identifier"]["value"], PATIENT);
    assert_eq!(entities[1]["what"]["identifier"]["value"], ID);
    let consent = one(entities, "http://hl7.org/fhir/resource-types|Consent");
    assert_eq!(consent["what"]["identifier"]["value"], ID);
    assert_eq!(consent["detail"][0]["valueString"], "2");
}

#[test]
fn a_patients_own_read_is_by_the_patient_and_no_disclosure() {
    let mut own = entry(ReasonCode::OwnRecord, None);
    own.reader = own.patient.into();
    own.reader_msp = own.registrar.clone();
    let event = of(&own);
    check_pattern(&event);
    assert_eq!(list(&event, "agent")[2]["who"]["type"], "Patient");
    assert_eq!(list(&event, "subtype").len(), 1);
}

#[test]
fn a_reader_is_called_what_the_decision_shows() {
    for (reason, kind) in [
        (ReasonCode::Granted, Some("Practitioner")),
        (ReasonCode::Guardian, Some("RelatedPerson")),
        (ReasonCode::NoGrant, None),
    ] {
        let event = of(&entry(reason, None));
        let who = &list(&event, "agent")[2]["who"];
        assert_eq!(who["type"].as_str(), kind, "{reason}");
        assert_eq!(who["identifier"]["value"], ID);
    }
}

#[test]
fn a_page_is_a_searchset_with_a_way_on() {
    let reads = [
        entry(ReasonCode::Granted, None),
        entry(ReasonCode::NoGrant, None),
    ];
    let page = bundle(
        &reads,
        "https://oracle.example",
        "/v1/reads?a=1",
        Some("/v1/reads?b=2"),
    );
    nothing_empty(&page, "Bundle");
    assert_eq!(
        (&page["resourceType"], &page["type"]),
        (&"Bundle".into(), &"searchset".into())
    );
    assert_eq!(page["link"][0]["relation"], "self");
    assert_eq!(page["link"][1]["relation"], "next");
    assert_eq!(
        page["link"][1]["url"],
        "https://oracle.example/v1/reads?b=2"
    );
    assert_eq!(list(&page, "entry").len(), 2);
    for entry in list(&page, "entry") {
        check_pattern(&entry["resource"]);
        assert_eq!(entry["search"]["mode"], "match");
        assert_eq!(
            entry["fullUrl"],
            format!("https://oracle.example/v1/reads/{HASH}")
        );
    }
    nothing_empty(
        &bundle(&[], "https://oracle.example", "/v1/reads", None),
        "Bundle",
    );
}

/// One event as it is sent; `SALUS_BLESS=1` writes it anew.
#[test]
fn an_event_is_the_golden_one() {
    let [_, grant, ..] = every_rule();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/api/audit_event/granted_read.json");
    let event = of(&entry(ReasonCode::Granted, grant));
    let mut text = serde_json::to_string_pretty(&event).expect("JSON");
    text.push('\n');
    if std::env::var_os("SALUS_BLESS").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file");
    assert_eq!(text, golden);
}
