//! The bytes that a real peer made of the same calls.

use fabric_protos::rwset::TxReadWriteSet;
use prost::Message as _;

use super::super::*;
use crate::{
    ContractError, EndorserRole, KeyEndorsementPolicy, Stub, StubError, contract,
    create_composite_key,
};

/// Makes the calls that its argument lists.
struct Judge;

#[contract(name = "script")]
impl Judge {
    #[transaction(submit)]
    async fn run(&self, ctx: &Stub, steps: Vec<Vec<String>>) -> Result<(), ContractError> {
        for step in steps {
            let step: Vec<&str> = step.iter().map(String::as_str).collect();
            match step.as_slice() {
                // Refusals are part of the recording, and leave their marks in the set.
                ["try", step @ ..] => {
                    let _ = attempt(ctx, step).await;
                }
                ["event", name] => ctx.set_event(name, "payload")?,
                ["batch"] => ctx.start_write_batch(),
                [private, ..] if private.starts_with('p') && is_private(private) => {
                    private_step(ctx, &step).await?;
                }
                _ => public_step(ctx, &step).await?,
            }
        }
        Ok(())
    }
}

fn is_private(name: &str) -> bool {
    !matches!(
        name,
        "put" | "putn" | "putc" | "page" | "partial" | "policy"
    )
}

fn policy() -> Vec<u8> {
    let mut policy = KeyEndorsementPolicy::new();
    policy.add(EndorserRole::Peer, &["Org1MSP"]);
    policy.to_bytes()
}

async fn attempt(ctx: &Stub, step: &[&str]) -> Result<(), StubError> {
    match step {
        ["pput", key, value] => ctx.put_private_data("records", key, *value).await,
        ["prange"] => ctx
            .get_private_data_by_range("records", "", "")
            .await
            .map(drop),
        ["page"] => {
            let page = ctx.get_state_by_range_with_pagination("", "", 1, "").await;
            page.map(drop)
        }
        ["put"] => ctx.put_state("z", "z").await,
        ["badcoll"] => ctx.get_private_data("nope", "k").await.map(drop),
        ["rich"] => ctx.get_query_result("{}").await.map(drop),
        other => panic!("unknown step {other:?}"),
    }
}

async fn public_step(ctx: &Stub, step: &[&str]) -> Result<(), ContractError> {
    match step {
        ["put", key, value] => ctx.put_state(key, *value).await?,
        ["putn", count, prefix] => {
            for index in 0..count.parse::<usize>().unwrap() {
                ctx.put_state(&format!("{prefix}{index:05}"), "v").await?;
            }
        }
        ["putc", kind, part, value] => {
            ctx.put_state(&create_composite_key(kind, &[part])?, *value)
                .await?;
        }
        ["del", key] => ctx.del_state(key).await?,
        ["get", key] => drop(ctx.get_state(key).await?),
        ["many", keys @ ..] => drop(ctx.get_multiple_states(keys).await?),
        ["range", start, end, count] => {
            let mut range = ctx.get_state_by_range(start, end).await?;
            for _ in 0..count.parse::<usize>().unwrap() {
                if range.next().await?.is_none() {
                    break;
                }
            }
        }
        ["page", start, end, size, bookmark] => {
            let size = size.parse().unwrap();
            ctx.get_state_by_range_with_pagination(start, end, size, bookmark)
                .await?;
        }
        ["partial", kind] => {
            ctx.get_state_by_partial_composite_key(kind, &[])
                .await?
                .collect()
                .await?;
        }
        ["allc", size] => {
            let size = size.parse().unwrap();
            ctx.get_all_states_composite_key_with_pagination(size, "")
                .await?;
        }
        ["history", key] => drop(ctx.get_history_for_key(key).await?.collect().await?),
        ["policy", key] => ctx.set_state_validation_parameter(key, policy()).await?,
        ["getpolicy", key] => drop(ctx.get_state_validation_parameter(key).await?),
        other => panic!("unknown step {other:?}"),
    }
    Ok(())
}

async fn private_step(ctx: &Stub, step: &[&str]) -> Result<(), ContractError> {
    let name = "records";
    match step {
        ["pput", key, value] => ctx.put_private_data(name, key, *value).await?,
        ["pputc", kind, part, value] => {
            let key = create_composite_key(kind, &[part])?;
            ctx.put_private_data(name, &key, *value).await?;
        }
        ["pget", key] => drop(ctx.get_private_data(name, key).await?),
        ["pmany", keys @ ..] => drop(ctx.get_multiple_private_data(name, keys).await?),
        ["phash", key] => drop(ctx.get_private_data_hash(name, key).await?),
        ["pdel", key] => ctx.del_private_data(name, key).await?,
        ["ppurge", key] => ctx.purge_private_data(name, key).await?,
        ["ppolicy", key] => {
            ctx.set_private_data_validation_parameter(name, key, policy())
                .await?;
        }
        ["pgetpolicy", key] => drop(ctx.get_private_data_validation_parameter(name, key).await?),
        ["prange", start, end] => {
            ctx.get_private_data_by_range(name, start, end)
                .await?
                .collect()
                .await?;
        }
        ["pafter", kind, part] => {
            let after = match *part {
                "" => String::new(),
                part => create_composite_key(kind, &[part])?,
            };
            let found = ctx
                .get_private_data_by_partial_composite_key_after(name, kind, &[], &after)
                .await?;
            found.collect().await?;
        }
        other => panic!("unknown step {other:?}"),
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn read_write_sets_equal_those_of_a_real_peer() {
    let ledger =
        MemoryLedger::with_chaincode_name("mychannel", "judge").with_collections(&["records"]);
    // The peer's first blocks hold the configuration and the chaincode's definition.
    ledger.commit(&[]);
    ledger.commit(&[]);
    let chaincode = Chaincode::new().with(Judge);
    let recorded = include_str!("../recorded.txt").lines();
    let recorded: Vec<&str> = recorded.filter(|line| !line.starts_with('#')).collect();
    assert_eq!(recorded.len() % 2, 0);
    for pair in recorded.chunks(2) {
        let (steps, expected) = (pair[0], pair[1]);
        let result = ledger
            .invoke(&chaincode, Tx::submit("Run").argument(steps))
            .await;
        assert_eq!(
            result.validation,
            Some(ValidationCode::Valid),
            "{steps} {result:?}"
        );
        let set = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
        let found = set
            .ns_rwset
            .iter()
            .map(|namespace| hex(&namespace.encode_to_vec()));
        assert_eq!(found.collect::<String>(), expected, "{steps}");
    }
}
