use contract_interface::access;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::audit::{ConsideredRule, EmergencyPage, NoticePage, ReadPage};
use super::consent::{AccessRequestPage, DelegationPage, GrantPage, PolicyPage};
use super::directory::{DevicePage, DeviceRegistration, ParticipantPage, ParticipantRegistration};
use super::records::RecordPage;

/// Checks that a JSON value is one of the contracts' type and of the described one, and that
/// neither loses a member of it.
fn same<Original, Described>(value: &Value)
where
    Original: DeserializeOwned + Serialize,
    Described: DeserializeOwned + Serialize,
{
    let original: Original = serde_json::from_value(value.clone()).expect("the contracts' type");
    let described: Described = serde_json::from_value(value.clone()).expect("the described type");
    assert_eq!(serde_json::to_value(original).expect("JSON"), *value);
    assert_eq!(serde_json::to_value(described).expect("JSON"), *value);
}

const ID: &str = "00112233445566778899aabbccddeeff";
const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const TIME: &str = "2026-01-02T03:04:05Z";

fn jwk() -> Value {
    use base64::Engine as _;
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xff; 384]);
    json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
}

/// A rule with every member.
fn rule(decision: &str, grantee: &Value) -> Value {
    let mut rule = json!({"decision": decision, "grantee": grantee, "types": ["8867-4"],
        "records": [ID],
        "authors": [{"participant": ID}, {"device": "d1"}, {"organization": "Org1MSP"}],
        "contexts": ["enc-1"], "labels": [{"confidentiality": "R"}, {"sensitivity": "PSY"}],
        "data_period": {"from": TIME, "until": TIME}, "purposes": ["TREAT", "BTG"],
        "project": "study-1"});
    if decision == "permit" {
        rule["confidentiality"] = json!("V");
    }
    rule
}

fn grantees() -> [Value; 4] {
    [
        json!({"participant": ID}),
        json!({"organization": "Org2MSP"}),
        json!({"role": {"msp_id": "Org2MSP", "role": "provider"}}),
        json!("anyone"),
    ]
}

fn rules() -> [Value; 4] {
    [
        json!({"level": "grant", "grant_id": ID, "version": 1}),
        json!({"level": "policy", "policy_id": ID, "msp_id": "Org1MSP", "version": 2}),
        json!({"level": "delegation", "delegation_id": ID, "version": 1}),
        json!({"level": "emergency", "emergency_id": ID}),
    ]
}

#[test]
fn directory_types_are_described_as_they_are() {
    let participant = json!({"participant_id": ID, "msp_id": "Org1MSP", "role": "patient",
        "certificate": "PEM", "thumbprint": HASH, "encryption_key": jwk(), "key_proof": "a.b.c",
        "status": "active", "version": 1, "salt": HASH});
    same::<contract_interface::ParticipantPage, ParticipantPage>(
        &json!({"participants": [participant], "next_page_token": "abc"}),
    );
    same::<contract_interface::ParticipantRegistration, ParticipantRegistration>(
        &json!({"participant_id": ID, "role": "provider", "certificate": "PEM",
            "encryption_key": jwk(), "key_proof": "a.b.c", "status": "suspended"}),
    );
    let device = json!({"device_id": "d1", "msp_id": "Org1MSP", "thumbprint": HASH,
        "status": "revoked", "status_since": TIME, "salt": HASH,
        "bindings": [{"patient": ID, "bound_from": TIME, "bound_until": TIME}]});
    same::<contract_interface::DevicePage, DevicePage>(
        &json!({"devices": [device], "next_page_token": "abc"}),
    );
    same::<contract_interface::DeviceRegistration, DeviceRegistration>(
        &json!({"device_id": "d1", "thumbprint": HASH, "patient": ID, "bound_from": TIME,
            "bound_until": TIME, "status": "revoked", "status_since": TIME}),
    );
}

#[test]
fn record_types_are_described_as_they_are() {
    for source in [json!({"device_id": "d1"}), json!({"participant_id": ID})] {
        let record = json!({
            "state": {"object_sha256": HASH, "commitment": HASH, "msp_id": "Org1MSP",
                "tx_id": HASH, "version": 2, "previous": ID, "status": "active"},
            "metadata": {"record_id": ID, "patient": ID, "type": "8867-4",
                "period": {"start": TIME, "end": TIME}, "readings": 3, "source": source,
                "registrar": "Org1MSP", "context": "enc-1", "confidentiality": "R",
                "sensitivity": ["PSY"], "submission": "a.b.c",
                "manifest": {"content_type": "a/b", "size": 1, "sha256": HASH, "chunk_size": 1024,
                    "seq": 1, "type": "8867-4", "time": TIME, "sig": "a..b"},
                "marks": {"clock-ahead": 1},
                "content_type": "a/b", "cid": "bafy", "size": 1, "plaintext_size": 1,
                "merkle_root": HASH, "salt": HASH}});
        same::<contract_interface::RecordPage, RecordPage>(
            &json!({"records": [record], "next_page_token": "abc"}),
        );
    }
}

#[test]
fn grants_and_policies_are_described_as_they_are() {
    for (grantee, decision) in grantees().iter().zip(["permit", "deny", "permit", "deny"]) {
        let entry = json!({"grant": {"grant_id": ID, "rule": rule(decision, grantee),
                "valid_from": TIME, "valid_until": TIME, "max_reads": 3, "in_reply_to": ID},
            "patient": ID, "patient_msp": "Org1MSP", "given_by": ID, "delegation_id": ID,
            "status": "revoked", "version": 2,
            "given_at": TIME, "revoked_at": TIME, "requests": ["a.b.c"], "salt": HASH});
        same::<contract_interface::GrantPage, GrantPage>(
            &json!({"grants": [entry], "next_page_token": "abc"}),
        );
        let entry = json!({"policy": {"policy_id": ID, "rule": rule(decision, grantee),
                "valid_from": TIME, "valid_until": TIME},
            "msp_id": "Org1MSP", "set_by": ID, "status": "active", "version": 1, "set_at": TIME,
            "withdrawn_at": TIME, "requests": ["a.b.c"], "salt": HASH});
        same::<access::PolicyPage, PolicyPage>(
            &json!({"policies": [entry], "next_page_token": "abc"}),
        );
    }
}

#[test]
fn delegations_and_access_requests_are_described_as_they_are() {
    for basis in ["patient", "parent", "court", "attorney"] {
        let entry = json!({"delegation": {"delegation_id": ID, "patient": ID, "guardian": ID,
                "powers": ["read", "grant", "erase"], "basis": basis, "valid_from": TIME,
                "valid_until": TIME},
            "patient_msp": "Org1MSP", "given_by": ID, "status": "active", "version": 1,
            "given_at": TIME, "revoked_at": TIME, "requests": ["a.b.c"], "salt": HASH});
        same::<access::DelegationPage, DelegationPage>(
            &json!({"delegations": [entry], "next_page_token": "abc"}),
        );
    }
    for status in ["open", "granted", "refused"] {
        let entry = json!({"request": {"request_id": ID, "patient": ID, "types": ["8867-4"],
                "data_period": {"from": TIME}, "purposes": ["HRESCH"], "project": "study-1",
                "wanted_until": TIME, "message": "a.b.c.d.e"},
            "requester": ID, "requester_msp": "Org2MSP", "status": status, "grant_id": ID,
            "asked_at": TIME, "answered_at": TIME, "requests": ["a.b.c"], "salt": HASH});
        same::<access::AccessRequestPage, AccessRequestPage>(
            &json!({"access_requests": [entry], "next_page_token": "abc"}),
        );
    }
}

#[test]
fn reads_and_emergencies_are_described_as_they_are() {
    for rule in rules() {
        let read = json!({"read_id": HASH, "record_id": ID, "patient": ID,
            "patient_msp": "Org3MSP", "registrar": "Org1MSP", "reader": ID, "reader_msp": "Org2MSP", "oracle_msp": "Org1MSP", "purpose": "TREAT",
            "decision": "permit", "reason": "GRANTED", "project": "study-1", "rule": rule,
            "requested_at": TIME, "tx_time": TIME, "request": "a.b.c", "salt": HASH});
        same::<contract_interface::ReadPage, ReadPage>(
            &json!({"reads": [read], "next_page_token": "abc"}),
        );
        same::<access::Considered, ConsideredRule>(
            &json!({"rule": rule, "decision": "deny", "misses": "GRANT_EXPIRED"}),
        );
    }
    for reason in [
        "life_threatening",
        "unresponsive",
        "danger_to_others",
        "urgent_treatment",
    ] {
        let entry = json!({"emergency": {"emergency_id": ID, "patient": ID, "reason": reason,
                "justification": "a.b.c.d.e", "valid_until": TIME},
            "patient_msp": "Org1MSP", "reader": ID, "reader_msp": "Org2MSP", "declared_at": TIME,
            "request": "a.b.c", "salt": HASH,
            "review": {"reviewer": ID, "outcome": "unjustified", "reviewed_at": TIME,
                "request": "a.b.c"}});
        same::<access::EmergencyPage, EmergencyPage>(
            &json!({"emergencies": [entry], "next_page_token": "abc"}),
        );
    }
}

#[test]
fn notices_are_described_as_they_are() {
    let happenings = [
        json!({"what": "grant_revoked", "grant_id": ID}),
        json!({"what": "grant_expired", "grant_id": ID}),
        json!({"what": "grant_given", "grant_id": ID}),
        json!({"what": "access_requested", "request_id": ID}),
        json!({"what": "access_refused", "request_id": ID}),
        json!({"what": "delegation_changed", "delegation_id": ID}),
        json!({"what": "emergency_declared", "emergency_id": ID}),
        json!({"what": "emergency_read", "read_id": HASH, "emergency_id": ID}),
        json!({"what": "emergency_reviewed", "emergency_id": ID}),
        json!({"what": "record_erased", "record_id": ID}),
    ];
    let recipients = [
        json!({"participant": ID}),
        json!({"privacy_officers": "Org1MSP"}),
        json!({"providers": "Org2MSP"}),
        json!("anyone"),
    ];
    for (happening, recipient) in happenings.iter().zip(recipients.iter().cycle()) {
        let notice = json!({"notice_id": HASH, "recipient": recipient, "patient": ID, "at": TIME,
            "happening": happening, "salt": HASH});
        same::<access::NoticePage, NoticePage>(
            &json!({"notices": [notice], "next_page_token": "abc"}),
        );
    }
}

#[test]
fn completeness_of_the_audit_is_described() {
    let found = json!({"from_block": 1, "previous_hash": HASH, "to_block": 9, "to_block_hash": HASH,
        "chain_holds": true, "data_holds": true, "decided": 3, "recorded": 2,
        "missing": [HASH], "unfounded": [HASH], "complete": false});
    same::<contract_interface::evidence::AuditCompleteness, super::AuditCompleteness>(&found);
}
