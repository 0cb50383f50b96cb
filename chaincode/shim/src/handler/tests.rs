mod runs;

use std::{cell::Cell, rc::Rc};

use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeEvent};

use super::*;

/// A caller that a test can make give up.
#[derive(Clone, Debug)]
struct Caller {
    name: &'static str,
    abandoned: Rc<Cell<bool>>,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Waiter for Caller {
    fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }
}

fn caller(name: &'static str) -> Caller {
    Caller {
        name,
        abandoned: Rc::new(Cell::new(false)),
    }
}

const LIMITS: HandlerLimits = HandlerLimits {
    running: 2,
    waiting: 1,
    requests: 2,
};

fn created() -> Handler<Caller> {
    Handler::open("label:hash", LIMITS).0
}

fn established() -> Handler<Caller> {
    let mut handler = created();
    handler.on_message(of_type(Type::Registered)).unwrap();
    handler
}

fn ready() -> Handler<Caller> {
    ready_with(vec![])
}

fn ready_with(payload: Vec<u8>) -> Handler<Caller> {
    let mut handler = established();
    let message = ChaincodeMessage {
        payload,
        ..of_type(Type::Ready)
    };
    handler.on_message(message).unwrap();
    handler
}

fn draining() -> Handler<Caller> {
    let mut handler = ready();
    handler.on_shutdown();
    handler
}

fn ended() -> Handler<Caller> {
    let mut handler = ready();
    handler.on_stream_end();
    handler
}

fn of_type(kind: Type) -> ChaincodeMessage {
    message(kind, "tx", b"")
}

fn message(kind: Type, tx_id: &str, payload: &[u8]) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload: payload.to_vec(),
        txid: tx_id.to_owned(),
        channel_id: "ch".to_owned(),
        ..ChaincodeMessage::default()
    }
}

fn key(tx_id: &str) -> TransactionKey {
    TransactionKey {
        channel_id: "ch".to_owned(),
        tx_id: tx_id.to_owned(),
    }
}

fn run(tx_id: &str, serial: u64) -> RunId {
    RunId {
        key: key(tx_id),
        serial,
    }
}

fn get(key: &str) -> Request {
    Request {
        kind: Type::GetState,
        payload: key.as_bytes().to_vec(),
    }
}

fn sent(kind: Type, tx_id: &str, payload: &[u8]) -> Action<Caller> {
    Action::Send(message(kind, tx_id, payload))
}

fn answer(waiter: &Caller, outcome: Result<&[u8], Refusal>) -> Action<Caller> {
    Action::Answer {
        waiter: waiter.clone(),
        outcome: outcome.map(<[u8]>::to_vec),
    }
}

fn done(payload: &[u8]) -> Outcome {
    Outcome::Completed {
        response: Response {
            status: 200,
            message: String::new(),
            payload: payload.to_vec(),
        },
        event: None,
    }
}

fn completed(tx_id: &str, payload: &[u8]) -> Action<Caller> {
    Action::Send(result_message(&key(tx_id), done(payload)))
}

fn start(handler: &mut Handler<Caller>, tx_id: &str) -> Vec<Action<Caller>> {
    handler
        .on_message(message(Type::Transaction, tx_id, b""))
        .unwrap()
}

fn started(tx_id: &str, serial: u64) -> Action<Caller> {
    Action::Start(Invocation {
        run: run(tx_id, serial),
        stage: Stage::Transaction,
        input: vec![],
        proposal: None,
        capabilities: Capabilities::default(),
    })
}

#[test]
fn the_first_message_registers_the_package_id() {
    let (_, action) = Handler::<Caller>::open("label:hash", LIMITS);
    let Action::Send(message) = action else {
        panic!("not a message");
    };
    assert_eq!(message.r#type(), Type::Register);
    let id = ChaincodeId::decode(message.payload.as_slice()).unwrap();
    assert_eq!(id.name, "label:hash");
}

/// What a state makes of a message; one letter each, so that the table below is a table.
fn judge(mut handler: Handler<Caller>, kind: i32) -> char {
    let message = ChaincodeMessage {
        r#type: kind,
        ..of_type(Type::Undefined)
    };
    let actions = match handler.on_message(message) {
        Ok(actions) => actions,
        Err(ProtocolError::Unexpected { .. }) => return 'X',
        Err(ProtocolError::RegistrationRefused { .. }) => return 'R',
    };
    match actions.as_slice() {
        [] => '-',
        [Action::Note(Notice::Registered)] => 'e',
        [Action::Note(Notice::Ready(_))] => 'r',
        [Action::Start(_)] => 's',
        [Action::Note(Notice::StrayReply { .. })] => 'd',
        [Action::Note(Notice::Ignored { .. })] => 'i',
        [Action::Send(message)] if message.r#type() == Type::Keepalive => 'k',
        [Action::Send(message)] if message.r#type() == Type::Error => 'f',
        other => panic!("unexpected actions {other:?}"),
    }
}

/// Rows are states, columns message types 0 to 26. X ends the stream, R ends it as refused, e and
/// r are steps of the handshake, s starts a transaction, f refuses it, d drops a stray reply,
/// i ignores, k echoes, - does nothing.
#[test]
fn every_state_meets_every_message() {
    type Make = fn() -> Handler<Caller>;
    let table: [(&str, Make, &str); 5] = [
        ("created", created, "XXeXXXXRXXXXXXXXXXkXXXXXXXX"),
        ("established", established, "XXXXrXXXXXXXXXXXXXkXXXXXXXX"),
        ("ready", ready, "iiisisidiiiiidiiiikiiiiiiii"),
        ("draining", draining, "iiififidiiiiidiiiikiiiiiiii"),
        ("ended", ended, "---------------------------"),
    ];
    for (name, make, expected) in table {
        let found: String = (0..27).map(|kind| judge(make(), kind)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_the_peer_can_do_is_read_from_ready() {
    let params = |batch, batch_size, multiple, multiple_size| {
        ChaincodeAdditionalParams {
            use_write_batch: batch,
            max_size_write_batch: batch_size,
            use_get_multiple_keys: multiple,
            max_size_get_multiple_keys: multiple_size,
        }
        .encode_to_vec()
    };
    for (payload, write_batch, get_multiple) in [
        (vec![], None, None),
        (b"\xff\xff".to_vec(), None, None),
        (params(true, 1000, true, 500), Some(1000), Some(500)),
        (params(true, 1, true, 0), Some(100), Some(100)),
        (params(false, 1000, true, 1000), None, Some(1000)),
        (params(true, 1000, false, 1000), Some(1000), None),
    ] {
        let expected = Capabilities {
            write_batch,
            get_multiple,
        };
        let mut handler = ready_with(payload.clone());
        let actions = start(&mut handler, "a");
        let [Action::Start(invocation)] = actions.as_slice() else {
            panic!("not started: {actions:?}");
        };
        assert_eq!(invocation.capabilities, expected, "{payload:?}");
    }
}

#[test]
fn a_refused_registration_tells_the_peers_text() {
    let refusal = message(Type::Error, "", b"expected label:other");
    assert_eq!(
        created().on_message(refusal),
        Err(ProtocolError::RegistrationRefused {
            message: "expected label:other".to_owned()
        })
    );
}

#[test]
fn slow_registration_is_noticed_until_registered() {
    assert_eq!(created().on_patience_over(), Some(Notice::RegistrationSlow));
    assert_eq!(established().on_patience_over(), None);
    assert_eq!(ready().on_patience_over(), None);
}

#[test]
fn a_keepalive_comes_back_as_it_was() {
    let keepalive = message(Type::Keepalive, "t", b"p");
    let actions = ready().on_message(keepalive.clone()).unwrap();
    assert_eq!(actions, vec![Action::Send(keepalive)]);
}

#[test]
fn a_second_request_waits_for_the_reply_to_the_first() {
    let mut handler = ready();
    start(&mut handler, "a");
    let (one, two) = (caller("one"), caller("two"));
    let id = run("a", 0);
    let actions = handler.on_request(&id, get("1"), Some(one.clone()));
    assert_eq!(actions, vec![sent(Type::GetState, "a", b"1")]);
    assert_eq!(handler.on_request(&id, get("2"), Some(two.clone())), vec![]);
    let actions = handler
        .on_message(message(Type::Response, "a", b"v1"))
        .unwrap();
    let expected = vec![answer(&one, Ok(b"v1")), sent(Type::GetState, "a", b"2")];
    assert_eq!(actions, expected);
    let actions = handler
        .on_message(message(Type::Response, "a", b"v2"))
        .unwrap();
    assert_eq!(actions, vec![answer(&two, Ok(b"v2"))]);
}

#[test]
fn requests_of_different_transactions_do_not_wait_for_each_other() {
    let mut handler = ready();
    start(&mut handler, "a");
    start(&mut handler, "b");
    let (one, two) = (caller("one"), caller("two"));
    handler.on_request(&run("a", 0), get("1"), Some(one.clone()));
    let actions = handler.on_request(&run("b", 1), get("2"), Some(two.clone()));
    assert_eq!(actions, vec![sent(Type::GetState, "b", b"2")]);
    let actions = handler
        .on_message(message(Type::Response, "b", b"v2"))
        .unwrap();
    assert_eq!(actions, vec![answer(&two, Ok(b"v2"))]);
    let actions = handler
        .on_message(message(Type::Response, "a", b"v1"))
        .unwrap();
    assert_eq!(actions, vec![answer(&one, Ok(b"v1"))]);
}

#[test]
fn the_same_transaction_id_on_two_channels_is_two_transactions() {
    let mut handler = ready();
    start(&mut handler, "a");
    let elsewhere = ChaincodeMessage {
        channel_id: "other".to_owned(),
        ..message(Type::Transaction, "a", b"")
    };
    let actions = handler.on_message(elsewhere).unwrap();
    assert!(matches!(actions.as_slice(), [Action::Start(_)]));
    let one = caller("one");
    handler.on_request(&run("a", 0), get("1"), Some(one));
    let reply = ChaincodeMessage {
        channel_id: "other".to_owned(),
        ..message(Type::Response, "a", b"")
    };
    let actions = handler.on_message(reply).unwrap();
    assert!(matches!(
        actions.as_slice(),
        [Action::Note(Notice::StrayReply { .. })]
    ));
}

#[test]
fn a_cancelled_requests_reply_is_swallowed_before_the_next_request() {
    let mut handler = ready();
    start(&mut handler, "a");
    let (one, two) = (caller("one"), caller("two"));
    let id = run("a", 0);
    handler.on_request(&id, get("1"), Some(one.clone()));
    one.abandoned.set(true);
    assert_eq!(handler.on_request(&id, get("2"), Some(two.clone())), vec![]);
    let actions = handler
        .on_message(message(Type::Response, "a", b"stale"))
        .unwrap();
    // The adapter's send to a caller that is gone comes to nothing.
    assert_eq!(
        actions,
        vec![answer(&one, Ok(b"stale")), sent(Type::GetState, "a", b"2")]
    );
    let actions = handler
        .on_message(message(Type::Response, "a", b"fresh"))
        .unwrap();
    assert_eq!(actions, vec![answer(&two, Ok(b"fresh"))]);
}

#[test]
fn a_cancelled_request_that_only_waited_is_never_sent() {
    let mut handler = ready();
    start(&mut handler, "a");
    let (one, two) = (caller("one"), caller("two"));
    let id = run("a", 0);
    handler.on_request(&id, get("1"), Some(one.clone()));
    handler.on_request(&id, get("2"), Some(two.clone()));
    two.abandoned.set(true);
    let actions = handler
        .on_message(message(Type::Response, "a", b""))
        .unwrap();
    assert_eq!(actions, vec![answer(&one, Ok(b""))]);
}

#[test]
fn the_result_waits_for_the_last_reply_and_drops_what_was_queued() {
    let mut handler = ready();
    start(&mut handler, "a");
    let (one, two) = (caller("one"), caller("two"));
    let id = run("a", 0);
    handler.on_request(&id, get("1"), Some(one.clone()));
    handler.on_request(&id, get("2"), Some(two));
    assert_eq!(handler.on_finish(&id, done(b"r")), vec![]);
    let actions = handler
        .on_message(message(Type::Response, "a", b""))
        .unwrap();
    assert_eq!(actions, vec![answer(&one, Ok(b"")), completed("a", b"r")]);
    assert!(handler.is_idle());
}

#[test]
fn a_request_nobody_waits_for_is_sent_in_turn_and_its_reply_thrown_away() {
    let mut handler = ready();
    start(&mut handler, "a");
    let one = caller("one");
    let id = run("a", 0);
    let close = Request {
        kind: Type::QueryStateClose,
        payload: vec![],
    };
    let actions = handler.on_request(&id, close, None);
    assert_eq!(actions, vec![sent(Type::QueryStateClose, "a", b"")]);
    assert_eq!(handler.on_request(&id, get("1"), Some(one.clone())), vec![]);
    let actions = handler
        .on_message(message(Type::Response, "a", b"closed"))
        .unwrap();
    assert_eq!(actions, vec![sent(Type::GetState, "a", b"1")]);
    let actions = handler
        .on_message(message(Type::Response, "a", b"v"))
        .unwrap();
    assert_eq!(actions, vec![answer(&one, Ok(b"v"))]);
}

#[test]
fn errors_are_told_apart() {
    let gone = "GET_STATE failed: transaction ID: a: no ledger context";
    let refused = "PUT_STATE failed: transaction ID: a: no";
    for (text, refusal) in [
        (gone, Refusal::TransactionGone),
        (refused, Refusal::Peer(refused.to_owned())),
    ] {
        let mut handler = ready();
        start(&mut handler, "a");
        let one = caller("one");
        handler.on_request(&run("a", 0), get("1"), Some(one.clone()));
        let error = message(Type::Error, "a", text.as_bytes());
        assert_eq!(
            handler.on_message(error).unwrap(),
            vec![answer(&one, Err(refusal))]
        );
    }
}

#[test]
fn a_reply_after_the_reply_is_dropped() {
    let mut handler = ready();
    start(&mut handler, "a");
    handler.on_request(&run("a", 0), get("1"), Some(caller("one")));
    handler
        .on_message(message(Type::Response, "a", b""))
        .unwrap();
    let actions = handler
        .on_message(message(Type::Response, "a", b"again"))
        .unwrap();
    let notice = Notice::StrayReply {
        kind: Type::Response,
        key: key("a"),
    };
    assert_eq!(actions, vec![Action::Note(notice)]);
}
