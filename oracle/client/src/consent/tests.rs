//! Every example of IHE PCF, from the Consent to each decision; what is refused; the way back.

mod pcf;

use contract_interface::{
    Confidentiality, GrantEntry, GrantId, Grantee, Purpose, Rule, UtcTime,
    access::{Author, SecurityLabel},
};
use serde_json::{Value, json};

use super::{ConsentError, Imported, References, Signer, codes, export, import};

const PATIENT: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

fn references() -> References {
    json!({
        "Patient/p": format!("patient:{PATIENT}"),
        "Practitioner/a": format!("participant:{}", "0b".repeat(16)),
        "Practitioner/b": format!("participant:{}", "0c".repeat(16)),
        "Organization/o": "organization:Org2MSP",
        "PractitionerRole/r": "role:Org2MSP/provider",
        "Device/d": "device:hr-1",
        "Group/g": "emergency",
        "Observation/1": format!("record:{}", "01".repeat(16)),
        "Encounter/e": "context:enc-7",
        "CareTeam/t": [
            format!("participant:{}", "0b".repeat(16)),
            format!("participant:{}", "0c".repeat(16)),
        ],
    })
    .to_string()
    .parse()
    .unwrap()
}

fn purpose(code: &str) -> Value {
    json!({ "system": codes::ACT_REASON, "code": code })
}

fn label(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

fn actor(reference: &str) -> Value {
    json!({ "reference": { "reference": reference } })
}

fn data(meaning: &str, reference: &str) -> Value {
    json!({ "meaning": meaning, "reference": { "reference": reference } })
}

fn consent(provision: Value) -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [{ "system": codes::CONSENT_SCOPE, "code": codes::PRIVACY }] },
        "patient": { "reference": "Patient/p" },
        "dateTime": "2026-01-01",
        "performer": [{ "reference": "Patient/p" }],
        "provision": provision,
    })
}

fn read(consent: &Value) -> Result<Imported, ConsentError> {
    import(consent.to_string().as_bytes(), &references())
}

fn rules(provision: Value) -> Vec<Rule> {
    let imported = read(&consent(provision)).unwrap();
    imported.terms.into_iter().map(|terms| terms.rule).collect()
}

fn obstacles(consent: &Value) -> Vec<String> {
    match read(consent) {
        Err(ConsentError::Refused { obstacles }) => {
            obstacles.into_iter().map(|o| o.element).collect()
        }
        other => panic!("{consent} is not refused but {other:?}"),
    }
}

#[test]
fn alternatives_become_grants_of_their_own() {
    let provision = json!({
        "type": "permit",
        "actor": [actor("Organization/o"), actor("CareTeam/t"), actor("PractitionerRole/r")],
        "purpose": [purpose("TREAT"), purpose("CLINTRCH"), label("urn:x", "study-1")],
        "data": [
            data("instance", "Observation/1"),
            data("related", "Encounter/e"),
            data("related", "EpisodeOfCare/ep-9"),
            data("authoredby", "Device/d"),
            data("authoredby", "Patient/p"),
        ],
        "code": [{ "coding": [{ "system": codes::LOINC, "code": "8867-4" }] }],
    });
    let rules = rules(provision);
    assert_eq!(rules.len(), 4 * 3 * 3, "grantees, purposes, kinds of data");
    assert!(rules.iter().all(|rule| rule.types.len() == 1));
    let projects: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule.project.as_ref())
        .map(ToString::to_string)
        .collect();
    assert!(projects.contains(&"CLINTRCH".to_owned()) && projects.contains(&"study-1".to_owned()));
    for rule in &rules {
        let research = rule.purposes == [Purpose::Hresch];
        assert_eq!(rule.project.is_some(), research);
        let kinds = [
            rule.records.len() == 1,
            rule.contexts.len() == 2,
            rule.authors.len() == 2,
        ];
        assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{rule:?}");
    }
}

#[test]
fn more_records_than_a_grant_names_become_more_grants() {
    let items: Vec<Value> = (0..150_u8)
        .map(|number| {
            json!({
                "meaning": "instance",
                "reference": {
                    "identifier": {
                        "system": "urn:salus:record",
                        "value": hex(number),
                    },
                },
            })
        })
        .collect();
    let provision = json!({ "type": "deny", "data": items });
    let sizes: Vec<usize> = rules(provision)
        .iter()
        .map(|rule| rule.records.len())
        .collect();
    assert_eq!(sizes, [64, 64, 22]);
}

fn hex(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

#[test]
fn what_is_not_said_has_its_meaning() {
    let permit = &rules(json!({ "type": "permit" }))[..];
    let [permit] = permit else {
        panic!("{permit:?}")
    };
    assert_eq!(permit.grantee, Grantee::Anyone);
    assert_eq!(permit.purposes.len(), 5, "all but emergencies");
    assert!(!permit.purposes.contains(&Purpose::Btg));

    let denial = &rules(json!({ "type": "deny" }))[..];
    assert_eq!(denial, [Rule::deny(Grantee::Anyone)]);

    let imported = read(&consent(json!({
        "type": "permit",
        "period": { "end": "2026-03" },
        "dataPeriod": { "start": "2025" },
    })))
    .unwrap();
    assert_eq!(imported.signer, Signer::Patient);
    let terms = &imported.terms[0];
    assert_eq!(terms.valid_from.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(terms.valid_until.to_string(), "2026-04-01T00:00:00Z");
    let period = terms.rule.data_period.unwrap();
    assert_eq!(period.from.unwrap().to_string(), "2025-01-01T00:00:00Z");
    assert_eq!(period.until, None);
}

#[test]
fn a_family_of_sensitivities_is_named_whole() {
    let denial = rules(json!({
        "type": "deny",
        "securityLabel": [label(codes::ACT_CODE, "ETH")],
    }));
    let names: Vec<_> = denial[0].labels.iter().map(|l| format!("{l:?}")).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_nested_provision_takes_the_rest_from_the_root() {
    let rules = rules(json!({
        "type": "permit",
        "actor": [actor("Organization/o")],
        "purpose": [purpose("TREAT")],
        "dataPeriod": { "start": "2025" },
        "provision": [
            { "type": "deny", "data": [data("authoredby", "Device/d")] },
            { "type": "permit", "purpose": [purpose("HRESCH")], "actor": [actor("Practitioner/a")] },
        ],
    }));
    let [root, denial, further] = &rules[..] else {
        panic!("{rules:?}")
    };
    assert_eq!(denial.grantee, root.grantee);
    assert_eq!(denial.purposes, root.purposes);
    assert_eq!(denial.data_period, root.data_period);
    assert_eq!(denial.authors, [Author::Device("hr-1".parse().unwrap())]);
    assert_eq!(further.purposes, [Purpose::Hresch]);
    assert!(matches!(further.grantee, Grantee::Participant(_)));
    assert_eq!(further.data_period, root.data_period);
}

#[test]
fn a_refusal_with_exceptions_is_its_exceptions() {
    let imported = read(&consent(json!({
        "type": "deny",
        "provision": [{
            "type": "permit",
            "purpose": [purpose("TREAT")],
            "actor": [actor("Practitioner/a")],
        }],
    })))
    .unwrap();
    assert_eq!(imported.terms.len(), 1, "a denial would beat the exception");
    assert_eq!(imported.terms[0].rule.purposes, [Purpose::Treat]);
    assert!(imported.remarks[0].contains("not written as a denial"));
}

#[test]
fn an_emergency_is_limited_by_denials_only() {
    let btg = |root: Value, nested: Value| {
        rules(json!({
            "type": "permit",
            "purpose": [purpose("TREAT")],
            "securityLabel": root,
            "provision": [{
                "type": "permit",
                "purpose": [purpose("BTG")],
                "securityLabel": nested,
                "actor": [actor("Group/g")],
            }],
        }))
    };
    let code = |code| label(codes::CONFIDENTIALITY, code);
    let denied = |rules: &[Rule]| {
        rules
            .iter()
            .filter(|rule| rule.purposes == [Purpose::Btg])
            .flat_map(|rule| rule.labels.clone())
            .collect::<Vec<_>>()
    };
    let only = |code| vec![SecurityLabel::Confidentiality(code)];
    assert_eq!(
        denied(&btg(json!([code("N")]), json!([code("R")]))),
        only(Confidentiality::V)
    );
    let all = json!([code("R"), code("V")]);
    assert_eq!(denied(&btg(json!([code("N")]), all)), []);

    for (path, nested) in [
        (
            "for one person",
            json!({ "type": "permit", "purpose": [purpose("BTG")], "actor": [actor("Practitioner/a")] }),
        ),
        (
            "by sensitivity",
            json!({
                "type": "permit", "purpose": [purpose("BTG")], "actor": [actor("Group/g")],
                "securityLabel": [label(codes::ACT_CODE, "PSY")],
            }),
        ),
        (
            "for one encounter",
            json!({
                "type": "permit", "purpose": [purpose("BTG")], "actor": [actor("Group/g")],
                "data": [data("related", "Encounter/e")],
            }),
        ),
        (
            "those of emergencies for treatment",
            json!({ "type": "permit", "purpose": [purpose("TREAT")], "actor": [actor("Group/g")] }),
        ),
    ] {
        let consent = consent(json!({ "type": "deny", "provision": [nested] }));
        let found = obstacles(&consent);
        assert_eq!(found, ["Consent.provision.provision[0]"], "{path}");
    }
}

#[test]
fn what_a_grant_cannot_say_is_refused_by_its_path() {
    let permit = || consent(json!({ "type": "permit" }));
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 28] = [
        ("resourceType", |c| c["resourceType"] = json!("Patient")),
        ("Consent.status", |c| c["status"] = json!("inactive")),
        ("Consent.status", |c| c["status"] = json!("draft")),
        ("Consent.scope", |c| {
            c["scope"]["coding"][0]["code"] = json!("research")
        }),
        ("Consent.verification", |c| c["verification"] = json!([])),
        ("Consent.policyRule", |c| {
            c["policyRule"] = json!({ "text": "x" })
        }),
        ("Consent.modifierExtension", |c| {
            c["modifierExtension"] = json!([])
        }),
        ("Consent.extension", |c| c["extension"] = json!([])),
        ("Consent.dateTime", |c| c["dateTime"] = json!("yesterday")),
        ("Consent.patient", |c| {
            c["patient"]["reference"] = json!("Patient/q")
        }),
        ("Consent.patient", |c| {
            c["patient"]["reference"] = json!("Device/d")
        }),
        ("Consent.performer[0]", |c| {
            c["performer"][0]["reference"] = json!("RelatedPerson/m")
        }),
        ("Consent.performer", |c| c["performer"] = json!([])),
        ("Consent.provision", |c| c["provision"] = json!("permit")),
        ("Consent.provision.type", |c| {
            c["provision"]["type"] = json!("maybe")
        }),
        ("Consent.provision.class", |c| {
            c["provision"]["class"] = json!([{}])
        }),
        ("Consent.provision.action", |c| {
            c["provision"]["action"] = json!([{}])
        }),
        ("Consent.provision._type", |c| {
            c["provision"]["_type"] = json!({ "id": "x" })
        }),
        ("Consent.provision.period.end", |c| {
            c["provision"]["period"] = json!({ "end": "2026-13" });
        }),
        ("Consent.provision.period", |c| {
            c["provision"]["period"] = json!({ "start": "2027", "end": "2026" });
        }),
        ("Consent.provision", |c| {
            // Ends before it was given.
            c["provision"]["period"] = json!({ "end": "2020" });
        }),
        ("Consent.provision.purpose[0]", |c| {
            c["provision"]["purpose"] = json!([{ "system": codes::ACT_REASON, "code": "ETREAT" }]);
        }),
        ("Consent.provision.securityLabel[0]", |c| {
            c["provision"]["securityLabel"] =
                json!([{ "system": codes::CONFIDENTIALITY, "code": "U" }]);
        }),
        ("Consent.provision.actor[0].reference", |c| {
            c["provision"]["actor"] = json!([{ "reference": { "reference": "Practitioner/z" } }]);
        }),
        ("Consent.provision.actor[0].role", |c| {
            c["provision"]["actor"] = json!([{
                "role": { "coding": [{ "system": codes::PARTICIPATION, "code": "AUT" }] },
                "reference": { "reference": "Practitioner/a" },
            }]);
        }),
        ("Consent.provision.data[0].meaning", |c| {
            c["provision"]["data"] =
                json!([{ "meaning": "dependents", "reference": { "reference": "Encounter/e" } }]);
        }),
        ("Consent.provision.code[0]", |c| {
            c["provision"]["code"] =
                json!([{ "coding": [{ "system": "http://snomed.info/sct", "code": "1" }] }]);
        }),
        ("Consent.provision.provision[0].provision", |c| {
            c["provision"]["provision"] =
                json!([{ "type": "deny", "provision": [{ "type": "permit" }] }]);
        }),
    ];
    assert!(read(&permit()).is_ok());
    for (path, change) in changes {
        let mut changed = permit();
        change(&mut changed);
        let found = obstacles(&changed);
        assert!(
            found.iter().any(|f| f == path),
            "{path} is not in {found:?}"
        );
    }
    assert!(matches!(
        import(b"{", &references()),
        Err(ConsentError::NotJson { .. })
    ));
}

#[test]
fn everything_that_stands_in_the_way_is_named_at_once() {
    let mut both = consent(json!({ "type": "permit", "class": [{}] }));
    both["status"] = json!("rejected");
    both["verification"] = json!([{}]);
    assert_eq!(
        obstacles(&both),
        [
            "Consent.status",
            "Consent.provision.class",
            "Consent.verification"
        ]
    );
    let said = read(&both).unwrap_err().to_string();
    assert!(said.contains("Consent.status: is \"rejected\""), "{said}");
}

fn entry(rule: Rule) -> GrantEntry {
    serde_json::from_value(json!({
        "grant": {
            "grant_id": "0d".repeat(16),
            "rule": rule,
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2026-04-01T12:30:00Z",
        },
        "patient": PATIENT,
        "patient_msp": "Org1MSP",
        "given_by": PATIENT,
        "status": "active",
        "version": 1,
        "given_at": "2026-01-01T00:01:00Z",
        "requests": ["signed.by.patient"],
        "salt": format!("01{}", "00".repeat(31)),
    }))
    .unwrap()
}

#[test]
fn a_grant_comes_back_from_its_consent_with_and_without_a_table() {
    let rule: Rule = serde_json::from_value(json!({
        "decision": "permit",
        "grantee": { "participant": "0b".repeat(16) },
        "types": ["8867-4", "sleep"],
        "authors": [{ "device": "hr-1" }, { "organization": "Org2MSP" }],
        "labels": [{ "confidentiality": "N" }, { "sensitivity": "PSY" }],
        "data_period": { "from": "2025-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z" },
        "purposes": ["TREAT", "HPAYMT"],
    }))
    .unwrap();
    let entry = entry(rule);
    for table in [references(), References::default()] {
        let consent = export(&entry, &table).unwrap();
        let back = import(consent.to_string().as_bytes(), &table).unwrap();
        assert_eq!(back.patient, entry.patient);
        assert_eq!(back.signer, Signer::Patient);
        let [terms] = &back.terms[..] else {
            panic!("{:?}", back.terms)
        };
        let grant = terms.clone().grant(GrantId::from_bytes([13; 16]));
        assert_eq!(grant.rule, entry.grant.rule);
        assert_eq!(grant.valid_from, entry.grant.valid_from);
        assert_eq!(grant.valid_until, entry.grant.valid_until);
    }
}

#[test]
fn a_ceiling_is_its_labels_and_a_plain_denial_its_purposes() {
    let ceiling = Rule {
        confidentiality: Some(Confidentiality::R),
        ..Rule::permit(Grantee::Anyone, vec![Purpose::Treat])
    };
    let consent = export(&entry(ceiling), &references()).unwrap();
    let codes: Vec<_> = consent["provision"]["securityLabel"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["N", "R"]);

    let mut denial = entry(Rule::deny(Grantee::Anyone));
    denial.grant.valid_until = UtcTime::MAX;
    let consent = export(&denial, &references()).unwrap();
    assert_eq!(consent["provision"]["purpose"].as_array().unwrap().len(), 5);
    assert_eq!(consent["provision"]["period"].get("end"), None);
}

#[test]
fn what_a_consent_cannot_say_is_refused() {
    let treat = || Rule::permit(Grantee::Anyone, vec![Purpose::Treat]);
    let psychiatry = SecurityLabel::Sensitivity("PSY".parse().unwrap());
    let context = "enc-1".parse().unwrap();
    let mut counted = entry(treat());
    counted.grant.max_reads = Some(3);
    let together = Rule {
        contexts: vec![context],
        authors: vec![Author::Device("hr-1".parse().unwrap())],
        ..treat()
    };
    let limited = Rule {
        labels: vec![psychiatry],
        confidentiality: Some(Confidentiality::R),
        ..treat()
    };
    let project = Rule {
        project: Some("study-1".parse().unwrap()),
        ..treat()
    };
    for (element, entry) in [
        ("max_reads", counted),
        ("data", entry(together)),
        ("confidentiality", entry(limited)),
        ("project", entry(project)),
    ] {
        match export(&entry, &references()) {
            Err(ConsentError::Refused { obstacles }) => {
                assert_eq!(obstacles.len(), 1);
                assert_eq!(obstacles[0].element, element);
            }
            other => panic!("{element}: {other:?}"),
        }
    }
}
