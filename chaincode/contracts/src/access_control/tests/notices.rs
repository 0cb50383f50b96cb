use contract_interface::access::{Happening, Notice, NoticeFilter, NoticePage, Recipient};
use contract_interface::names::{collections, transactions};
use contract_interface::{ErrorCode, Grantee, PageRequest, Rule, UtcTime};

use crate::testing::Who::*;
use crate::testing::*;

async fn page(world: &mut World, who: Who, filter: &NoticeFilter) -> NoticePage {
    let tx = for_caller(query(transactions::LIST_NOTICES, filter), who);
    world.get(Oracle1, tx).await
}

async fn all(world: &mut World, who: Who) -> Vec<Notice> {
    page(world, who, &NoticeFilter::default()).await.notices
}

fn whats(notices: &[Notice]) -> Vec<Happening> {
    notices.iter().map(|n| n.happening.clone()).collect()
}

/// Permits to `Provider1` by name, by role, by organisation and by being a provider, one second
/// after the other.
async fn four_grants(world: &mut World) -> Vec<Happening> {
    let msp_id: contract_interface::MspId = "Org1MSP".parse().unwrap();
    let mut given = Vec::new();
    for grantee in [
        Grantee::Participant(Provider1.id()),
        Grantee::Role {
            msp_id: msp_id.clone(),
            role: contract_interface::Role::Provider,
        },
        Grantee::Organization(msp_id),
        Grantee::Anyone,
    ] {
        let rule = Rule::permit(grantee, vec![contract_interface::Purpose::Treat]);
        let grant = world.give(Patient, rule).await;
        given.push(Happening::GrantGiven {
            grant_id: grant.grant_id,
        });
        world.now += 1;
    }
    given
}

#[tokio::test]
async fn who_holds_a_grant_is_told_by_whatever_it_is_held() {
    let mut world = World::populated().await;
    let given = four_grants(&mut world).await;
    let notices = all(&mut world, Provider1).await;
    assert_eq!(whats(&notices), given);
    assert!(notices.iter().all(|notice| notice.salt.is_none()));
    assert_eq!(whats(&all(&mut world, Provider3).await), given[1..]);
    assert_eq!(whats(&all(&mut world, Provider2).await), given[3..]);
    for who in [Patient, Auditor1, OtherPatient] {
        assert_eq!(all(&mut world, who).await, [], "{who:?}");
    }
    let tx = query(transactions::LIST_NOTICES, &NoticeFilter::default());
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
}

#[tokio::test]
async fn pages_follow_the_time_across_recipients() {
    let mut world = World::populated().await;
    let given = four_grants(&mut world).await;
    for size in 1..=4 {
        let mut filter = NoticeFilter::default();
        filter.page.page_size = Some(size);
        let mut told = Vec::new();
        loop {
            let page = page(&mut world, Provider1, &filter).await;
            assert!(page.notices.len() <= usize::from(size));
            told.extend(page.notices);
            match page.next_page_token {
                Some(token) => filter.page.page_token = Some(token),
                None => break,
            }
        }
        assert_eq!(whats(&told), given, "{size}");
    }
    let later = NoticeFilter {
        from: Some(world.time(-2)),
        ..NoticeFilter::default()
    };
    let later = page(&mut world, Provider1, &later).await.notices;
    assert_eq!(whats(&later), given[2..]);
}

#[tokio::test]
async fn a_page_token_serves_its_reader_and_filter_only() {
    let mut world = World::populated().await;
    four_grants(&mut world).await;
    let mut filter = NoticeFilter::default();
    filter.page.page_size = Some(1);
    let token = page(&mut world, Provider1, &filter).await.next_page_token;
    filter.page.page_token = token;
    let tx = query(transactions::LIST_NOTICES, &filter);
    let foreign = ErrorCode::PageTokenInvalid;
    let others = for_caller(tx.clone(), Provider3);
    world.refused(Oracle1, others, foreign).await;
    filter.from = Some(UtcTime::MIN);
    let tx = for_caller(query(transactions::LIST_NOTICES, &filter), Provider1);
    world.refused(Oracle1, tx, foreign).await;
    let page = PageRequest {
        page_size: Some(0),
        page_token: None,
    };
    let tx = query(
        transactions::LIST_NOTICES,
        &NoticeFilter { from: None, page },
    );
    let tx = for_caller(tx, Provider1);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
}

#[tokio::test]
async fn a_grant_that_runs_out_is_told_from_then_on() {
    let mut world = World::populated().await;
    let rule = Rule::permit(
        Grantee::Participant(Provider1.id()),
        vec![contract_interface::Purpose::Treat],
    );
    let grant = world.give(Patient, rule).await;
    let grant_id = grant.grant_id;
    let given = Happening::GrantGiven { grant_id };
    world.now += 3599;
    let told = whats(&all(&mut world, Provider1).await);
    assert_eq!(told, std::slice::from_ref(&given));
    world.now += 1;
    let notices = all(&mut world, Provider1).await;
    let expired = Happening::GrantExpired { grant_id };
    assert_eq!(whats(&notices), [given, expired]);
    assert_eq!(notices[1].at, grant.valid_until);
    assert_eq!(notices[1].patient, Patient.pseudonym());
    assert_eq!(notices[1].recipient, Recipient::Participant(Provider1.id()));
}

#[tokio::test]
async fn a_revoked_grant_does_not_run_out_any_more() {
    let mut world = World::populated().await;
    let rule = Rule::permit(
        Grantee::Participant(Provider1.id()),
        vec![contract_interface::Purpose::Treat],
    );
    let grant_id = world.give(Patient, rule).await.grant_id;
    world.now += 10;
    let tx = world.revoke_access(Patient, grant_id);
    world.ok(Oracle1, tx).await;
    world.now += 7200;
    assert_eq!(
        whats(&all(&mut world, Provider1).await),
        [
            Happening::GrantGiven { grant_id },
            Happening::GrantRevoked { grant_id }
        ]
    );
}

#[tokio::test]
async fn a_denial_is_not_told() {
    let mut world = World::populated().await;
    let rule = Rule::deny(Grantee::Participant(Provider1.id()));
    let grant = world.give(Patient, rule).await;
    let tx = world.revoke_access(Patient, grant.grant_id);
    world.ok(Oracle1, tx).await;
    world.now += 7200;
    assert_eq!(all(&mut world, Provider1).await, []);
    let keys = world.ledger.private_keys(collections::RECORDS);
    assert!(!keys.iter().any(|key| key.starts_with("\0notice\0")));
}
