//! Which level answers.

use super::*;

fn grant_ref(id: u8) -> Option<RuleRef> {
    Some(RuleRef::Grant {
        grant_id: GrantId::from_bytes([id; 16]),
        version: 3,
    })
}

fn policy_ref(id: u8, organization: u8) -> Option<RuleRef> {
    Some(RuleRef::Policy {
        policy_id: PolicyId::from_bytes([id; 16]),
        msp_id: org(organization),
        version: 4,
    })
}

fn verdict(reason: ReasonCode, rule: Option<RuleRef>) -> Verdict {
    Verdict { reason, rule }
}

#[test]
fn a_denial_beats_a_permit_and_a_policy_beats_a_grant() {
    let permit = |id| grant(id, treat());
    let denial = |id| grant(id, deny());
    let allows = |id| policy(id, 1, treat());
    let forbids = |id| policy(id, 1, deny());
    let cases = [
        (vec![], vec![], verdict(ReasonCode::NoGrant, None)),
        (
            vec![],
            vec![permit(2), permit(1)],
            verdict(ReasonCode::Granted, grant_ref(1)),
        ),
        (
            vec![],
            vec![permit(1), denial(3), denial(2)],
            verdict(ReasonCode::GrantDenies, grant_ref(2)),
        ),
        (
            vec![allows(9)],
            vec![denial(1)],
            verdict(ReasonCode::PolicyPermits, policy_ref(9, 1)),
        ),
        (
            vec![allows(1), forbids(9)],
            vec![permit(1)],
            verdict(ReasonCode::PolicyDenies, policy_ref(9, 1)),
        ),
        (
            vec![policy(1, 2, deny()), policy(2, 2, treat())],
            vec![],
            verdict(ReasonCode::NoGrant, None),
        ),
    ];
    for (policies, grants, expected) in cases {
        let basis = Basis {
            policies,
            grants,
            ..Basis::default()
        };
        assert_eq!(decide(&basis, Purpose::Treat), expected, "{basis:?}");
    }
}

#[test]
fn a_policy_speaks_for_what_its_organisation_registered_while_it_holds() {
    let (allows, mut foreign) = (policy(1, 1, treat()), policy(1, 2, treat()));
    foreign.policy.rule.grantee = Grantee::Anyone;
    let mut withdrawn = allows.clone();
    withdrawn.status = GrantStatus::Revoked;
    let mut later = allows.clone();
    later.policy.valid_from = time("2026-03-10T00:00:01Z");
    let mut ended = allows.clone();
    ended.policy.valid_until = Some(now());
    for (entry, reason) in [
        (allows, ReasonCode::PolicyPermits),
        (foreign, ReasonCode::NoGrant),
        (withdrawn, ReasonCode::NoGrant),
        (later, ReasonCode::NoGrant),
        (ended, ReasonCode::NoGrant),
    ] {
        let basis = Basis {
            policies: vec![entry],
            ..Basis::default()
        };
        assert_eq!(decide(&basis, Purpose::Treat).reason, reason, "{basis:?}");
    }
}

#[test]
fn a_grant_decides_by_the_first_thing_that_is_missing() {
    type Change = fn(&mut CountedGrant);
    let cases: [(&str, Change, ReasonCode); 9] = [
        ("as it is", |_| {}, ReasonCode::Granted),
        (
            "reads left",
            |g| (g.entry.grant.max_reads, g.used) = (Some(2), 1),
            ReasonCode::Granted,
        ),
        (
            "no reads left",
            |g| (g.entry.grant.max_reads, g.used) = (Some(2), 2),
            ReasonCode::ReadsExhausted,
        ),
        (
            "expired",
            |g| g.entry.grant.valid_until = now(),
            ReasonCode::GrantExpired,
        ),
        (
            "not yet",
            |g| g.entry.grant.valid_from = time("2026-03-10T00:00:01Z"),
            ReasonCode::GrantNotYetValid,
        ),
        (
            "revoked",
            |g| g.entry.status = GrantStatus::Revoked,
            ReasonCode::GrantRevoked,
        ),
        (
            "of another patient",
            |g| g.entry.patient = Pseudonym::from_bytes([3; 16]),
            ReasonCode::GrantOfOtherPatient,
        ),
        (
            "another purpose",
            |g| g.entry.grant.rule.purposes = vec![Purpose::Hresch],
            ReasonCode::PurposeNotCovered,
        ),
        (
            "for someone else",
            |g| g.entry.grant.rule.grantee = Grantee::Organization(org(1)),
            ReasonCode::NoGrant,
        ),
    ];
    for (name, change, expected) in cases {
        let mut grant = grant(1, treat());
        change(&mut grant);
        let basis = Basis {
            grants: vec![grant],
            ..Basis::default()
        };
        assert_eq!(decide(&basis, Purpose::Treat).reason, expected, "{name}");
    }
}

#[test]
fn of_several_permits_the_nearest_names_the_reason() {
    let mut research = grant(1, treat());
    research.entry.grant.rule.purposes = vec![Purpose::Hresch];
    let mut typed = grant(2, treat());
    typed.entry.grant.rule.types = vec!["8867-5".parse().unwrap()];
    let mut revoked = grant(3, treat());
    revoked.entry.status = GrantStatus::Revoked;
    for (grants, expected) in [
        (
            vec![&revoked, &typed, &research],
            verdict(ReasonCode::PurposeNotCovered, grant_ref(1)),
        ),
        (
            vec![&revoked, &typed],
            verdict(ReasonCode::TypeNotCovered, grant_ref(2)),
        ),
        (
            vec![&revoked],
            verdict(ReasonCode::GrantRevoked, grant_ref(3)),
        ),
    ] {
        let basis = Basis {
            grants: grants.into_iter().cloned().collect(),
            ..Basis::default()
        };
        assert_eq!(decide(&basis, Purpose::Treat), expected);
    }
}

#[test]
fn the_order_in_which_rules_come_is_of_no_matter() {
    let mut grants: Vec<_> = (1..6).map(|id| grant(id, treat())).collect();
    grants[3].entry.grant.rule.decision = Decision::Deny;
    let mut verdicts = std::collections::BTreeSet::new();
    for _ in 0..grants.len() {
        grants.rotate_left(1);
        let basis = Basis {
            grants: grants.clone(),
            ..Basis::default()
        };
        verdicts.insert(format!("{:?}", decide(&basis, Purpose::Treat)));
    }
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
}

#[test]
fn both_times_must_lie_in_the_validity() {
    let (early, now, late) = (
        time("2026-02-28T23:59:59Z"),
        time("2026-03-31T23:59:59Z"),
        time("2026-04-01T00:00:00Z"),
    );
    let basis = Basis {
        grants: vec![grant(1, treat())],
        ..Basis::default()
    };
    for (times, expected) in [
        ([now, now], ReasonCode::Granted),
        ([early, now], ReasonCode::GrantNotYetValid),
        ([now, early], ReasonCode::GrantNotYetValid),
        ([late, now], ReasonCode::GrantExpired),
        ([now, late], ReasonCode::GrantExpired),
    ] {
        let provider = reader(Role::Provider, 2);
        let verdict = decide_for(&basis, &provider, Purpose::Treat, &times);
        assert_eq!(verdict.reason, expected, "{times:?}");
    }
}

#[test]
fn a_denial_holds_at_both_times_or_not_at_all() {
    let basis = Basis {
        grants: vec![grant(1, deny()), grant(2, treat())],
        ..Basis::default()
    };
    let mut ended = basis.clone();
    ended.grants[0].entry.grant.valid_until = now();
    assert_eq!(
        decide(&basis, Purpose::Treat).reason,
        ReasonCode::GrantDenies
    );
    assert_eq!(decide(&ended, Purpose::Treat).reason, ReasonCode::Granted);
}

#[test]
fn who_reads_at_all() {
    let basis = Basis {
        grants: vec![grant(1, treat())],
        ..Basis::default()
    };
    for role in [Role::Oracle, Role::Admin, Role::Auditor, Role::Patient] {
        let verdict = decide_for(&basis, &reader(role, 1), Purpose::Treat, &[now()]);
        assert_eq!(verdict.reason, ReasonCode::RoleNotAllowed, "{role}");
    }
    for status in [Status::Suspended, Status::Revoked] {
        let mut gone = reader(Role::Provider, 2);
        gone.status = status;
        let verdict = decide_for(&basis, &gone, Purpose::Treat, &[now()]);
        assert_eq!(verdict.reason, ReasonCode::ReaderNotActive);
    }
    let mut patient = reader(Role::Patient, 1);
    patient.participant_id = PATIENT.into();
    for purpose in Purpose::ALL {
        let reason = decide_for(&Basis::default(), &patient, purpose, &[now()]).reason;
        let own = purpose == Purpose::Patrqt;
        let expected = [ReasonCode::PurposeNotForPatients, ReasonCode::OwnRecord];
        assert_eq!(reason, expected[usize::from(own)], "{purpose}");
    }
}

#[test]
fn everything_considered_is_told() {
    let basis = Basis {
        policies: vec![policy(1, 1, deny())],
        grants: vec![grant(2, treat())],
        ..Basis::default()
    };
    let provider = reader(Role::Provider, 2);
    let considered = basis.considered(&Question {
        reader: &provider,
        record: &record(),
        purpose: Purpose::Hresch,
        project: None,
        times: &[now()],
    });
    let told: Vec<_> = considered
        .into_iter()
        .map(|rule| (Some(rule.rule), rule.decision, rule.misses))
        .collect();
    assert_eq!(
        told,
        [
            (policy_ref(1, 1), Decision::Deny, None),
            (
                grant_ref(2),
                Decision::Permit,
                Some(ReasonCode::PurposeNotCovered)
            ),
        ]
    );
}
