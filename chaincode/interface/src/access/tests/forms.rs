//! How things are written.

use super::*;
use crate::ids::ReadId;

#[test]
fn a_grant_must_make_sense() {
    type Change = fn(&mut Grant);
    let cases: [(&str, bool, Change); 6] = [
        ("as it is", true, |_| {}),
        ("a wrong rule", false, |g| g.rule.purposes.clear()),
        ("an empty validity", false, |g| g.valid_until = g.valid_from),
        ("one read", true, |g| g.max_reads = Some(1)),
        ("no read", false, |g| g.max_reads = Some(0)),
        ("a limited denial", false, |g| {
            g.rule.decision = Decision::Deny;
            g.max_reads = Some(1);
        }),
    ];
    for (name, good, change) in cases {
        let mut grant = grant(1, treat()).entry.grant;
        change(&mut grant);
        assert_eq!(grant.validate().is_ok(), good, "{name}");
    }
    let mut policy = policy(1, 1, treat()).policy;
    assert!(policy.validate().is_ok());
    policy.valid_until = Some(policy.valid_from);
    assert!(policy.validate().is_err());
}

#[test]
fn grantees_in_json() {
    for (json, good) in [
        (
            r#"{"participant":"00112233445566778899aabbccddeeff"}"#,
            true,
        ),
        (r#"{"organization":"Org1MSP"}"#, true),
        (r#"{"role":{"msp_id":"Org1MSP","role":"provider"}}"#, true),
        (r#""anyone""#, true),
        (
            r#"{"role":{"msp_id":"Org1MSP","role":"provider","more":1}}"#,
            false,
        ),
        (r#"{"role":{"msp_id":"Org1MSP","role":"doctor"}}"#, false),
        (r#"{"everyone":true}"#, false),
        (r#""everyone""#, false),
        (
            r#"{"organization":"Org1MSP","participant":"00112233445566778899aabbccddeeff"}"#,
            false,
        ),
    ] {
        let parsed = serde_json::from_str::<Grantee>(json);
        assert_eq!(parsed.is_ok(), good, "{json}");
        if let Ok(grantee) = parsed {
            assert_eq!(serde_json::to_string(&grantee).unwrap(), json);
        }
    }
}

#[test]
fn a_rule_that_is_not_understood_is_refused() {
    let whole = serde_json::to_value(grant(1, treat()).entry.grant).unwrap();
    let parses = |value: &serde_json::Value| serde_json::from_value::<Grant>(value.clone());
    assert!(parses(&whole).is_ok());
    let mut more = whole.clone();
    more["rule"]["only_on_sundays"] = true.into();
    assert!(parses(&more).is_err(), "a restriction must not be dropped");
    for (member, value) in [
        ("decision", "maybe"),
        ("purposes", "TREAT"),
        ("confidentiality", "U"),
        ("types", "8867-4"),
    ] {
        let mut wrong = whole.clone();
        wrong["rule"][member] = value.into();
        assert!(parses(&wrong).is_err(), "{member}");
    }
    for member in ["decision", "grantee"] {
        let mut less = whole.clone();
        less["rule"].as_object_mut().unwrap().remove(member);
        assert!(parses(&less).is_err(), "{member}");
    }
}

#[test]
fn only_the_salt_opens_the_reason() {
    let read_id = ReadId::from_bytes([5; 32]);
    let mut tags = std::collections::BTreeSet::new();
    for reason in ReasonCode::ALL.iter().copied() {
        let decision = ReadDecision::new(read_id, reason, &salt(1));
        assert_eq!(decision.decision, reason.decision());
        assert_eq!(decision.reason(&salt(1)), Some(reason));
        assert_eq!(decision.reason(&salt(2)), None);
        tags.insert(decision.reason_tag);
        assert_eq!(
            serde_json::to_string(&reason).unwrap(),
            format!("\"{reason}\"")
        );
    }
    assert_eq!(tags.len(), ReasonCode::ALL.len());
    let forged = ReadDecision {
        decision: Decision::Permit,
        ..ReadDecision::new(read_id, ReasonCode::NoGrant, &salt(1))
    };
    assert_eq!(
        forged.reason(&salt(1)),
        None,
        "a reason for the other decision is none"
    );
}

#[test]
fn codes_are_what_is_written() {
    for purpose in Purpose::ALL {
        assert_eq!(purpose.as_str().parse::<Purpose>(), Ok(purpose));
        assert_eq!(
            serde_json::to_string(&purpose).unwrap(),
            format!("\"{purpose}\"")
        );
    }
    assert!("treat".parse::<Purpose>().is_err());
    for code in [Confidentiality::N, Confidentiality::R, Confidentiality::V] {
        assert_eq!(code.as_str().parse::<Confidentiality>(), Ok(code));
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
    }
    assert!(Confidentiality::N < Confidentiality::R && Confidentiality::R < Confidentiality::V);
    assert!("U".parse::<Confidentiality>().is_err());
}
