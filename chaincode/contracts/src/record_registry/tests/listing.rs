//! Lists of public halves.

use contract_interface::names::transactions;
use contract_interface::record::{ErasureBasis, RegisteredFilter, RegisteredPage};
use contract_interface::{
    EraseRecord, ErrorCode, RecordEntry, RecordId, RecordPrivate, RecordStatus,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

async fn registered(world: &mut World, who: Who, page_size: u16) -> Vec<RecordId> {
    let mut filter = RegisteredFilter::default();
    filter.page.page_size = Some(page_size);
    let mut ids = Vec::new();
    loop {
        let tx = query(transactions::LIST_REGISTERED, &filter);
        let page: RegisteredPage = world.get(who, tx).await;
        assert!(page.records.len() <= usize::from(page_size));
        ids.extend(page.records.iter().map(|record| record.record_id));
        match page.next_page_token {
            Some(token) => filter.page.page_token = Some(token),
            None => return ids,
        }
    }
}

/// Five records of the first organisation and two of the second, mixed in the order of IDs.
async fn with_records_of_both() -> (World, [Vec<RecordId>; 2]) {
    let mut world = World::populated().await;
    let tx = world.register_device(&world.device());
    world.ok(Oracle2, tx).await;
    let mut ids = [vec![], vec![]];
    for n in 1..=7 {
        let (oracle, index) = if n % 3 == 0 {
            (Oracle2, 1)
        } else {
            (Oracle1, 0)
        };
        let mut record = world.record(n);
        record.registrar = format!("Org{}MSP", index + 1).parse().unwrap();
        ids[index].push(record.record_id);
        let tx = world.register_records(&[record]);
        world.ok(oracle, tx).await;
    }
    (world, ids)
}

#[tokio::test]
async fn an_organization_lists_what_it_registered() {
    let (mut world, [first, second]) = with_records_of_both().await;
    for size in [1, 2, 3, 200] {
        assert_eq!(registered(&mut world, Oracle1, size).await, first, "{size}");
        assert_eq!(registered(&mut world, Oracle2, size).await, second);
        assert_eq!(registered(&mut world, Auditor1, size).await, first);
    }
    let tx = query(transactions::LIST_REGISTERED, &RegisteredFilter::default());
    for who in [Patient, Provider1] {
        world.refused(who, tx.clone(), ErrorCode::Forbidden).await;
    }
}

#[tokio::test]
async fn a_page_token_of_another_organization_serves_nobody() {
    let (mut world, _) = with_records_of_both().await;
    let mut filter = RegisteredFilter::default();
    filter.page.page_size = Some(1);
    let tx = query(transactions::LIST_REGISTERED, &filter);
    let page: RegisteredPage = world.get(Oracle1, tx).await;
    filter.page.page_token = page.next_page_token;
    let tx = query(transactions::LIST_REGISTERED, &filter);
    world
        .refused(Oracle2, tx, ErrorCode::PageTokenInvalid)
        .await;
}

fn amending(record: &RecordPrivate, previous: &RecordPrivate, version: u32) -> Tx {
    let entry = RecordEntry {
        version,
        previous: Some(previous.record_id),
        ..entry(record)
    };
    let wraps = [wraps(record.record_id)];
    register_raw(&[entry], std::slice::from_ref(record), &wraps)
}

#[tokio::test]
async fn versions_are_listed_from_the_first_and_erased_ones_are_among_them() {
    let (mut world, first) = World::with_record().await;
    let second = world.record(2);
    let third = world.record(3);
    world.ok(Oracle1, amending(&second, &first, 2)).await;
    world.ok(Oracle1, amending(&third, &second, 3)).await;
    let request = world.request(EraseRecord {
        record_id: second.record_id,
        basis: ErasureBasis::PatientRequest,
    });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;

    let tx = query_text(transactions::LIST_VERSIONS, &third.record_id);
    for who in [Oracle1, Oracle2, Patient, Provider2, Auditor2] {
        let page: RegisteredPage = world.get(who, tx.clone()).await;
        let found: Vec<_> = page
            .records
            .iter()
            .map(|found| (found.record_id, found.state.version, found.state.status))
            .collect();
        let expected = [
            (first.record_id, 1, RecordStatus::Amended),
            (second.record_id, 2, RecordStatus::Erased),
            (third.record_id, 3, RecordStatus::Active),
        ];
        assert_eq!(found, expected, "{who:?}");
    }
    let tx = query_text(transactions::LIST_VERSIONS, &second.record_id);
    let page: RegisteredPage = world.get(Oracle1, tx).await;
    assert_eq!(page.records.len(), 2);

    let unknown = query_text(transactions::LIST_VERSIONS, &RecordId::from_bytes([9; 16]));
    world
        .refused(Oracle1, unknown, ErrorCode::RecordNotFound)
        .await;
    let tx = query_text(transactions::LIST_VERSIONS, &third.record_id);
    world
        .refused(Nobody, tx, ErrorCode::UnknownParticipant)
        .await;
}
