use contract_interface::access::{PolicyChanged, PolicyFilter, PolicyPage};
use contract_interface::names::{events, transactions};
use contract_interface::{
    ErrorCode, GrantStatus, Grantee, MspId, PageRequest, PolicyId, Purpose, Rule, WithdrawPolicy,
};
use fabric_shim::testing::Tx;

use crate::testing::Who::*;
use crate::testing::*;

const LIST: &str = transactions::LIST_POLICIES;

fn org(n: u8) -> MspId {
    format!("Org{n}MSP").parse().unwrap()
}

fn filter(n: u8) -> PolicyFilter {
    PolicyFilter {
        msp_id: org(n),
        page: PageRequest::default(),
    }
}

fn withdraw(world: &mut World, signer: Who, policy_id: PolicyId) -> Tx {
    let request = world.request(WithdrawPolicy { policy_id });
    world.signed(signer, &request)
}

#[tokio::test]
async fn a_policy_is_set_and_withdrawn_by_an_administrator_of_its_organisation() {
    let mut world = World::populated().await;
    let policy = world.policy_of(Rule::deny(Grantee::Organization(org(2))));
    let tx = world.set_policy(Admin1, &policy);
    let result = world.ok(Oracle1, tx).await;
    let changed = PolicyChanged {
        policy_id: policy.policy_id,
    };
    let event = result.event.unwrap();
    assert_eq!(
        (event.name.as_str(), event.payload),
        (events::POLICY_CHANGED, json(&changed))
    );
    let page: PolicyPage = world.get(Admin1, query(LIST, &filter(1))).await;
    let entry = &page.policies[0];
    assert_eq!((&entry.policy, entry.set_by), (&policy, Admin1.id()));
    assert_eq!((entry.status, entry.version), (GrantStatus::Active, 1));

    let tx = world.set_policy(Admin1, &policy);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    let tx = withdraw(&mut world, Admin2, policy.policy_id);
    world.refused(Oracle2, tx, ErrorCode::PolicyNotFound).await;
    world.now += 5;
    let tx = withdraw(&mut world, Admin1, policy.policy_id);
    world.ok(Oracle1, tx).await;
    let page: PolicyPage = world.get(Admin1, query(LIST, &filter(1))).await;
    let entry = &page.policies[0];
    assert_eq!((entry.status, entry.version), (GrantStatus::Revoked, 2));
    assert_eq!(
        (entry.withdrawn_at, entry.requests.len()),
        (Some(world.time(0)), 2)
    );
    let tx = withdraw(&mut world, Admin1, policy.policy_id);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
}

#[tokio::test]
async fn nobody_else_sets_one_and_none_without_sense_is_set() {
    let mut world = World::populated().await;
    let good = world.policy_of(Rule::permit(Grantee::Anyone, vec![Purpose::Treat]));
    for signer in [Patient, Provider1, Auditor1, Oracle1] {
        let tx = world.set_policy(signer, &good);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    let mut ended = good.clone();
    ended.valid_until = Some(world.time(0));
    let mut backwards = good.clone();
    backwards.valid_until = Some(good.valid_from);
    let mut empty = good.clone();
    empty.rule.purposes = vec![];
    for policy in [ended, backwards, empty] {
        let tx = world.set_policy(Admin1, &policy);
        world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    }
}

#[tokio::test]
async fn policies_are_listed_to_those_whom_they_concern() {
    let mut world = World::populated().await;
    let own = world.policy_of(Rule::deny(Grantee::Participant(Provider3.id())));
    let other = world.policy_of(Rule::deny(Grantee::Organization(org(2))));
    let all = world.policy_of(Rule::deny(Grantee::Anyone));
    for policy in [&own, &other, &all] {
        let tx = world.set_policy(Admin1, policy);
        world.ok(Oracle1, tx).await;
    }
    for (who, expected) in [
        (Oracle2, vec![&own, &other, &all]),
        (Patient, vec![&own, &other, &all]),
        (Auditor1, vec![&own, &other, &all]),
        (Provider1, vec![&own, &other, &all]),
        (Provider2, vec![&other, &all]),
        (Admin2, vec![&other, &all]),
    ] {
        for page_size in [1, 50] {
            let mut filter = filter(1);
            filter.page.page_size = Some(page_size);
            let mut found = vec![];
            loop {
                let page: PolicyPage = world.get(who, query(LIST, &filter)).await;
                found.extend(page.policies.into_iter().map(|entry| entry.policy));
                match page.next_page_token {
                    Some(token) => filter.page.page_token = Some(token),
                    None => break,
                }
            }
            let mut expected: Vec<_> = expected.iter().map(|policy| policy.policy_id).collect();
            expected.sort_unstable();
            let found: Vec<_> = found.iter().map(|policy| policy.policy_id).collect();
            assert_eq!(found, expected, "{who:?}");
        }
    }
    let page: PolicyPage = world.get(Oracle1, query(LIST, &filter(2))).await;
    assert!(page.policies.is_empty());
}
