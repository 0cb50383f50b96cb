mod private_data;
mod ranges;
mod recorded;

use fabric_protos::{kvrwset::KvrwSet, rwset::TxReadWriteSet};
use prost::Message as _;

use super::*;
use crate::{ContractError, Stub, contract, create_composite_key};

/// Does to the ledger what its arguments say.
struct Script;

#[contract(name = "script")]
impl Script {
    #[transaction(submit)]
    async fn put(&self, ctx: &Stub, pairs: Vec<(String, String)>) -> Result<(), ContractError> {
        for (key, value) in pairs {
            ctx.put_state(&key, value).await?;
        }
        Ok(())
    }

    #[transaction(submit)]
    async fn put_batched(
        &self,
        ctx: &Stub,
        pairs: Vec<(String, String)>,
    ) -> Result<(), ContractError> {
        ctx.start_write_batch();
        self.put(ctx, pairs).await
    }

    #[transaction(submit)]
    async fn get(&self, ctx: &Stub, key: String) -> Result<Option<String>, ContractError> {
        Ok(ctx.get_state(&key).await?.map(text))
    }

    #[transaction(submit)]
    async fn increase(&self, ctx: &Stub, key: String) -> Result<u32, ContractError> {
        let old = ctx.get_state(&key).await?.map(text).unwrap_or_default();
        let new = old.parse().unwrap_or(0) + 1;
        ctx.put_state(&key, new.to_string()).await?;
        // A read after the write still sees what was committed before.
        assert_eq!(
            ctx.get_state(&key).await?.map(text).unwrap_or_default(),
            old
        );
        Ok(new)
    }

    #[transaction(submit)]
    async fn many(
        &self,
        ctx: &Stub,
        keys: Vec<String>,
    ) -> Result<Vec<Option<String>>, ContractError> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = ctx.get_multiple_states(&keys).await?;
        Ok(values.into_iter().map(|value| value.map(text)).collect())
    }

    #[transaction(submit)]
    async fn count(
        &self,
        ctx: &Stub,
        start: String,
        end: String,
        at_most: usize,
        write: Option<String>,
    ) -> Result<usize, ContractError> {
        let mut range = ctx.get_state_by_range(&start, &end).await?;
        let mut count = 0;
        while count < at_most && range.next().await?.is_some() {
            count += 1;
        }
        drop(range);
        if let Some(key) = write {
            ctx.put_state(&key, "x").await?;
        }
        Ok(count)
    }

    #[transaction(submit)]
    async fn page(
        &self,
        ctx: &Stub,
        size: i32,
        bookmark: String,
        write: Option<bool>,
    ) -> Result<(Vec<String>, i32, String), ContractError> {
        if write == Some(true) {
            ctx.put_state("w", "x").await?;
        }
        let (records, page) = ctx
            .get_state_by_range_with_pagination("", "", size, &bookmark)
            .await?;
        if write == Some(false) {
            ctx.put_state("w", "x").await?;
        }
        let keys = records.into_iter().map(|record| record.key).collect();
        Ok((keys, page.fetched_records_count, page.bookmark))
    }

    #[transaction(submit)]
    async fn history(&self, ctx: &Stub, key: String) -> Result<Vec<String>, ContractError> {
        let changes = ctx.get_history_for_key(&key).await?.collect().await?;
        let show = |change: crate::KeyModification| {
            let value = if change.is_delete {
                "-".to_owned()
            } else {
                text(change.value)
            };
            format!("{value}@{}", change.timestamp.seconds)
        };
        Ok(changes.into_iter().map(show).collect())
    }

    #[transaction(submit)]
    async fn policy(
        &self,
        ctx: &Stub,
        key: String,
        policy: Option<String>,
    ) -> Result<String, ContractError> {
        let old = ctx.get_state_validation_parameter(&key).await?;
        if let Some(policy) = policy {
            ctx.set_state_validation_parameter(&key, policy).await?;
        }
        Ok(old.map(text).unwrap_or_default())
    }

    #[transaction(submit)]
    async fn private(
        &self,
        ctx: &Stub,
        steps: Vec<(String, String, String)>,
    ) -> Result<Vec<String>, ContractError> {
        let mut answers = vec![];
        for (step, key, value) in steps {
            let answer = match step.as_str() {
                "put" => ctx
                    .put_private_data("c", &key, value)
                    .await
                    .map(|()| None)?,
                "del" => ctx.del_private_data("c", &key).await.map(|()| None)?,
                "purge" => ctx.purge_private_data("c", &key).await.map(|()| None)?,
                "get" => ctx.get_private_data("c", &key).await?.map(text),
                "hash" => ctx
                    .get_private_data_hash("c", &key)
                    .await?
                    .map(|h| h.len().to_string()),
                "policy" => {
                    ctx.set_private_data_validation_parameter("c", &key, value)
                        .await?;
                    None
                }
                "getpolicy" => ctx
                    .get_private_data_validation_parameter("c", &key)
                    .await?
                    .map(text),
                "range" => {
                    let found = ctx.get_private_data_by_range("c", &key, &value).await?;
                    Some(keys(found.collect().await?))
                }
                "after" => {
                    let found = ctx
                        .get_private_data_by_partial_composite_key_after("c", "t", &[&key], &value)
                        .await?;
                    Some(keys(found.collect().await?))
                }
                other => return Err(ContractError::bad_request(other.to_owned())),
            };
            answers.push(answer.unwrap_or_default());
        }
        Ok(answers)
    }

    #[transaction(submit)]
    async fn call(
        &self,
        ctx: &Stub,
        name: String,
        channel: String,
        args: Vec<String>,
    ) -> Result<String, ContractError> {
        let response = ctx.invoke_chaincode(&name, &args, &channel).await?;
        ctx.set_event("Called", name)?;
        Ok(format!(
            "{} {}{}",
            response.status,
            response.message,
            text(response.payload)
        ))
    }

    #[transaction(evaluate)]
    async fn about(&self, ctx: &Stub) -> Result<Vec<String>, ContractError> {
        Ok(vec![
            ctx.channel_id().to_owned(),
            ctx.tx_id().to_owned(),
            ctx.tx_timestamp().seconds.to_string(),
            text(ctx.transient().get("t").cloned().unwrap_or_default()),
            text(ctx.creator().to_vec()),
        ])
    }

    #[transaction(submit)]
    async fn fail(&self, ctx: &Stub) -> Result<(), ContractError> {
        ctx.put_state("k", "v").await?;
        ctx.set_event("Failed", "")?;
        Err(ContractError::conflict("no"))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn keys(records: Vec<crate::KeyValue>) -> String {
    let keys: Vec<String> = records.into_iter().map(|record| record.key).collect();
    keys.join(",").replace('\0', "|")
}

fn ledger() -> (MemoryLedger, Chaincode) {
    let ledger = MemoryLedger::new("ch").with_collections(&["c"]);
    (ledger, Chaincode::new().with(Script))
}

async fn put(ledger: &MemoryLedger, chaincode: &Chaincode, pairs: &[(&str, &str)]) {
    let result = ledger
        .invoke(chaincode, Tx::submit("Put").json(pairs))
        .await;
    assert_eq!(result.validation, Some(ValidationCode::Valid));
}

fn answer(result: &TxResult) -> &str {
    assert!(result.response.is_success(), "{:?}", result.response);
    std::str::from_utf8(&result.response.payload).unwrap()
}

fn public_set(result: &TxResult) -> KvrwSet {
    let set = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
    KvrwSet::decode(set.ns_rwset[0].rwset.as_slice()).unwrap()
}

#[tokio::test]
async fn a_transaction_does_not_see_its_own_writes_and_the_next_one_does() {
    let (ledger, chaincode) = ledger();
    for expected in ["1", "2", "3"] {
        let result = ledger
            .invoke(&chaincode, Tx::submit("Increase").argument("k"))
            .await;
        assert_eq!(answer(&result), expected);
    }
    assert_eq!(ledger.state("k"), Some(b"3".to_vec()));
    assert_eq!(ledger.height(), 4);
}

#[tokio::test]
async fn nothing_of_a_failed_or_evaluated_call_stays() {
    let (ledger, chaincode) = ledger();
    let failed = ledger.invoke(&chaincode, Tx::submit("Fail")).await;
    assert_eq!(
        (failed.response.status, failed.event, failed.validation),
        (409, None, None)
    );
    let evaluated = ledger
        .invoke(&chaincode, Tx::evaluate("Increase").argument("k"))
        .await;
    assert_eq!((answer(&evaluated), evaluated.validation), ("1", None));
    assert_eq!((ledger.keys().len(), ledger.height()), (0, 1));
}

#[tokio::test]
async fn the_same_call_gives_the_same_bytes() {
    let (ledger, chaincode) = ledger();
    let pairs = [("b", "1"), ("a", "2"), ("c", "")];
    let one = ledger
        .simulate(&chaincode, Tx::submit("Put").json(&pairs))
        .await;
    let two = ledger
        .simulate(&chaincode, Tx::submit("Put").json(&pairs))
        .await;
    assert_eq!(one.rwset, two.rwset);
    assert_ne!(one.tx_id, two.tx_id);
    let written: Vec<_> = one
        .writes
        .iter()
        .map(|w| (w.key.as_str(), w.value.is_some()))
        .collect();
    // Sorted; an empty value is a deletion.
    assert_eq!(written, [("a", true), ("b", true), ("c", false)]);
}

#[tokio::test]
async fn batched_writes_give_the_same_bytes_as_single_ones() {
    let (ledger, chaincode) = ledger();
    let pairs: Vec<(String, String)> = (0..2500)
        .map(|n| (format!("k{n}"), "v".to_owned()))
        .collect();
    let single = ledger
        .simulate(&chaincode, Tx::submit("Put").json(&pairs))
        .await;
    let batched = ledger
        .simulate(&chaincode, Tx::submit("PutBatched").json(&pairs))
        .await;
    assert_eq!(batched.writes.len(), 2500);
    assert_eq!(single.rwset, batched.rwset);
}

/// Bytes computed by hand from the protocol's field numbers.
#[tokio::test]
async fn read_write_sets_are_encoded_as_peers_do() {
    let (ledger, chaincode) = ledger();
    put(&ledger, &chaincode, &[("k", "1")]).await;
    let result = ledger
        .simulate(&chaincode, Tx::submit("Increase").argument("k"))
        .await;
    let version = [0x08, 0x01]; // block 1, transaction 0
    let read = [&[0x0a, 0x07, 0x0a, 0x01, b'k', 0x12, 0x02][..], &version].concat();
    let write = [0x1a, 0x06, 0x0a, 0x01, b'k', 0x1a, 0x01, b'2'];
    let set = [read.as_slice(), &write].concat();
    let namespace = [&[0x0a, 0x09][..], b"chaincode", &[0x12, 0x11], &set].concat();
    assert_eq!(result.rwset, [&[0x12, 0x1e][..], &namespace].concat());
}

#[tokio::test]
async fn a_changed_read_makes_a_transaction_invalid() {
    let (ledger, chaincode) = ledger();
    put(&ledger, &chaincode, &[("k", "1")]).await;
    let increase = || Tx::submit("Increase").argument("k");
    let one = ledger.simulate(&chaincode, increase()).await;
    let two = ledger.simulate(&chaincode, increase()).await;
    let absent = ledger
        .simulate(&chaincode, Tx::submit("Increase").argument("new"))
        .await;
    let codes = ledger.commit(&[one, two, absent]);
    use ValidationCode::{MvccReadConflict, Valid};
    assert_eq!(codes, [Valid, MvccReadConflict, Valid]);
    assert_eq!(ledger.state("k"), Some(b"2".to_vec()));
}

#[tokio::test]
async fn a_transaction_is_committed_once_and_only_if_endorsed() {
    let (ledger, chaincode) = ledger();
    let put = ledger
        .simulate(&chaincode, Tx::submit("Put").json(&[("a", "b")]))
        .await;
    let fail = ledger.simulate(&chaincode, Tx::submit("Fail")).await;
    let codes = ledger.commit(&[put.clone(), put, fail]);
    use ValidationCode::{DuplicateTxId, EndorsementPolicyFailure, Valid};
    assert_eq!(codes, [Valid, DuplicateTxId, EndorsementPolicyFailure]);
}

fn count(start: &str, end: &str, at_most: usize) -> Tx {
    Tx::submit("Count")
        .argument(start)
        .argument(end)
        .json(&at_most)
}

#[tokio::test]
async fn history_is_newest_first_with_the_clients_times() {
    let (ledger, chaincode) = ledger();
    let at = |seconds| ledger.with_timestamp(Timestamp { seconds, nanos: 0 });
    for (seconds, value) in [(10, "1"), (20, "2"), (30, "")] {
        put(&at(seconds), &chaincode, &[("k", value)]).await;
    }
    let history = ledger
        .simulate(&chaincode, Tx::evaluate("History").argument("k"))
        .await;
    assert_eq!(answer(&history), r#"["-@30","2@20","1@10"]"#);
}

#[tokio::test]
async fn metadata_survive_new_values_and_change_the_version() {
    let (ledger, chaincode) = ledger();
    let policy = |text: &str| Tx::submit("Policy").argument("k").argument(text);
    put(&ledger, &chaincode, &[("k", "1")]).await;
    let reader = ledger
        .simulate(&chaincode, Tx::submit("Increase").argument("k"))
        .await;
    ledger.invoke(&chaincode, policy("P")).await;
    assert_eq!(ledger.commit(&[reader]), [ValidationCode::MvccReadConflict]);
    put(&ledger, &chaincode, &[("k", "2")]).await;
    let read = ledger
        .simulate(&chaincode, Tx::evaluate("Policy").argument("k"))
        .await;
    assert_eq!(answer(&read), "P");
    put(&ledger, &chaincode, &[("k", "")]).await;
    put(&ledger, &chaincode, &[("k", "3")]).await;
    let read = ledger
        .simulate(&chaincode, Tx::evaluate("Policy").argument("k"))
        .await;
    assert_eq!(answer(&read), "");
}

#[tokio::test]
async fn other_chaincodes_join_the_transaction_under_their_own_name() {
    let (ledger, chaincode) = ledger();
    let ledger = ledger.with_other_chaincode("other", Chaincode::new().with(Script));
    let call = |name: &str, channel: &str, args: &[&str]| {
        Tx::submit("Call")
            .argument(name)
            .argument(channel)
            .json(args)
    };
    let result = ledger
        .invoke(&chaincode, call("other", "", &["Increase", "k"]))
        .await;
    assert_eq!(answer(&result), "200 1");
    assert_eq!(result.event.unwrap().name, "Called");
    let written: Vec<_> = result
        .writes
        .iter()
        .map(|w| (w.namespace.as_str(), w.key.as_str()))
        .collect();
    assert_eq!(written, [("other", "k")]);
    assert_eq!(ledger.state("k"), None);
    for (tx, expected) in [
        (call("other", "ch", &["Fail"]), "409 no"),
        (
            call("none", "", &["X"]),
            "500 INVOKE_CHAINCODE failed: transaction ID: ",
        ),
        (
            call("chaincode", "", &["Get", "k"]),
            "500 INVOKE_CHAINCODE failed: transaction ID: ",
        ),
        (
            call("other", "elsewhere", &["X"]),
            "500 INVOKE_CHAINCODE failed: transaction ID: ",
        ),
    ] {
        let result = ledger.simulate(&chaincode, tx).await;
        assert!(answer(&result).starts_with(expected), "{}", answer(&result));
    }
}

#[tokio::test]
async fn the_call_carries_what_the_test_says() {
    let (ledger, chaincode) = ledger();
    let client = ledger
        .as_client("me")
        .with_timestamp(Timestamp {
            seconds: 5,
            nanos: 0,
        })
        .with_transient("t", "hidden");
    let result = client
        .simulate(&chaincode, Tx::evaluate("About").tx_id("id"))
        .await;
    assert_eq!(answer(&result), r#"["ch","id","5","hidden","me"]"#);
    let tx = Tx::evaluate("About")
        .tx_id("id")
        .creator("you")
        .transient("t", "other");
    let result = client
        .simulate(
            &chaincode,
            tx.timestamp(Timestamp {
                seconds: 6,
                nanos: 0,
            }),
        )
        .await;
    assert_eq!(answer(&result), r#"["ch","id","6","other","you"]"#);
}

#[tokio::test]
async fn keys_that_break_the_rules_do_not_reach_the_ledger() {
    let (ledger, chaincode) = ledger();
    for key in ["", "\0", "\0a"] {
        let result = ledger
            .simulate(&chaincode, Tx::submit("Put").json(&[(key, "v")]))
            .await;
        assert_eq!(result.response.status, 400, "{key:?}");
    }
    let missing = ledger
        .simulate(&chaincode, Tx::evaluate("Many").json(&["a", "b"]))
        .await;
    assert_eq!(answer(&missing), "[null,null]");
    for bounds in [("\0", ""), ("", "\0")] {
        let result = ledger
            .simulate(&chaincode, count(bounds.0, bounds.1, 1))
            .await;
        assert_eq!(result.response.status, 400, "{bounds:?}");
    }
}
