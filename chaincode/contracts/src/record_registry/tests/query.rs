use contract_interface::access::GrantPeriod;
use contract_interface::limits::PAGE_KEYS_SCANNED_MAX;
use contract_interface::names::{collections, transactions};
use contract_interface::record::ErasureBasis;
use contract_interface::{
    EraseRecord, ErrorCode, Grantee, PageRequest, PageToken, Purpose, Record, RecordFilter,
    RecordId, RecordPage, RecordWraps, Role, Rule, UtcTime,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

const NOTHING: [u8; 0] = [];
const LIST: &str = transactions::LIST_RECORDS;

/// Nine records of `Patient`, the `n`th ending `n` hours after 2026-01-01; every third one has
/// another type.
async fn world_with_records() -> World {
    let mut world = World::populated().await;
    let mut records: Vec<_> = (1..=9).map(|n| world.record(n)).collect();
    for record in records.iter_mut().step_by(3) {
        record.record_type = "8480-6".parse().unwrap();
    }
    // A long record: from before all others to the end of the fifth.
    records[4].period.start = "2025-01-01T00:00:00Z".parse().unwrap();
    let tx = world.register_records(&records);
    world.ok(Oracle1, tx).await;
    world
}

fn filter() -> RecordFilter {
    RecordFilter {
        patient: Patient.pseudonym(),
        record_type: None,
        from: None,
        to: None,
        page: PageRequest::default(),
    }
}

fn hour(n: i64) -> Option<UtcTime> {
    Some(UtcTime::from_unix_seconds(1_767_225_600 + n * 3600).unwrap())
}

fn number(record: &Record) -> u8 {
    record.metadata.record_id.as_bytes()[3]
}

async fn listed(
    world: &mut World,
    make: impl Fn(&RecordFilter) -> (Who, Tx),
    mut filter: RecordFilter,
) -> Vec<u8> {
    let mut numbers = Vec::new();
    loop {
        let (who, tx) = make(&filter);
        let page: RecordPage = world.get(who, tx).await;
        assert!(page.records.len() <= filter.page.items().unwrap());
        numbers.extend(page.records.iter().map(number));
        match page.next_page_token {
            Some(token) => filter.page.page_token = Some(token),
            None => return numbers,
        }
    }
}

fn as_oracle(filter: &RecordFilter) -> (Who, Tx) {
    (Oracle2, query(LIST, filter))
}

#[tokio::test]
async fn records_are_found_by_patient_type_and_period_in_pages() {
    let mut world = world_with_records().await;
    let typed = |code: &str| RecordFilter {
        record_type: Some(code.parse().unwrap()),
        ..filter()
    };
    let period = |from, to| RecordFilter {
        from,
        to,
        ..filter()
    };
    let cases = [
        (filter(), vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (typed("8480-6"), vec![1, 4, 7]),
        (typed("8867-4"), vec![2, 3, 5, 6, 8, 9]),
        (typed("8867"), vec![]),
        (period(hour(7), None), vec![7, 8, 9]),
        (period(hour(20), None), vec![]),
        (period(None, hour(1)), vec![1, 2, 5]),
        (period(hour(3), hour(3)), vec![3, 4, 5]),
        (period(hour(-100), hour(-50)), vec![5]),
        (period(hour(6), hour(5)), vec![6]),
        (
            RecordFilter {
                record_type: Some("8480-6".parse().unwrap()),
                ..period(hour(2), None)
            },
            vec![4, 7],
        ),
        (
            RecordFilter {
                patient: OtherPatient.pseudonym(),
                ..filter()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        for page_size in [1, 2, 4, 200] {
            let page = PageRequest {
                page_size: Some(page_size),
                page_token: None,
            };
            let filter = RecordFilter {
                page,
                ..filter.clone()
            };
            assert_eq!(
                listed(&mut world, as_oracle, filter.clone()).await,
                expected,
                "{filter:?}"
            );
        }
    }
}

#[tokio::test]
async fn tokens_and_page_sizes_are_checked() {
    let mut world = world_with_records().await;
    for size in [0, 201, u16::MAX] {
        let page = PageRequest {
            page_size: Some(size),
            page_token: None,
        };
        let tx = query(LIST, &RecordFilter { page, ..filter() });
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
    let one = PageRequest {
        page_size: Some(1),
        page_token: None,
    };
    let first: RecordPage = world
        .get(
            Oracle1,
            query(
                LIST,
                &RecordFilter {
                    page: one,
                    ..filter()
                },
            ),
        )
        .await;
    let token = first.next_page_token.unwrap();
    let page = |token| PageRequest {
        page_size: None,
        page_token: Some(token),
    };
    for filter in [
        RecordFilter {
            patient: OtherPatient.pseudonym(),
            page: page(token.clone()),
            ..filter()
        },
        RecordFilter {
            record_type: Some("8480-6".parse().unwrap()),
            page: page(token.clone()),
            ..filter()
        },
        RecordFilter {
            from: hour(5),
            page: page(token),
            ..filter()
        },
        RecordFilter {
            page: page(PageToken::from_bytes("\0record~patient\0".as_bytes())),
            ..filter()
        },
    ] {
        world
            .refused(Oracle1, query(LIST, &filter), ErrorCode::PageTokenInvalid)
            .await;
    }
}

#[tokio::test]
async fn a_page_ends_after_enough_keys_even_if_nothing_was_shown() {
    let mut world = World::populated().await;
    for batch in 0..5 {
        let mut records: Vec<_> = (0..500)
            .map(|n| world.record(1 + batch * 500 + n))
            .collect();
        if batch == 4 {
            records.last_mut().unwrap().record_type = "8480-6".parse().unwrap();
        }
        let tx = world.register_records(&records);
        world.ok(Oracle1, tx).await;
    }
    let mut grant = world.grant(Grantee::Participant(Provider1.id()));
    grant.rule.types = vec!["8480-6".parse().unwrap()];
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    let ask = |filter: &RecordFilter| for_caller(query(LIST, filter), Provider1);
    let first: RecordPage = world.get(Oracle1, ask(&filter())).await;
    assert_eq!(first.records.len(), 0);
    let mut next = filter();
    next.page.page_token = first.next_page_token;
    assert!(next.page.page_token.is_some());
    let second: RecordPage = world.get(Oracle1, ask(&next)).await;
    assert_eq!((second.records.len(), second.next_page_token), (1, None));
}

#[tokio::test]
async fn who_sees_which_records() {
    let mut world = world_with_records().await;
    let of = |who: Who| move |filter: &RecordFilter| (who, query(LIST, filter));
    let through =
        |who: Who| move |filter: &RecordFilter| (Oracle1, for_caller(query(LIST, filter), who));
    let all: Vec<u8> = (1..=9).collect();
    for who in [Oracle1, Oracle2, Auditor1, Admin1, Patient] {
        assert_eq!(listed(&mut world, of(who), filter()).await, all, "{who:?}");
    }
    assert_eq!(listed(&mut world, through(Patient), filter()).await, all);
    assert_eq!(
        listed(&mut world, through(Auditor2), filter()).await,
        NOTHING,
        "of another organisation"
    );
    assert_eq!(
        listed(&mut world, through(Provider1), filter()).await,
        NOTHING,
        "without a grant"
    );
    let tx = query(LIST, &filter());
    world
        .refused(OtherPatient, tx.clone(), ErrorCode::Forbidden)
        .await;
    world
        .refused(Nobody, tx.clone(), ErrorCode::UnknownParticipant)
        .await;
    world
        .refused(
            Oracle1,
            for_caller(tx.clone(), Nobody),
            ErrorCode::UnknownParticipant,
        )
        .await;

    let mut grant = world.grant(Grantee::Role {
        msp_id: "Org1MSP".parse().unwrap(),
        role: Role::Provider,
    });
    grant.rule.types = vec!["8867-4".parse().unwrap()];
    grant.rule.data_period = Some(GrantPeriod {
        from: hour(0),
        until: hour(7),
    });
    let tx = world.grant_access(Patient, &grant);
    world.ok(Oracle1, tx).await;
    assert_eq!(
        listed(&mut world, through(Provider1), filter()).await,
        [2, 3, 6]
    );
    assert_eq!(
        listed(&mut world, through(Provider2), filter()).await,
        NOTHING
    );
    // A provider that evaluates by itself could state any time.
    let tx = query(LIST, &filter());
    world.refused(Provider1, tx, ErrorCode::Forbidden).await;

    world.now += 3600;
    assert_eq!(
        listed(&mut world, through(Provider1), filter()).await,
        NOTHING,
        "expired"
    );
}

#[tokio::test]
async fn one_record_is_shown_to_those_who_may_see_it() {
    let (mut world, record) = World::with_record().await;
    let tx = query_text(transactions::GET_RECORD, &record.record_id);
    for who in [Oracle1, Oracle2, Auditor1, Admin1, Patient] {
        let found: Record = world.get(who, tx.clone()).await;
        assert_eq!(found.metadata, record, "{who:?}");
    }
    for who in [Auditor2, OtherPatient, Provider1] {
        world.refused(who, tx.clone(), ErrorCode::Forbidden).await;
        world
            .refused(Oracle1, for_caller(tx.clone(), who), ErrorCode::Forbidden)
            .await;
    }
    let grant = world.grant(Grantee::Participant(Provider1.id()));
    let give = world.grant_access(Patient, &grant);
    world.ok(Oracle1, give).await;
    let found: Record = world.get(Oracle1, for_caller(tx.clone(), Provider1)).await;
    assert_eq!(found.metadata, record);
    world
        .refused(Provider1, tx.clone(), ErrorCode::Forbidden)
        .await;
    let end = world.revoke_access(Patient, grant.grant_id);
    world.ok(Oracle1, end).await;
    world
        .refused(
            Oracle1,
            for_caller(tx.clone(), Provider1),
            ErrorCode::Forbidden,
        )
        .await;

    world
        .refused(Nobody, tx, ErrorCode::UnknownParticipant)
        .await;
    let unknown = query_text(transactions::GET_RECORD, &RecordId::from_bytes([0; 16]));
    world
        .refused(Oracle1, unknown.clone(), ErrorCode::RecordNotFound)
        .await;
    world
        .refused(Nobody, unknown, ErrorCode::UnknownParticipant)
        .await;
    world
        .refused(
            Oracle1,
            query_text(transactions::GET_RECORD, &"1"),
            ErrorCode::InvalidArgument,
        )
        .await;
}

#[tokio::test]
async fn wrapped_keys_are_for_oracles() {
    let (mut world, record) = World::with_record().await;
    let tx = query_text(transactions::GET_WRAPS, &record.record_id);
    let found: RecordWraps = world.get(Oracle2, tx.clone()).await;
    assert_eq!(found, wraps(record.record_id));
    for who in [Patient, Provider1, Auditor1, Admin1, Nobody] {
        world.refused(who, tx.clone(), ErrorCode::Forbidden).await;
    }
    let unknown = query_text(transactions::GET_WRAPS, &RecordId::from_bytes([0; 16]));
    world
        .refused(Oracle1, unknown, ErrorCode::RecordNotFound)
        .await;
}

#[tokio::test]
async fn a_provider_sees_what_some_purpose_would_open_now() {
    let mut world = world_with_records().await;
    let through =
        |who: Who| move |filter: &RecordFilter| (Oracle1, for_caller(query(LIST, filter), who));
    let all: Vec<u8> = (1..=9).collect();
    let named = |who: Who| Grantee::Participant(who.id());
    // By a policy of the registrar, for payment.
    let mut rule = Rule::permit(named(Provider2), vec![Purpose::Hpaymt]);
    rule.types = vec!["8480-6".parse().unwrap()];
    let policy = world.policy_of(rule);
    let tx = world.set_policy(Admin1, &policy);
    world.ok(Oracle1, tx).await;
    assert_eq!(
        listed(&mut world, through(Provider2), filter()).await,
        [1, 4, 7]
    );
    // By a grant for a project.
    let mut rule = Rule::permit(named(Provider3), vec![Purpose::Hresch]);
    rule.project = Some("study".parse().unwrap());
    world.give(Patient, rule).await;
    assert_eq!(listed(&mut world, through(Provider3), filter()).await, all);
    // Not what is denied.
    let mut rule = Rule::deny(named(Provider3));
    rule.records = vec![world.record(2).record_id, world.record(9).record_id];
    world.give(Patient, rule).await;
    for page_size in [1, 4, 200] {
        let mut filter = filter();
        filter.page.page_size = Some(page_size);
        assert_eq!(
            listed(&mut world, through(Provider3), filter).await,
            [1, 3, 4, 5, 6, 7, 8]
        );
    }
    // Not by a grant for emergencies that nobody declared.
    let rule = Rule::permit(named(Provider1), vec![Purpose::Btg]);
    world.give(Patient, rule).await;
    assert_eq!(
        listed(&mut world, through(Provider1), filter()).await,
        NOTHING
    );
}

/// What ended long after the hour asked for is not looked at, however much there is; a long record
/// that began before is found for all that.
#[tokio::test]
async fn an_hours_records_are_one_page_whatever_came_later() {
    let mut world = World::populated().await;
    let later = u32::try_from(PAGE_KEYS_SCANNED_MAX).unwrap() + 100;
    let mut records: Vec<_> = (1..=later).map(|n| world.record(n)).collect();
    // Of those found, one is a day long to the second, and one ends after all others.
    records[24].period.start = records[0].period.end;
    records[30].period.start = records[5].period.start;
    let mut long = world.record(later + 1);
    long.period.start = records[0].period.start;
    let mut typed = world.record(later + 2);
    typed.period.start = records[0].period.start;
    typed.record_type = "8480-6".parse().unwrap();
    records.extend([long.clone(), typed.clone()]);
    for batch in records.chunks(500) {
        let tx = world.register_records(batch);
        world.ok(Oracle1, tx).await;
    }
    let at = |records: &[Record]| -> Vec<RecordId> {
        records.iter().map(|r| r.metadata.record_id).collect()
    };
    let id = |n: usize| records[n - 1].record_id;
    let of_hour = RecordFilter {
        from: hour(1),
        to: hour(1),
        ..filter()
    };
    let page: RecordPage = world.get(Oracle2, query(LIST, &of_hour)).await;
    let expected = [id(1), id(2), id(25), long.record_id, typed.record_id];
    assert_eq!(at(&page.records), expected);
    assert_eq!(page.next_page_token, None);
    let of_type = RecordFilter {
        record_type: Some("8480-6".parse().unwrap()),
        ..of_hour.clone()
    };
    let page: RecordPage = world.get(Oracle2, query(LIST, &of_type)).await;
    assert_eq!(at(&page.records), [typed.record_id]);
    // Pages go on from one index into the other.
    let mut small = of_hour.clone();
    small.page.page_size = Some(2);
    let numbers = listed(&mut world, as_oracle, small).await;
    assert_eq!(numbers.len(), expected.len());
    // An erased long record leaves its index too.
    let request = world.request(EraseRecord {
        record_id: long.record_id,
        basis: ErasureBasis::PatientRequest,
    });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
    let keys = world.ledger.private_keys(collections::RECORDS);
    let long_id = long.record_id.to_string();
    let left = keys.iter().filter(|key| key.contains(&long_id));
    assert_eq!(left.count(), 0);
    assert!(keys.iter().any(|key| key.starts_with("\0record~long\0")));
}
