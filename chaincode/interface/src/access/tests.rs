use super::*;
use crate::digest::{Digest, Salt};
use crate::directory::{Participant, Role, Status};
use crate::ids::{GrantId, MspId, ParticipantId, Pseudonym, ReadId, RecordId};
use crate::record::{Period, RecordPrivate, Source};
use crate::time::UtcTime;

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

fn reader(role: Role, msp_id: &str) -> Participant {
    Participant {
        participant_id: ParticipantId::from_bytes([7; 16]),
        msp_id: msp_id.parse().unwrap(),
        role,
        certificate: String::new(),
        thumbprint: Digest::of(b"certificate"),
        encryption_key: None,
        status: Status::Active,
        version: 1,
        salt: None,
    }
}

fn record() -> RecordPrivate {
    RecordPrivate {
        record_id: RecordId::from_bytes([1; 16]),
        patient: Pseudonym::from_bytes([2; 16]),
        record_type: "8867-4".parse().unwrap(),
        period: Period {
            start: time("2026-01-10T00:00:00Z"),
            end: time("2026-01-20T00:00:00Z"),
        },
        readings: 1,
        source: Source::DeviceId("d".parse().unwrap()),
        content_type: "a/b".to_owned(),
        cid: "c".to_owned(),
        size: 1,
        plaintext_size: 1,
        merkle_root: Digest::of(b""),
        salt: salt(1),
    }
}

fn salt(byte: u8) -> Salt {
    let mut bytes = [byte; 32];
    bytes[0] = 0xff;
    Salt::from_bytes(bytes).unwrap()
}

fn entry() -> GrantEntry {
    GrantEntry {
        grant: Grant {
            grant_id: GrantId::from_bytes([9; 16]),
            grantee: Grantee::Participant(ParticipantId::from_bytes([7; 16])),
            types: vec!["8867-4".parse().unwrap()],
            data_period: Some(GrantPeriod {
                from: Some(time("2026-01-01T00:00:00Z")),
                until: Some(time("2026-02-01T00:00:00Z")),
            }),
            valid_from: time("2026-03-01T00:00:00Z"),
            valid_until: time("2026-04-01T00:00:00Z"),
            purposes: vec![Purpose::Treat, Purpose::Hresch],
        },
        patient: Pseudonym::from_bytes([2; 16]),
        patient_msp: "Org1MSP".parse().unwrap(),
        status: GrantStatus::Active,
        version: 1,
        given_at: time("2026-03-01T00:00:00Z"),
        revoked_at: None,
        requests: vec![],
        salt: salt(2),
    }
}

#[test]
fn a_grant_decides_by_the_first_thing_that_is_missing() {
    type Change = fn(&mut GrantEntry);
    let cases: [(&str, Change, ReasonCode); 13] = [
        ("as it is", |_| {}, ReasonCode::Granted),
        ("all types", |e| e.grant.types.clear(), ReasonCode::Granted),
        (
            "all periods",
            |e| e.grant.data_period = None,
            ReasonCode::Granted,
        ),
        (
            "open period",
            |e| {
                e.grant.data_period = Some(GrantPeriod {
                    from: None,
                    until: None,
                });
            },
            ReasonCode::Granted,
        ),
        (
            "purpose",
            |e| e.grant.purposes = vec![Purpose::Hresch],
            ReasonCode::PurposeNotCovered,
        ),
        (
            "period ends with the last reading",
            |e| {
                let until = Some(time("2026-01-20T00:00:00Z"));
                e.grant.data_period = Some(GrantPeriod { from: None, until });
            },
            ReasonCode::PeriodNotCovered,
        ),
        (
            "period starts late",
            |e| {
                let from = Some(time("2026-01-10T00:00:01Z"));
                e.grant.data_period = Some(GrantPeriod { from, until: None });
            },
            ReasonCode::PeriodNotCovered,
        ),
        (
            "type",
            |e| e.grant.types = vec!["8867-5".parse().unwrap()],
            ReasonCode::TypeNotCovered,
        ),
        (
            "expired",
            |e| e.grant.valid_until = time("2026-03-10T00:00:00Z"),
            ReasonCode::GrantExpired,
        ),
        (
            "not yet",
            |e| e.grant.valid_from = time("2026-03-10T00:00:01Z"),
            ReasonCode::GrantNotYetValid,
        ),
        (
            "revoked",
            |e| e.status = GrantStatus::Revoked,
            ReasonCode::GrantRevoked,
        ),
        (
            "grantee",
            |e| {
                e.grant.grantee = Grantee::Participant(ParticipantId::from_bytes([8; 16]));
            },
            ReasonCode::GranteeMismatch,
        ),
        (
            "patient",
            |e| e.patient = Pseudonym::from_bytes([3; 16]),
            ReasonCode::GrantOfOtherPatient,
        ),
    ];
    let now = [time("2026-03-10T00:00:00Z")];
    for (name, change, expected) in cases {
        let mut entry = entry();
        change(&mut entry);
        let reason = entry.decide(
            &reader(Role::Provider, "Org1MSP"),
            &record(),
            Purpose::Treat,
            &now,
        );
        assert_eq!(reason, expected, "{name}");
    }
}

#[test]
fn both_times_must_lie_in_the_validity() {
    let (early, now, late) = (
        time("2026-02-28T23:59:59Z"),
        time("2026-03-31T23:59:59Z"),
        time("2026-04-01T00:00:00Z"),
    );
    for (times, expected) in [
        ([now, now], ReasonCode::Granted),
        ([early, now], ReasonCode::GrantNotYetValid),
        ([now, early], ReasonCode::GrantNotYetValid),
        ([late, now], ReasonCode::GrantExpired),
        ([now, late], ReasonCode::GrantExpired),
    ] {
        let reason = entry().decide(
            &reader(Role::Provider, "Org1MSP"),
            &record(),
            Purpose::Treat,
            &times,
        );
        assert_eq!(reason, expected, "{times:?}");
    }
}

#[test]
fn grantees() {
    let org1: MspId = "Org1MSP".parse().unwrap();
    let role = |role| Grantee::Role {
        msp_id: org1.clone(),
        role,
    };
    let me = Grantee::Participant(ParticipantId::from_bytes([7; 16]));
    let organization = Grantee::Organization(org1.clone());
    for (grantee, reader, included) in [
        (&me, reader(Role::Provider, "Org2MSP"), true),
        (&organization, reader(Role::Provider, "Org1MSP"), true),
        (&organization, reader(Role::Provider, "Org2MSP"), false),
        (&organization, reader(Role::Admin, "Org1MSP"), false),
        (
            &role(Role::Provider),
            reader(Role::Provider, "Org1MSP"),
            true,
        ),
        (
            &role(Role::Provider),
            reader(Role::Provider, "Org2MSP"),
            false,
        ),
        (
            &role(Role::Provider),
            reader(Role::Auditor, "Org1MSP"),
            false,
        ),
    ] {
        assert_eq!(
            grantee.includes(&reader),
            included,
            "{grantee:?} {reader:?}"
        );
    }
}

#[test]
fn a_grant_must_make_sense() {
    type Change = fn(&mut Grant);
    let cases: [(&str, bool, Change); 9] = [
        ("as it is", true, |_| {}),
        ("64 types", true, |g| {
            g.types = (0..64).map(|n| format!("t{n}").parse().unwrap()).collect()
        }),
        ("65 types", false, |g| {
            g.types = (0..65).map(|n| format!("t{n}").parse().unwrap()).collect()
        }),
        ("a type twice", false, |g| {
            g.types = vec!["a".parse().unwrap(), "a".parse().unwrap()]
        }),
        ("no purpose", false, |g| g.purposes.clear()),
        ("a purpose twice", false, |g| {
            g.purposes = vec![Purpose::Treat, Purpose::Treat]
        }),
        ("empty validity", false, |g| g.valid_until = g.valid_from),
        ("empty data period", false, |g| {
            let at = Some(time("2026-01-01T00:00:00Z"));
            g.data_period = Some(GrantPeriod {
                from: at,
                until: at,
            });
        }),
        ("a role that does not read", false, |g| {
            g.grantee = Grantee::Role {
                msp_id: "Org1MSP".parse().unwrap(),
                role: Role::Oracle,
            };
        }),
    ];
    for (name, good, change) in cases {
        let mut grant = entry().grant;
        change(&mut grant);
        assert_eq!(grant.validate().is_ok(), good, "{name}");
    }
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
        (
            r#"{"role":{"msp_id":"Org1MSP","role":"provider","more":1}}"#,
            false,
        ),
        (r#"{"role":{"msp_id":"Org1MSP","role":"doctor"}}"#, false),
        (r#"{"everyone":true}"#, false),
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
fn purposes_are_their_codes() {
    for purpose in Purpose::ALL {
        assert_eq!(purpose.as_str().parse::<Purpose>(), Ok(purpose));
        assert_eq!(
            serde_json::to_string(&purpose).unwrap(),
            format!("\"{purpose}\"")
        );
    }
    assert!("treat".parse::<Purpose>().is_err());
}
