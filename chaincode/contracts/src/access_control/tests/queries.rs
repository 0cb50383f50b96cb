//! Who may list which reads, and paging through them.

use contract_interface::names::transactions;
use contract_interface::{
    Digest, ErrorCode, PageRequest, PageToken, Purpose, ReadDecision, ReadEntry, ReadFilter,
    ReadPage, RecordId, UtcTime,
};

use crate::testing::Who::*;
use crate::testing::*;

const LIST: &str = transactions::LIST_READS;

/// Reads of one record: by `Patient`, `Provider1`, `Provider2`, `Provider1`, a minute apart.
async fn world_with_reads() -> (World, RecordId, Vec<UtcTime>) {
    let (mut world, record) = World::with_record().await;
    let mut times = Vec::new();
    for who in [Patient, Provider1, Provider2, Provider1] {
        times.push(world.time(0));
        world.read(who, record.record_id, Purpose::Treat).await;
        world.now += 60;
    }
    (world, record.record_id, times)
}

async fn listed(world: &mut World, who: Who, mut filter: ReadFilter) -> Vec<UtcTime> {
    let mut times = Vec::new();
    loop {
        let page: ReadPage = world.get(who, query(LIST, &filter)).await;
        times.extend(page.reads.iter().map(|read| read.requested_at));
        match page.next_page_token {
            Some(token) => filter.page.page_token = Some(token),
            None => return times,
        }
    }
}

#[tokio::test]
async fn reads_are_listed_to_those_whom_they_concern_in_order_of_time() {
    let (mut world, record, times) = world_with_reads().await;
    let of_patient = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let of_record = ReadFilter {
        record_id: Some(record),
        ..ReadFilter::default()
    };
    let by = |who: Who| ReadFilter {
        reader: Some(who.id()),
        ..ReadFilter::default()
    };
    let period = |from: Option<usize>, to: Option<usize>| ReadFilter {
        from: from.map(|n| times[n]),
        to: to.map(|n| times[n]),
        ..of_patient.clone()
    };
    let cases = [
        (Patient, of_patient.clone(), vec![0, 1, 2, 3]),
        (Oracle2, of_patient.clone(), vec![0, 1, 2, 3]),
        (Auditor1, of_patient.clone(), vec![0, 1, 2, 3]),
        (Admin1, of_patient.clone(), vec![0, 1, 2, 3]),
        (Auditor2, of_patient.clone(), vec![2]),
        (Provider1, of_patient.clone(), vec![1, 3]),
        (OtherPatient, of_patient.clone(), vec![]),
        (Patient, of_record.clone(), vec![0, 1, 2, 3]),
        (Provider2, of_record, vec![2]),
        (Provider1, by(Provider1), vec![1, 3]),
        (Patient, by(Provider1), vec![1, 3]),
        (Provider2, by(Provider1), vec![]),
        (
            Patient,
            ReadFilter {
                reader: Some(Provider2.id()),
                ..of_patient.clone()
            },
            vec![2],
        ),
        (Patient, period(Some(1), None), vec![1, 2, 3]),
        (Patient, period(None, Some(2)), vec![0, 1, 2]),
        (Patient, period(Some(1), Some(2)), vec![1, 2]),
        (Patient, period(Some(3), Some(1)), vec![]),
    ];
    for (who, filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|n| times[n]).collect();
        for page_size in [1, 2, 3, 50] {
            let page = PageRequest {
                page_size: Some(page_size),
                page_token: None,
            };
            let filter = ReadFilter {
                page,
                ..filter.clone()
            };
            assert_eq!(
                listed(&mut world, who, filter.clone()).await,
                expected,
                "{who:?} {filter:?}"
            );
        }
    }
    world
        .refused(
            Oracle1,
            query(LIST, &ReadFilter::default()),
            ErrorCode::InvalidArgument,
        )
        .await;
    let unknown = ReadFilter {
        record_id: Some(RecordId::from_bytes([0; 16])),
        ..ReadFilter::default()
    };
    assert_eq!(listed(&mut world, Oracle1, unknown).await, []);
}

#[tokio::test]
async fn callers_are_named_by_oracles_only_and_must_be_registered() {
    let (mut world, _, times) = world_with_reads().await;
    let filter = ReadFilter {
        patient: Some(Patient.pseudonym()),
        ..ReadFilter::default()
    };
    let tx = query(LIST, &filter);
    let page: ReadPage = world.get(Oracle1, for_caller(tx.clone(), Provider2)).await;
    assert_eq!(
        page.reads
            .iter()
            .map(|read| read.requested_at)
            .collect::<Vec<_>>(),
        [times[2]]
    );
    for who in [Provider1, Patient, Auditor1, Admin1, Nobody] {
        world
            .refused(who, for_caller(tx.clone(), Oracle1), ErrorCode::Forbidden)
            .await;
    }
    world
        .refused(
            Oracle1,
            for_caller(tx.clone(), Nobody),
            ErrorCode::UnknownParticipant,
        )
        .await;
    world
        .refused(Nobody, tx.clone(), ErrorCode::UnknownParticipant)
        .await;
    let garbage = tx.transient(
        contract_interface::names::transient::CALLER,
        "not a certificate",
    );
    world
        .refused(Oracle1, garbage, ErrorCode::InvalidArgument)
        .await;
}

#[tokio::test]
async fn a_token_serves_the_query_that_gave_it() {
    let (mut world, _, times) = world_with_reads().await;
    let page = PageRequest {
        page_size: Some(1),
        page_token: None,
    };
    let mine = ReadFilter {
        patient: Some(Patient.pseudonym()),
        page,
        ..ReadFilter::default()
    };
    let first: ReadPage = world.get(Patient, query(LIST, &mine)).await;
    let token = first.next_page_token.unwrap();
    let with = |token: PageToken, filter: &ReadFilter| ReadFilter {
        page: PageRequest {
            page_size: None,
            page_token: Some(token),
        },
        ..filter.clone()
    };
    let others = ReadFilter {
        patient: Some(OtherPatient.pseudonym()),
        ..mine.clone()
    };
    let narrower = ReadFilter {
        from: Some(times[2]),
        ..mine.clone()
    };
    for filter in [
        with(token.clone(), &others),
        with(token.clone(), &narrower),
        with(PageToken::from_bytes("\0read\0".as_bytes()), &mine),
        with("AAAA_w".parse().unwrap(), &mine),
    ] {
        world
            .refused(Oracle1, query(LIST, &filter), ErrorCode::PageTokenInvalid)
            .await;
    }
    let rest: ReadPage = world.get(Patient, query(LIST, &with(token, &mine))).await;
    assert_eq!(rest.reads.len(), 3);
}

#[tokio::test]
async fn a_period_alone_is_for_organisations_and_shows_each_read_once() {
    let (mut world, _, times) = world_with_reads().await;
    let period = |from: usize, to: usize| ReadFilter {
        from: Some(times[from]),
        to: Some(times[to]),
        ..ReadFilter::default()
    };
    for (who, filter, expected) in [
        (Auditor1, period(0, 3), vec![0, 1, 2, 3]),
        (Admin1, period(1, 2), vec![1, 2]),
        (Oracle1, period(0, 3), vec![0, 1, 2, 3]),
        (Auditor2, period(0, 3), vec![2]),
        (Oracle2, period(0, 3), vec![2]),
        (Oracle2, period(0, 1), vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|n| times[n]).collect();
        for page_size in [1, 2, 3, 50] {
            let mut filter = filter.clone();
            filter.page.page_size = Some(page_size);
            assert_eq!(listed(&mut world, who, filter).await, expected, "{who:?}");
        }
    }
    for who in [Patient, Provider1] {
        let tx = query(LIST, &period(0, 3));
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
    let open = ReadFilter {
        from: Some(times[0]),
        ..ReadFilter::default()
    };
    world
        .refused(Auditor1, query(LIST, &open), ErrorCode::InvalidArgument)
        .await;
}

#[tokio::test]
async fn one_read_is_shown_to_those_whom_it_concerns() {
    let (mut world, record) = World::with_record().await;
    let tx = world.authorize_read(Provider2, record.record_id, Purpose::Treat);
    let decision: ReadDecision = world.get(Oracle1, tx).await;
    let tx = query_text(transactions::GET_READ, &decision.read_id);
    for who in [Patient, Provider2, Oracle1, Oracle2, Auditor1, Auditor2] {
        let entry: ReadEntry = world.get(who, tx.clone()).await;
        assert_eq!(entry.reader, Provider2.id(), "{who:?}");
    }
    for who in [OtherPatient, Provider1] {
        world
            .refused(who, tx.clone(), ErrorCode::ReadNotFound)
            .await;
    }
    let unknown = query_text(transactions::GET_READ, &Digest::of(b"nothing"));
    world
        .refused(Oracle1, unknown, ErrorCode::ReadNotFound)
        .await;
}
