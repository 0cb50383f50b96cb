//! Guardians, emergencies, requests for access.

use super::*;
use crate::ids::AccessRequestId;

#[test]
fn a_guardian_reads_on_the_patients_request_while_the_delegation_lasts() {
    type Change = fn(&mut DelegationEntry);
    let cases: [(&str, Change, ReasonCode); 7] = [
        ("as it is", |_| {}, ReasonCode::Guardian),
        (
            "other powers",
            |d| d.delegation.powers = vec![Power::Grant, Power::Erase],
            ReasonCode::GuardianNotAllowed,
        ),
        (
            "revoked",
            |d| d.status = GrantStatus::Revoked,
            ReasonCode::GuardianNotAllowed,
        ),
        (
            "over",
            |d| d.delegation.valid_until = now(),
            ReasonCode::GuardianNotAllowed,
        ),
        (
            "not begun",
            |d| d.delegation.valid_from = time("2026-03-10T00:00:01Z"),
            ReasonCode::GuardianNotAllowed,
        ),
        (
            "of another patient",
            |d| d.delegation.patient = Pseudonym::from_bytes([3; 16]),
            ReasonCode::GuardianNotAllowed,
        ),
        (
            "of another guardian",
            |d| d.delegation.guardian = ParticipantId::from_bytes([3; 16]),
            ReasonCode::GuardianNotAllowed,
        ),
    ];
    for (name, change, expected) in cases {
        let mut entry = delegation(vec![Power::Read]);
        change(&mut entry);
        let basis = Basis {
            delegation: Some(entry),
            ..Basis::default()
        };
        let guardian = reader(Role::Patient, 1);
        let verdict = decide_for(&basis, &guardian, Purpose::Patrqt, &[now()]);
        assert_eq!(verdict.reason, expected, "{name}");
        assert!(matches!(
            verdict.rule,
            Some(RuleRef::Delegation { version: 5, .. })
        ));
        let verdict = decide_for(&basis, &guardian, Purpose::Treat, &[now()]);
        assert_eq!(verdict.reason, ReasonCode::RoleNotAllowed, "{name}");
    }
}

#[test]
fn a_guardian_has_the_power_at_both_times() {
    let entry = delegation(vec![Power::Grant]);
    let (inside, after) = (now(), time("2026-04-01T00:00:00Z"));
    assert!(entry.gives(Power::Grant, &[inside, inside]));
    assert!(!entry.gives(Power::Grant, &[inside, after]));
    assert!(!entry.gives(Power::Grant, &[after, inside]));
    assert!(!entry.gives(Power::Erase, &[inside, inside]));
}

#[test]
fn a_provider_who_is_no_longer_guardian_still_reads_by_rules() {
    let mut ended = delegation(vec![Power::Read]);
    ended.status = GrantStatus::Revoked;
    let mut rule = treat();
    rule.purposes = vec![Purpose::Patrqt];
    let basis = Basis {
        grants: vec![grant(1, rule)],
        delegation: Some(ended),
        ..Basis::default()
    };
    assert_eq!(decide(&basis, Purpose::Patrqt).reason, ReasonCode::Granted);
}

#[test]
fn an_emergency_opens_what_no_rule_closes_for_emergencies() {
    let mut closed = deny();
    closed.purposes = vec![Purpose::Btg];
    let lasting = Some(emergency());
    let mut others = emergency();
    others.reader = ParticipantId::from_bytes([3; 16]);
    let mut elsewhere = emergency();
    elsewhere.emergency.patient = Pseudonym::from_bytes([3; 16]);
    let cases = [
        (vec![], vec![], lasting.clone(), ReasonCode::Emergency),
        (vec![], vec![], None, ReasonCode::EmergencyNotDeclared),
        (
            vec![],
            vec![],
            Some(others),
            ReasonCode::EmergencyNotDeclared,
        ),
        (
            vec![],
            vec![],
            Some(elsewhere),
            ReasonCode::EmergencyNotDeclared,
        ),
        (
            vec![policy(1, 1, deny())],
            vec![grant(1, deny())],
            lasting.clone(),
            ReasonCode::Emergency,
        ),
        (
            vec![],
            vec![grant(1, closed.clone())],
            lasting.clone(),
            ReasonCode::GrantDenies,
        ),
        (
            vec![policy(1, 1, closed.clone())],
            vec![],
            lasting.clone(),
            ReasonCode::PolicyDenies,
        ),
        (
            vec![policy(1, 2, closed)],
            vec![],
            lasting,
            ReasonCode::Emergency,
        ),
    ];
    for (policies, grants, emergency, expected) in cases {
        let basis = Basis {
            policies,
            grants,
            emergency,
            ..Basis::default()
        };
        let verdict = decide(&basis, Purpose::Btg);
        assert_eq!(verdict.reason, expected, "{basis:?}");
    }
}

#[test]
fn an_emergency_is_over_when_it_says_and_serves_no_other_purpose() {
    let basis = Basis {
        emergency: Some(emergency()),
        ..Basis::default()
    };
    let provider = reader(Role::Provider, 2);
    let (last, end) = (time("2026-03-10T03:59:59Z"), time("2026-03-10T04:00:00Z"));
    for (times, expected) in [
        ([last, last], ReasonCode::Emergency),
        ([last, end], ReasonCode::EmergencyOver),
        ([end, last], ReasonCode::EmergencyOver),
    ] {
        let verdict = decide_for(&basis, &provider, Purpose::Btg, &times);
        assert_eq!(verdict.reason, expected, "{times:?}");
    }
    assert_eq!(decide(&basis, Purpose::Treat).reason, ReasonCode::NoGrant);
    for (outcome, expected) in [
        (ReviewOutcome::Justified, ReasonCode::Emergency),
        (ReviewOutcome::Unjustified, ReasonCode::EmergencyOver),
    ] {
        let mut reviewed = basis.clone();
        reviewed.emergency.as_mut().unwrap().review = Some(Review {
            reviewer: ParticipantId::from_bytes([8; 16]),
            outcome,
            reviewed_at: last,
            request: String::new(),
        });
        assert_eq!(decide(&reviewed, Purpose::Btg).reason, expected);
    }
    let mut permit = treat();
    permit.purposes = vec![Purpose::Btg];
    let basis = Basis {
        grants: vec![grant(1, permit)],
        ..Basis::default()
    };
    assert_eq!(
        decide(&basis, Purpose::Btg).reason,
        ReasonCode::EmergencyNotDeclared,
        "a permit for emergencies is no declaration"
    );
}

#[test]
fn what_is_declared_delegated_and_asked_must_make_sense() {
    let emergency = |until: &str, justification: &str| Emergency {
        valid_until: time(until),
        justification: justification.to_owned(),
        ..super::emergency().emergency
    };
    let long = "x".repeat(16 * 1024 + 1);
    for (emergency, good) in [
        (emergency("2026-03-10T04:00:00Z", "sealed"), true),
        (emergency("2026-03-10T04:00:01Z", "sealed"), false),
        (emergency("2026-03-10T00:00:00Z", "sealed"), false),
        (emergency("2026-03-09T23:00:00Z", "sealed"), false),
        (emergency("2026-03-10T01:00:00Z", ""), false),
        (emergency("2026-03-10T01:00:00Z", &long), false),
    ] {
        assert_eq!(emergency.validate(now()).is_ok(), good, "{emergency:?}");
    }

    let good = delegation(vec![Power::Read]).delegation;
    assert!(good.validate().is_ok());
    for powers in [vec![], vec![Power::Read, Power::Read]] {
        let bad = Delegation {
            powers,
            ..good.clone()
        };
        assert!(bad.validate().is_err());
    }
    let backwards = Delegation {
        valid_until: good.valid_from,
        ..good.clone()
    };
    let self_made = Delegation {
        guardian: PATIENT.into(),
        ..good
    };
    assert!(backwards.validate().is_err() && self_made.validate().is_err());

    let request = AccessRequest {
        request_id: AccessRequestId::from_bytes([1; 16]),
        patient: PATIENT,
        types: vec![],
        data_period: None,
        purposes: vec![Purpose::Treat],
        project: None,
        wanted_until: now(),
        message: None,
    };
    assert!(request.validate().is_ok());
    for purposes in [vec![], vec![Purpose::Treat; 2]] {
        let bad = AccessRequest {
            purposes,
            ..request.clone()
        };
        assert!(bad.validate().is_err());
    }
    let wordy = AccessRequest {
        message: Some(long),
        ..request
    };
    assert!(wordy.validate().is_err());
}
