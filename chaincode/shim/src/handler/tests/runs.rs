//! Limits, repeated proposals, the end of the stream: what becomes of whole runs.

use super::*;

#[test]
fn too_many_waiting_requests_are_refused() {
    let mut handler = ready();
    start(&mut handler, "a");
    let id = run("a", 0);
    for name in ["one", "two", "three"] {
        handler.on_request(&id, get(name), Some(caller(name)));
    }
    let four = caller("four");
    let actions = handler.on_request(&id, get("4"), Some(four.clone()));
    assert_eq!(
        actions,
        vec![answer(&four, Err(Refusal::TooMany { limit: 2 }))]
    );
}

#[test]
fn transactions_beyond_the_places_wait_and_beyond_that_are_refused() {
    let mut handler = ready();
    assert_eq!(start(&mut handler, "a"), vec![started("a", 0)]);
    assert_eq!(start(&mut handler, "b"), vec![started("b", 1)]);
    assert_eq!(start(&mut handler, "c"), vec![]);
    let actions = start(&mut handler, "d");
    let [Action::Send(busy), Action::Note(Notice::Overloaded { .. })] = actions.as_slice() else {
        panic!("not refused: {actions:?}");
    };
    assert_eq!(busy.r#type(), Type::Completed);
    let response = Response::decode(busy.payload.as_slice()).unwrap();
    assert_eq!(response.status, crate::response::STATUS_BUSY);
    let actions = handler.on_finish(&run("a", 0), done(b""));
    assert_eq!(actions, vec![completed("a", b""), started("c", 2)]);
}

#[test]
fn a_transaction_caused_by_a_running_one_does_not_wait_for_a_place() {
    let mut handler = ready();
    start(&mut handler, "a");
    start(&mut handler, "b");
    let nested = ChaincodeMessage {
        channel_id: "other".to_owned(),
        ..message(Type::Transaction, "b", b"")
    };
    let actions = handler.on_message(nested).unwrap();
    assert!(
        matches!(actions.as_slice(), [Action::Start(_)]),
        "{actions:?}"
    );
}

#[test]
fn a_repeated_proposal_is_refused_and_cuts_the_first_run_off() {
    let mut handler = ready();
    start(&mut handler, "a");
    let (one, two) = (caller("one"), caller("two"));
    handler.on_request(&run("a", 0), get("1"), Some(one.clone()));
    handler.on_request(&run("a", 0), get("2"), Some(two.clone()));
    let actions = start(&mut handler, "a");
    let [
        Action::Send(refusal),
        Action::Note(Notice::Repeated { .. }),
        told_one,
        told_two,
        Action::Abort(aborted),
    ] = actions.as_slice()
    else {
        panic!("not refused: {actions:?}");
    };
    assert_eq!(refusal.r#type(), Type::Error);
    assert_eq!(*told_one, answer(&one, Err(Refusal::TransactionGone)));
    assert_eq!(*told_two, answer(&two, Err(Refusal::TransactionGone)));
    assert_eq!(*aborted, run("a", 0));
    let three = caller("three");
    assert_eq!(
        handler.on_request(&run("a", 0), get("3"), Some(three.clone())),
        vec![answer(&three, Err(Refusal::TransactionGone))]
    );
    // Its result goes nowhere, and only after the reply on the wire is the place free again.
    assert_eq!(handler.on_finish(&run("a", 0), done(b"late")), vec![]);
    assert!(!handler.is_idle());
    assert_eq!(
        handler
            .on_message(message(Type::Response, "a", b""))
            .unwrap(),
        vec![]
    );
    assert!(handler.is_idle());
    assert_eq!(start(&mut handler, "a"), vec![started("a", 1)]);
}

#[test]
fn a_repeated_proposal_replaces_one_that_only_waits() {
    let mut handler = ready();
    for tx_id in ["a", "b", "c"] {
        start(&mut handler, tx_id);
    }
    assert_eq!(start(&mut handler, "c"), vec![]);
    let actions = handler.on_finish(&run("a", 0), done(b""));
    assert_eq!(actions, vec![completed("a", b""), started("c", 3)]);
    assert_eq!(
        handler.on_finish(&run("b", 1), done(b"")),
        vec![completed("b", b"")]
    );
}

#[test]
fn requests_and_results_of_an_old_run_do_not_touch_the_new_one() {
    let mut handler = ready();
    start(&mut handler, "a");
    handler.on_finish(&run("a", 0), done(b""));
    start(&mut handler, "a");
    let old = caller("old");
    let actions = handler.on_request(&run("a", 0), get("1"), Some(old.clone()));
    assert_eq!(actions, vec![answer(&old, Err(Refusal::TransactionGone))]);
    assert_eq!(handler.on_finish(&run("a", 0), done(b"")), vec![]);
    assert_eq!(
        handler.on_finish(&run("a", 1), done(b"n")),
        vec![completed("a", b"n")]
    );
}

#[test]
fn the_end_of_the_stream_is_told_to_every_caller() {
    let mut handler = ready();
    start(&mut handler, "a");
    start(&mut handler, "b");
    let callers = ["one", "two", "three"].map(caller);
    handler.on_request(&run("a", 0), get("1"), Some(callers[0].clone()));
    handler.on_request(&run("a", 0), get("2"), Some(callers[1].clone()));
    handler.on_request(&run("b", 1), get("3"), Some(callers[2].clone()));
    let actions = handler.on_stream_end();
    assert_eq!(actions.len(), 3);
    for caller in &callers {
        assert!(
            actions.contains(&answer(caller, Err(Refusal::StreamLost))),
            "{caller:?}"
        );
    }
    let late = caller("late");
    let actions = handler.on_request(&run("a", 0), get("4"), Some(late.clone()));
    assert_eq!(actions, vec![answer(&late, Err(Refusal::StreamLost))]);
    assert!(handler.is_idle());
}

#[test]
fn shutdown_refuses_what_waits_and_lets_run_what_runs() {
    let mut handler = ready();
    for tx_id in ["a", "b", "c"] {
        start(&mut handler, tx_id);
    }
    let actions = handler.on_shutdown();
    let [Action::Send(refusal)] = actions.as_slice() else {
        panic!("not refused: {actions:?}");
    };
    assert_eq!(
        (refusal.r#type(), refusal.txid.as_str()),
        (Type::Error, "c")
    );
    let one = caller("one");
    let actions = handler.on_request(&run("a", 0), get("1"), Some(one.clone()));
    assert_eq!(actions, vec![sent(Type::GetState, "a", b"1")]);
    handler
        .on_message(message(Type::Response, "a", b""))
        .unwrap();
    assert!(!handler.is_idle());
    handler.on_finish(&run("a", 0), done(b""));
    handler.on_finish(&run("b", 1), done(b""));
    assert!(handler.is_idle());
}

#[test]
fn an_event_goes_out_with_the_result() {
    let mut handler = ready();
    start(&mut handler, "a");
    let event = ChaincodeEvent {
        event_name: "E".to_owned(),
        ..ChaincodeEvent::default()
    };
    let Outcome::Completed { response, .. } = done(b"") else {
        panic!("not completed");
    };
    let outcome = Outcome::Completed {
        response,
        event: Some(event.clone()),
    };
    let actions = handler.on_finish(&run("a", 0), outcome);
    let [Action::Send(message)] = actions.as_slice() else {
        panic!("not sent: {actions:?}");
    };
    assert_eq!(message.chaincode_event, Some(event));
    assert_eq!(message.channel_id, "ch");
}
