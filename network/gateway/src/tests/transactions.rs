//! Evaluating and submitting.

use std::time::Duration;

use fabric_msp::SigningIdentity;
use fabric_protos::gateway::ErrorDetail;
use fabric_protos::google::rpc;
use prost::Message as _;
use tonic::{Code, Status};

use super::fake_peer::{Answer, Running, Script, identity, start};
use crate::{
    Call, Committed, Contract, Endpoint, Gateway, RetryPolicy, RpcCode, TransactionError,
    ValidationCode,
};

const VALID: i32 = 0;
const MVCC: i32 = 11;

fn contract(peer: &Running, identity: &SigningIdentity) -> Contract {
    peer.gateway(identity)
        .network("mychannel")
        .contract("salus")
}

fn unavailable() -> Status {
    Status::unavailable("no orderers could successfully process transaction")
}

fn refused(code: Code, detail: &str) -> Status {
    let detail = ErrorDetail {
        address: "peer0.org2.example.com:9051".to_owned(),
        msp_id: "Org2MSP".to_owned(),
        message: detail.to_owned(),
    };
    let status = rpc::Status {
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(),
            value: detail.encode_to_vec(),
        }],
        ..rpc::Status::default()
    };
    let text = "failed to endorse transaction, see attached details for more info";
    Status::with_details(code, text, status.encode_to_vec().into())
}

/// A peer that endorses and then meets `submit` and `commit_status`.
async fn submitting(
    submit: impl IntoIterator<Item = Answer<()>>,
    commit_status: impl IntoIterator<Item = Answer<(i32, u64)>>,
) -> Running {
    start(Script {
        endorse: [Answer::Is(b"result".to_vec())].into(),
        submit: submit.into_iter().collect(),
        commit_status: commit_status.into_iter().collect(),
        ..Script::default()
    })
    .await
}

#[tokio::test]
async fn a_query_carries_everything_signed() {
    let peer = start(Script {
        evaluate: [Answer::Is(b"answer".to_vec())].into(),
        ..Script::default()
    })
    .await;
    let identity = identity();
    let organization = identity.msp_id().clone();
    let call = Call::new("GetRecord")
        .argument("id")
        .endorsing_organizations([organization]);
    let answer = contract(&peer, &identity).evaluate(call).await.unwrap();
    assert_eq!(answer, b"answer");
    let asked = peer.peer.asked.lock().unwrap();
    let request = &asked.evaluate[0];
    assert_eq!(request.channel_id, "mychannel");
    assert_eq!(request.target_organizations, ["Org1MSP"]);
    let signed = request.proposed_transaction.as_ref().unwrap();
    identity
        .certificate()
        .verify_der(&signed.proposal_bytes, &signed.signature)
        .unwrap();
}

#[tokio::test]
async fn a_submitted_transaction_is_signed_ordered_and_awaited() {
    let peer = submitting([Answer::Is(())], [Answer::Is((VALID, 7))]).await;
    let identity = identity();
    let committed = contract(&peer, &identity)
        .submit(Call::new("f"))
        .await
        .unwrap();
    let asked = peer.peer.asked.lock().unwrap();
    let transaction_id = asked.endorse[0].transaction_id.clone();
    let sent = asked.submit[0].prepared_transaction.as_ref().unwrap();
    identity
        .certificate()
        .verify_der(&sent.payload, &sent.signature)
        .unwrap();
    let (signed, inside) = &asked.commit_status[0];
    identity
        .certificate()
        .verify_der(&signed.request, &signed.signature)
        .unwrap();
    assert_eq!(inside.transaction_id, transaction_id);
    assert_eq!(inside.identity, identity.serialized());
    let result = b"result".to_vec();
    assert_eq!(
        committed,
        Committed {
            transaction_id,
            block_number: 7,
            result
        }
    );
}

#[tokio::test]
async fn a_refusal_of_the_chaincode_reaches_the_caller_with_every_detail() {
    let text = "chaincode response 409, RECORD_CONFLICT: other content";
    let peer = start(Script {
        endorse: [Answer::Fails(refused(Code::Aborted, text))].into(),
        ..Script::default()
    })
    .await;
    let error = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap_err();
    let expected = Some((409, "RECORD_CONFLICT: other content".to_owned()));
    assert_eq!(error.chaincode_response(), expected);
    assert!(!error.is_retryable() && !error.is_outcome_unknown());
    let id = error.transaction_id().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "endorsement of transaction {id}: ABORTED: failed to endorse transaction, see \
             attached details for more info [peer0.org2.example.com:9051 (Org2MSP): {text}]"
        )
    );
}

#[tokio::test]
async fn endorsers_that_disagree_are_worth_another_try() {
    let disagreement = refused(Code::Aborted, "ProposalResponsePayloads do not match");
    let peer = start(Script {
        endorse: [Answer::Fails(disagreement)].into(),
        ..Script::default()
    })
    .await;
    let error = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap_err();
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_peer_that_lost_its_chaincode_is_worth_another_try() {
    let lost = refused(Code::Aborted, "could not launch chaincode");
    let peer = start(Script {
        evaluate: [Answer::Fails(lost)].into(),
        ..Script::default()
    })
    .await;
    let error = contract(&peer, &identity())
        .evaluate(Call::new("f"))
        .await
        .unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.chaincode_response(), None);
}

#[tokio::test]
async fn a_lost_answer_is_resolved_by_the_commit_status() {
    let peer = submitting([Answer::Fails(unavailable())], [Answer::Is((VALID, 9))]).await;
    let committed = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap();
    assert_eq!(committed.block_number, 9);
    let asked = peer.peer.asked.lock().unwrap();
    assert_eq!((asked.endorse.len(), asked.submit.len()), (1, 1));
}

#[tokio::test]
async fn an_unknown_outcome_sends_the_same_envelope_again() {
    let peer = submitting(
        [Answer::Fails(unavailable()), Answer::Is(())],
        [Answer::Hangs, Answer::Is((VALID, 9))],
    )
    .await;
    let committed = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap();
    assert_eq!(committed.block_number, 9);
    let asked = peer.peer.asked.lock().unwrap();
    assert_eq!(asked.endorse.len(), 1, "never a second proposal");
    assert_eq!(asked.submit.len(), 2);
    assert_eq!(asked.submit[0], asked.submit[1]);
}

#[tokio::test]
async fn the_copy_of_a_committed_envelope_is_no_failure() {
    let duplicate = ValidationCode::DUPLICATE_TXID.number();
    let peer = submitting(
        [Answer::Fails(unavailable()), Answer::Is(())],
        [
            Answer::Hangs,
            Answer::Is((duplicate, 10)),
            Answer::Is((VALID, 9)),
        ],
    )
    .await;
    let committed = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap();
    assert_eq!(committed.block_number, 9);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_reported_as_such() {
    let peer = submitting(
        (0..99).map(|_| Answer::Fails(unavailable())),
        (0..99).map(|_| Answer::Fails(unavailable())),
    )
    .await;
    let mut config = peer.config();
    config.deadlines.commit_status = Duration::from_millis(20);
    let gateway = Gateway::connect(config, identity()).unwrap();
    let contract = gateway.network("mychannel").contract("salus");
    let error = contract.submit(Call::new("f")).await.unwrap_err();
    assert!(matches!(error, TransactionError::Submit(_)), "{error}");
    assert!(error.is_outcome_unknown() && !error.is_retryable());
    let asked = peer.peer.asked.lock().unwrap();
    assert_eq!(asked.endorse.len(), 1);
    assert!(asked.submit.iter().all(|sent| *sent == asked.submit[0]));
}

#[tokio::test]
async fn an_orderers_refusal_is_final() {
    let refusal = Status::aborted("received unsuccessful response from orderer");
    let peer = submitting([Answer::Fails(refusal)], []).await;
    let error = contract(&peer, &identity())
        .submit(Call::new("f"))
        .await
        .unwrap_err();
    assert!(matches!(error, TransactionError::Submit(_)), "{error}");
    assert!(!error.is_outcome_unknown() && !error.is_retryable());
    assert!(peer.peer.asked.lock().unwrap().commit_status.is_empty());
}

#[tokio::test]
async fn a_conflict_is_endorsed_anew() {
    let peer = start(Script {
        endorse: (0..3).map(|_| Answer::Is(b"result".to_vec())).collect(),
        submit: (0..3).map(|_| Answer::Is(())).collect(),
        commit_status: [MVCC, MVCC, VALID].map(|code| Answer::Is((code, 7))).into(),
        ..Script::default()
    })
    .await;
    let policy = RetryPolicy {
        first_pause: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let contract = contract(&peer, &identity());
    contract
        .submit_with_retry(|| Call::new("f"), policy)
        .await
        .unwrap();
    let asked = peer.peer.asked.lock().unwrap();
    assert_eq!(asked.endorse.len(), 3);
    assert_ne!(
        asked.endorse[0].transaction_id,
        asked.endorse[1].transaction_id
    );
}

#[tokio::test]
async fn a_policy_failure_is_not_endorsed_anew() {
    let code = ValidationCode::ENDORSEMENT_POLICY_FAILURE;
    let peer = submitting([Answer::Is(())], [Answer::Is((code.number(), 7))]).await;
    let contract = contract(&peer, &identity());
    let result = contract
        .submit_with_retry(|| Call::new("f"), RetryPolicy::default())
        .await;
    let error = result.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("in block 7 is not valid: ENDORSEMENT_POLICY_FAILURE")
    );
    assert_eq!(peer.peer.asked.lock().unwrap().endorse.len(), 1);
}

#[tokio::test]
async fn a_dead_peer_is_left_for_the_next() {
    let peer = start(Script {
        evaluate: [Answer::Is(b"1".to_vec()), Answer::Is(b"2".to_vec())].into(),
        ..Script::default()
    })
    .await;
    let mut config = peer.config();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    config.endpoints.insert(
        0,
        Endpoint::new(free.to_string()).server_name("peer0.example.com"),
    );
    let gateway = Gateway::connect(config, identity()).unwrap();
    let contract = gateway.network("mychannel").contract("salus");
    assert_eq!(contract.evaluate(Call::new("f")).await.unwrap(), b"1");
    assert_eq!(contract.evaluate(Call::new("f")).await.unwrap(), b"2");
}

#[tokio::test]
async fn a_silent_peer_costs_the_deadline_and_no_more() {
    let peer = start(Script {
        evaluate: [Answer::Hangs].into(),
        ..Script::default()
    })
    .await;
    let mut config = peer.config();
    config.deadlines.evaluate = Duration::from_millis(50);
    let gateway = Gateway::connect(config, identity()).unwrap();
    let contract = gateway.network("mychannel").contract("salus");
    let error = contract.evaluate(Call::new("f")).await.unwrap_err();
    assert_eq!(error.status.code, RpcCode::DeadlineExceeded);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_peer_with_a_strangers_certificate_is_not_spoken_to() {
    let peer = start(Script::default()).await;
    let stranger = start(Script::default()).await;
    let mut config = peer.config();
    config.tls_roots_pem = stranger.root_pem.clone().into_bytes();
    let gateway = Gateway::connect(config, identity()).unwrap();
    let contract = gateway.network("mychannel").contract("salus");
    let error = contract.evaluate(Call::new("f")).await.unwrap_err();
    assert_eq!(error.status.code, RpcCode::Unavailable);
    assert!(peer.peer.asked.lock().unwrap().evaluate.is_empty());
}

#[tokio::test]
async fn answers_beyond_grpcs_default_limit_are_read() {
    let large = vec![7; 5 * 1024 * 1024];
    let peer = start(Script {
        evaluate: [Answer::Is(large.clone())].into(),
        ..Script::default()
    })
    .await;
    let answer = contract(&peer, &identity())
        .evaluate(Call::new("f"))
        .await
        .unwrap();
    assert!(answer == large);
}

#[tokio::test]
async fn every_step_can_be_signed_elsewhere() {
    let peer = submitting([Answer::Is(())], [Answer::Is((VALID, 7))]).await;
    let identity = identity();
    let sign = |bytes: &[u8]| identity.sign(bytes).unwrap();
    let (msp_id, certificate) = (identity.msp_id(), identity.certificate());
    let gateway = Gateway::connect_offline(peer.config(), msp_id, certificate).unwrap();
    let contract = gateway.network("mychannel").contract("salus");
    let error = contract.submit(Call::new("f")).await.unwrap_err();
    assert!(matches!(error, TransactionError::Sign(_)), "{error}");

    let proposal = contract.prepare(Call::new("f"));
    let signature = sign(proposal.bytes());
    let endorsed = proposal.signed(signature).endorse().await.unwrap();
    assert_eq!(endorsed.result(), b"result");
    let signature = sign(endorsed.bytes());
    let transaction = endorsed.signed(signature);
    transaction.submit().await.unwrap();
    let question = transaction.commit().prepare();
    let signature = sign(question.bytes());
    let status = question
        .status(signature, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(status.code.is_valid());
    let asked = peer.peer.asked.lock().unwrap();
    let (signed, _) = &asked.commit_status[0];
    certificate
        .verify_der(&signed.request, &signed.signature)
        .unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let peer = start(Script::default()).await;
    let check = |change: fn(&mut crate::GatewayConfig)| {
        let mut config = peer.config();
        change(&mut config);
        Gateway::connect(config, identity())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        check(|config| config.endpoints.clear()),
        "no peer endpoint given"
    );
    for address in [
        "localhost",
        "localhost:x",
        ":7051",
        "http://peer:7051",
        "a@b:1",
        "peer:70510",
    ] {
        let mut config = peer.config();
        config.endpoints = vec![Endpoint::new(address)];
        let error = Gateway::connect(config, identity())
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("{address:?} is not host:port"));
    }
    let no_roots = check(|config| config.tls_roots_pem.clear());
    assert!(no_roots.starts_with("TLS settings"), "{no_roots}");
    let bad_name = check(|config| config.endpoints[0].server_name = Some("not a name".to_owned()));
    assert!(bad_name.starts_with("TLS settings"), "{bad_name}");
}

#[test]
fn private_data_is_not_printed() {
    let call = Call::new("f")
        .argument("public")
        .transient("name", "canary");
    let printed = format!("{call:?}");
    assert!(
        printed.contains("name") && !printed.contains("canary"),
        "{printed}"
    );
    assert!(!printed.contains(&format!("{:?}", b"canary")), "{printed}");
}
