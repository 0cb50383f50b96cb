//! Every dimension of a rule.

use super::*;
use crate::ids::ProjectCode;

fn misses(rule: &Rule, record: &RecordPrivate) -> Option<ReasonCode> {
    rule.misses(&reader(Role::Provider, 2), record, Purpose::Treat, None)
}

/// A record with every member that a rule may ask for.
fn labelled() -> RecordPrivate {
    RecordPrivate {
        context: Some("visit-1".parse().unwrap()),
        confidentiality: Confidentiality::R,
        sensitivity: vec!["PSY".parse().unwrap(), "HIV".parse().unwrap()],
        ..record()
    }
}

#[test]
fn a_permit_applies_where_each_of_its_dimensions_does() {
    use ReasonCode::{
        GranteeMismatch, LabelNotCovered, PeriodNotCovered, PurposeNotCovered, TypeNotCovered,
    };
    type Change = fn(&mut Rule);
    let cases: [(&str, Change, Option<ReasonCode>); 27] = [
        ("as it is", |_| {}, None),
        (
            "its type",
            |r| r.types = vec!["8867-4".parse().unwrap()],
            None,
        ),
        (
            "another type",
            |r| r.types = vec!["8867-5".parse().unwrap()],
            Some(TypeNotCovered),
        ),
        (
            "its ID",
            |r| r.records = vec![RecordId::from_bytes([1; 16])],
            None,
        ),
        (
            "another ID",
            |r| r.records = vec![RecordId::from_bytes([2; 16])],
            Some(TypeNotCovered),
        ),
        (
            "its ID of another type",
            |r| {
                r.records = vec![RecordId::from_bytes([1; 16])];
                r.types = vec!["8867-5".parse().unwrap()];
            },
            Some(TypeNotCovered),
        ),
        (
            "its device",
            |r| r.authors = vec![Author::Device("d".parse().unwrap())],
            None,
        ),
        (
            "another device",
            |r| r.authors = vec![Author::Device("e".parse().unwrap())],
            Some(TypeNotCovered),
        ),
        (
            "its registrar",
            |r| r.authors = vec![Author::Organization(org(1))],
            None,
        ),
        (
            "a person",
            |r| r.authors = vec![Author::Participant(READER)],
            Some(TypeNotCovered),
        ),
        (
            "one of two authors",
            |r| r.authors = vec![Author::Participant(READER), Author::Organization(org(1))],
            None,
        ),
        (
            "its context",
            |r| r.contexts = vec!["visit-1".parse().unwrap()],
            None,
        ),
        (
            "another context",
            |r| r.contexts = vec!["visit-2".parse().unwrap()],
            Some(TypeNotCovered),
        ),
        (
            "its confidentiality",
            |r| r.labels = vec![SecurityLabel::Confidentiality(Confidentiality::R)],
            None,
        ),
        (
            "a lower one",
            |r| r.labels = vec![SecurityLabel::Confidentiality(Confidentiality::N)],
            Some(LabelNotCovered),
        ),
        (
            "a sensitivity",
            |r| r.labels = vec![SecurityLabel::Sensitivity("HIV".parse().unwrap())],
            None,
        ),
        (
            "another sensitivity",
            |r| r.labels = vec![SecurityLabel::Sensitivity("ETH".parse().unwrap())],
            Some(LabelNotCovered),
        ),
        (
            "up to normal",
            |r| r.confidentiality = Some(Confidentiality::N),
            Some(LabelNotCovered),
        ),
        (
            "up to restricted",
            |r| r.confidentiality = Some(Confidentiality::R),
            None,
        ),
        (
            "up to very restricted",
            |r| r.confidentiality = Some(Confidentiality::V),
            None,
        ),
        (
            "an open period",
            |r| {
                r.data_period = Some(GrantPeriod {
                    from: None,
                    until: None,
                })
            },
            None,
        ),
        (
            "a period that ends with the last reading",
            |r| {
                let until = Some(time("2026-01-20T00:00:00Z"));
                r.data_period = Some(GrantPeriod { from: None, until });
            },
            Some(PeriodNotCovered),
        ),
        (
            "a period that starts a second late",
            |r| {
                let from = Some(time("2026-01-10T00:00:01Z"));
                r.data_period = Some(GrantPeriod { from, until: None });
            },
            Some(PeriodNotCovered),
        ),
        (
            "just the period",
            |r| {
                r.data_period = Some(GrantPeriod {
                    from: Some(time("2026-01-10T00:00:00Z")),
                    until: Some(time("2026-01-20T00:00:01Z")),
                });
            },
            None,
        ),
        (
            "another purpose",
            |r| r.purposes = vec![Purpose::Hresch],
            Some(PurposeNotCovered),
        ),
        (
            "a project",
            |r| r.project = Some("study".parse().unwrap()),
            Some(PurposeNotCovered),
        ),
        (
            "another reader",
            |r| r.grantee = Grantee::Participant(ParticipantId::from_bytes([9; 16])),
            Some(GranteeMismatch),
        ),
    ];
    for (name, change, expected) in cases {
        let mut rule = treat();
        change(&mut rule);
        assert_eq!(misses(&rule, &labelled()), expected, "{name}");
    }
}

#[test]
fn data_without_a_member_is_not_selected_by_it() {
    let mut rule = treat();
    rule.contexts = vec!["visit-1".parse().unwrap()];
    assert_eq!(misses(&rule, &record()), Some(ReasonCode::TypeNotCovered));
    let mut rule = treat();
    rule.labels = vec![SecurityLabel::Sensitivity("PSY".parse().unwrap())];
    assert_eq!(misses(&rule, &record()), Some(ReasonCode::LabelNotCovered));
    let by_person = RecordPrivate {
        source: Source::ParticipantId(READER),
        ..record()
    };
    let mut rule = treat();
    rule.authors = vec![Author::Participant(READER)];
    assert_eq!(misses(&rule, &by_person), None);
}

#[test]
fn a_denial_touches_what_a_permit_must_cover() {
    let period = |from: &str, until: &str| {
        let (from, until) = (Some(time(from)), Some(time(until)));
        Some(GrantPeriod { from, until })
    };
    for (data_period, permitted, denied) in [
        (None, true, true),
        (
            period("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            true,
            true,
        ),
        (
            period("2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"),
            false,
            true,
        ),
        (
            period("2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z"),
            false,
            true,
        ),
        (
            period("2026-01-12T00:00:00Z", "2026-01-13T00:00:00Z"),
            false,
            true,
        ),
        (
            period("2026-01-20T00:00:00Z", "2026-02-01T00:00:00Z"),
            false,
            true,
        ),
        (
            period("2026-01-20T00:00:01Z", "2026-02-01T00:00:00Z"),
            false,
            false,
        ),
        (
            period("2026-01-01T00:00:00Z", "2026-01-10T00:00:00Z"),
            false,
            false,
        ),
    ] {
        let (mut permit, mut denial) = (treat(), deny());
        permit.data_period = data_period;
        denial.data_period = data_period;
        assert_eq!(
            misses(&permit, &record()).is_none(),
            permitted,
            "{data_period:?}"
        );
        assert_eq!(
            misses(&denial, &record()).is_none(),
            denied,
            "{data_period:?}"
        );
    }
}

#[test]
fn a_denial_without_purposes_is_for_all_but_emergencies() {
    let provider = reader(Role::Provider, 2);
    for purpose in Purpose::ALL {
        let missed = deny().misses(&provider, &record(), purpose, None);
        assert_eq!(missed.is_none(), purpose != Purpose::Btg, "{purpose}");
        let mut named = deny();
        named.purposes = vec![Purpose::Btg];
        let missed = named.misses(&provider, &record(), purpose, None);
        assert_eq!(missed.is_none(), purpose == Purpose::Btg, "{purpose}");
    }
}

#[test]
fn a_denial_of_a_version_is_for_all_and_a_permit_is_not() {
    let provider = reader(Role::Provider, 2);
    let other = vec![RecordId::from_bytes([0xee; 16])];
    let denial = Rule {
        records: other.clone(),
        ..deny()
    };
    let permit = Rule {
        records: other,
        ..treat()
    };
    let purpose = Purpose::Treat;
    for (rule, applies) in [(&denial, true), (&permit, false)] {
        let missed = rule.misses(&provider, &record(), purpose, None);
        assert_eq!(missed, Some(ReasonCode::TypeNotCovered));
        let missed = rule.misses_version(&provider, &record(), purpose, None);
        assert_eq!(missed.is_none(), applies);
    }
    // All else that the denial names is asked for still.
    let elsewhere = Rule {
        types: vec!["8480-6".parse().unwrap()],
        ..denial
    };
    let missed = elsewhere.misses_version(&provider, &record(), purpose, None);
    assert_eq!(missed, Some(ReasonCode::TypeNotCovered));
}

#[test]
fn a_project_opens_its_own_door_only() {
    let project = |text: &str| text.parse::<ProjectCode>().unwrap();
    let mut named = treat();
    named.project = Some(project("a"));
    for (rule, asked, applies) in [
        (&treat(), None, true),
        (&treat(), Some(project("a")), true),
        (&named, None, false),
        (&named, Some(project("a")), true),
        (&named, Some(project("b")), false),
    ] {
        let provider = reader(Role::Provider, 2);
        let missed = rule.misses(&provider, &record(), Purpose::Treat, asked.as_ref());
        assert_eq!(missed.is_none(), applies, "{asked:?}");
    }
}

#[test]
fn grantees_include_whom_they_name() {
    let role = |role| Grantee::Role {
        msp_id: org(1),
        role,
    };
    let me = Grantee::Participant(READER);
    let organization = Grantee::Organization(org(1));
    for (grantee, reader, included) in [
        (&me, reader(Role::Provider, 2), true),
        (&organization, reader(Role::Provider, 1), true),
        (&organization, reader(Role::Provider, 2), false),
        (&organization, reader(Role::Admin, 1), false),
        (&role(Role::Provider), reader(Role::Provider, 1), true),
        (&role(Role::Provider), reader(Role::Provider, 2), false),
        (&role(Role::Provider), reader(Role::Auditor, 1), false),
        (&Grantee::Anyone, reader(Role::Provider, 2), true),
        (&Grantee::Anyone, reader(Role::Patient, 1), false),
        (&Grantee::Anyone, reader(Role::Oracle, 1), false),
    ] {
        assert_eq!(
            grantee.includes(&reader),
            included,
            "{grantee:?} {reader:?}"
        );
        let all = Grantee::all_of(&reader);
        assert_eq!(all.contains(grantee), included, "{grantee:?} {reader:?}");
    }
}

#[test]
fn a_rule_must_make_sense() {
    type Change = fn(&mut Rule);
    let types = |n: u8| (0..n).map(|n| format!("t{n}").parse().unwrap()).collect();
    let cases: [(&str, bool, Change); 13] = [
        ("as it is", true, |_| {}),
        ("a type twice", false, |r| {
            r.types = vec!["a".parse().unwrap(), "a".parse().unwrap()];
        }),
        ("65 records", false, |r| {
            r.records = (0..65).map(|n| RecordId::from_bytes([n; 16])).collect();
        }),
        ("16 authors", true, |r| {
            r.authors = (0..16)
                .map(|n| Author::Participant(ParticipantId::from_bytes([n; 16])))
                .collect();
        }),
        ("17 authors", false, |r| {
            r.authors = (0..17)
                .map(|n| Author::Participant(ParticipantId::from_bytes([n; 16])))
                .collect();
        }),
        ("17 contexts", false, |r| {
            r.contexts = (0..17).map(|n| format!("c{n}").parse().unwrap()).collect();
        }),
        ("a label twice", false, |r| {
            r.labels = vec![SecurityLabel::Confidentiality(Confidentiality::R); 2];
        }),
        ("no purpose", false, |r| r.purposes.clear()),
        ("a purpose twice", false, |r| {
            r.purposes = vec![Purpose::Treat, Purpose::Treat];
        }),
        ("an empty data period", false, |r| {
            let at = Some(time("2026-01-01T00:00:00Z"));
            r.data_period = Some(GrantPeriod {
                from: at,
                until: at,
            });
        }),
        ("a role that does not read", false, |r| {
            r.grantee = Grantee::Role {
                msp_id: org(1),
                role: Role::Oracle,
            };
        }),
        ("a denial without purposes", true, |r| {
            r.decision = Decision::Deny;
            r.purposes.clear();
        }),
        ("a denial up to a ceiling", false, |r| {
            r.decision = Decision::Deny;
            r.confidentiality = Some(Confidentiality::N);
        }),
    ];
    for (name, good, change) in cases {
        let mut rule = treat();
        change(&mut rule);
        assert_eq!(rule.validate().is_ok(), good, "{name}");
    }
    for (number, good) in [(64, true), (65, false)] {
        let mut rule = treat();
        rule.types = types(number);
        assert_eq!(rule.validate().is_ok(), good, "{number} types");
    }
}
