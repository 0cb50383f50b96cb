//! Attacks on time: who submits a transaction chooses the time that it bears.

use contract_interface::{
    AuthorizeRead, ErrorCode, Grantee, OrganizationClock, ReasonCode, RecordFilter, RecordPage,
    names::{transactions, transient},
};
use fabric_gateway::Call;
use salus_tests::{consortium::Person, system::Platform};

use super::{Scene, carrying, permit, seconds_from_now};
use crate::rogue::{Ordered, Refusal, Rogue};

/// The test's present: so many seconds from now. Both clocks are set to it, so that a grant which
/// was given now has ended by then. Real peers refuse proposals that are off by 15 minutes, so
/// everything lies within that; contracts refuse beyond 5.
const PRESENT: i64 = 400;
/// When the grant under attack ends.
const ENDS: i64 = 80;
/// A time at which the grant stands, more than 5 minutes before the present.
const BEFORE_THE_END: i64 = 40;
/// A time more than 5 minutes after the present.
const AHEAD: i64 = 800;

pub(super) async fn attack(platform: Platform) {
    let scene = Scene::start(platform).await;
    let grantee = Grantee::Participant(scene.running.cast.provider_id);
    let grant = permit(grantee, seconds_from_now(-3600), seconds_from_now(ENDS));
    scene.give(0, &grant).await;
    let jws = scene.oracle.sign(&scene.provider(), scene.read_request());
    let outcome = scene.carry(transactions::AUTHORIZE_READ, &jws).await;
    let entry = scene.recorded("while the grant stands", outcome).await;
    assert_eq!(entry.reason, ReasonCode::Granted);
    clocks_stand(&scene).await;
    an_expired_grant(&scene).await;
    an_evaluation(&scene).await;
    a_clock_turned_back(&scene).await;
    scene.running.system.stop().await.unwrap();
}

/// Both organisations' oracles state the time.
async fn clocks_stand(scene: &Scene) {
    for oracle in [&scene.oracle, &scene.other_oracle] {
        let ordered = tick(oracle, PRESENT, PRESENT).await.unwrap();
        assert_eq!(ordered.code, 0);
        let clock: OrganizationClock = ordered.json();
        assert_eq!(clock.msp_id.as_str(), oracle.identity.msp_id().as_ref());
    }
}

/// States a time, in a transaction of a time.
async fn tick(rogue: &Rogue, stated: i64, submitted: i64) -> Result<Ordered, Refusal> {
    let stated = seconds_from_now(stated).to_string();
    let submitted = seconds_from_now(submitted).unix_seconds();
    let call = Call::new(transactions::TICK).argument(stated);
    rogue.submit_at(call, Some(submitted)).await
}

/// A reader and an oracle who go together: each case is a time that the reader signs and a time
/// that the transaction bears.
async fn an_expired_grant(scene: &Scene) {
    let cases = [
        ("honest times", PRESENT, PRESENT, ReasonCode::GrantExpired),
        (
            "a back-dated transaction",
            PRESENT,
            BEFORE_THE_END,
            ReasonCode::TimeRefused,
        ),
        (
            "a back-dated request",
            BEFORE_THE_END,
            PRESENT,
            ReasonCode::RequestStale,
        ),
        (
            "a back-dated request and transaction",
            BEFORE_THE_END,
            BEFORE_THE_END,
            ReasonCode::TimeRefused,
        ),
        (
            "a transaction dated forward",
            PRESENT,
            AHEAD,
            ReasonCode::RequestStale,
        ),
        (
            "a request dated forward",
            AHEAD,
            PRESENT,
            ReasonCode::RequestStale,
        ),
        (
            "a request and transaction dated forward",
            AHEAD,
            AHEAD,
            ReasonCode::GrantExpired,
        ),
    ];
    for (case, signed, submitted, reason) in cases {
        let iat = seconds_from_now(signed);
        let jws = scene
            .oracle
            .sign_at(&scene.provider(), iat, scene.read_request());
        let time = seconds_from_now(submitted).unix_seconds();
        let call = carrying(transactions::AUTHORIZE_READ, &jws);
        let outcome = scene.oracle.submit_at(call, Some(time)).await;
        let entry = scene.recorded(case, outcome).await;
        assert_eq!(entry.decision, contract_interface::Decision::Deny, "{case}");
        // A transaction that is both stale and refused by the clocks may be either.
        let either = [ReasonCode::TimeRefused, ReasonCode::RequestStale];
        assert!(
            entry.reason == reason || (either.contains(&reason) && either.contains(&entry.reason)),
            "{case}: {}",
            entry.reason
        );
        assert_eq!(entry.tx_time.unix_seconds(), time, "{case}");
    }
}

/// What is only evaluated bears any time that its caller likes, and releases nothing.
async fn an_evaluation(scene: &Scene) {
    let info = scene.running.system.network.info();
    let time = Some(seconds_from_now(BEFORE_THE_END).unix_seconds());
    let provider = Rogue::at(info, 1, &scene.running.cast.provider);
    let filter = RecordFilter {
        patient: scene.running.cast.patients[0].pseudonym,
        record_type: None,
        from: None,
        to: None,
        page: contract_interface::PageRequest::default(),
    };
    let list = Call::new(transactions::LIST_RECORDS).argument(serde_json::to_vec(&filter).unwrap());
    match provider.evaluate_at(list, time).await {
        Ok(page) => {
            let page: RecordPage = serde_json::from_slice(&page).unwrap();
            assert!(page.records.is_empty(), "a provider sees by going back");
        }
        Err(refusal) => assert_eq!(refusal.code, Some(ErrorCode::Forbidden)),
    }
    for transaction in [transactions::GET_RECORD, transactions::GET_WRAPS] {
        let call = Call::new(transaction).argument(scene.record.to_string());
        let refusal = provider.evaluate_at(call, time).await;
        let refusal = refusal.expect_err(transaction);
        assert!(
            matches!(
                refusal.code,
                Some(ErrorCode::Forbidden | ErrorCode::RecordNotFound)
            ),
            "{transaction}: {}",
            refusal.text
        );
    }
    // Nor in the name of somebody else.
    let oracle: Person = scene.other_oracle_keys.clone();
    let certificate = std::fs::read(oracle.certificate_file().unwrap()).unwrap();
    let call = Call::new(transactions::GET_WRAPS)
        .argument(scene.record.to_string())
        .transient(transient::CALLER, certificate);
    provider.evaluate_at(call, time).await.unwrap_err();

    // An evaluated decision is not on the ledger, so no honest oracle acts on it.
    let before = scene.reads().await;
    let iat = seconds_from_now(BEFORE_THE_END);
    let body: AuthorizeRead = scene.read_request();
    let jws = scene.oracle.sign_at(&scene.provider(), iat, body);
    let call = carrying(transactions::AUTHORIZE_READ, &jws).transient(transient::SALT, [7; 31]);
    let _ = scene.oracle.evaluate_at(call, time).await;
    assert_eq!(scene.reads().await, before);
    // The honest oracle, given the back-dated request, records a denial by its own time.
    let provider = scene.running.cast.provider.clone();
    let answer = scene.ask(&provider, &scene.record, &jws).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
}

/// Clocks go forward only, by their own organisation's oracle, and by the transaction's time.
async fn a_clock_turned_back(scene: &Scene) {
    let cases = [
        ("back", PRESENT - 100, PRESENT, ErrorCode::TimeRefused),
        (
            "back with its transaction",
            BEFORE_THE_END,
            BEFORE_THE_END,
            ErrorCode::TimeRefused,
        ),
        ("far ahead", 86_400, PRESENT, ErrorCode::InvalidArgument),
    ];
    for (case, stated, submitted, code) in cases {
        let refusal = tick(&scene.oracle, stated, submitted).await;
        let refusal = refusal.expect_err(case);
        assert_eq!(refusal.code, Some(code), "{case}: {}", refusal.text);
    }
    let info = scene.running.system.network.info();
    let provider = Rogue::at(info, 1, &scene.running.cast.provider);
    let refusal = tick(&provider, PRESENT, PRESENT)
        .await
        .expect_err("a provider's tick");
    assert_eq!(refusal.code, Some(ErrorCode::Forbidden), "{}", refusal.text);
}
