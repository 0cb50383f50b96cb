mod metadata;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::{
    Codec, CodecError, ContractType, Next, StubError, contract,
    testing::{MemoryLedger, Tx, TxResult},
};

#[derive(Debug, PartialEq, Serialize, Deserialize, ContractType)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asset {
    asset_id: String,
    #[contract_type(maximum = 10)]
    size: u32,
    #[serde(default)]
    tags: Vec<String>,
    colour: Option<Colour>,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ContractType)]
struct Part {
    weight: f64,
    inner: Option<Box<Self>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ContractType)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    DarkBlue,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ContractType)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Shape {
    Circle { radius: u8 },
    Point,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ContractType)]
struct Page<T> {
    items: Vec<T>,
}

/// A type that does not describe itself.
#[derive(Serialize, Deserialize)]
struct Opaque(u8);

struct Types;

#[contract(name = "types")]
impl Types {
    #[transaction(evaluate)]
    async fn echo_text(&self, _ctx: &Stub, text: String) -> Result<String, ContractError> {
        Ok(text)
    }

    #[transaction(evaluate)]
    async fn echo_bytes(&self, _ctx: &Stub, bytes: Vec<u8>) -> Result<Vec<u8>, ContractError> {
        Ok(bytes)
    }

    #[transaction(evaluate)]
    async fn borrow(
        &self,
        _ctx: &Stub,
        text: &str,
        bytes: &[u8],
    ) -> Result<(usize, usize), ContractError> {
        Ok((text.len(), bytes.len()))
    }

    #[transaction(evaluate)]
    async fn many(
        &self,
        _ctx: &Stub,
        asset: Asset,
        map: HashMap<String, u64>,
        pair: (i8, bool),
        shape: Shape,
    ) -> Result<Value, ContractError> {
        Ok(json!([asset, map.len(), pair, shape]))
    }

    #[transaction(evaluate)]
    async fn optional(
        &self,
        _ctx: &Stub,
        first: Option<u8>,
        second: Option<String>,
    ) -> Result<Vec<Option<String>>, ContractError> {
        Ok(vec![first.map(|n| n.to_string()), second])
    }

    #[transaction(evaluate, name = "custom-Name")]
    fn without_waiting(&self, _ctx: &Stub, colour: Colour) -> Result<Colour, StubError> {
        Ok(colour)
    }

    #[transaction(submit)]
    async fn nothing(&self, _ctx: &Stub) -> Result<(), ContractError> {
        Ok(())
    }

    #[transaction(evaluate)]
    async fn pages(&self, _ctx: &Stub, _opaque: Opaque) -> Result<Page<Part>, ContractError> {
        Ok(Page { items: vec![] })
    }

    #[transaction(evaluate)]
    async fn unsorted(&self, _ctx: &Stub) -> Result<HashMap<String, u8>, ContractError> {
        Ok((0..40).map(|n| (format!("k{n:02}"), n)).collect())
    }
}

/// Notes in the state what is called, in which order.
struct Hooked;

#[contract]
impl Hooked {
    #[before]
    async fn check(&self, ctx: &Stub) -> Result<(), ContractError> {
        if ctx.transient().contains_key("refuse") {
            return Err(ContractError::forbidden("refused before"));
        }
        Ok(ctx.put_state("before", ctx.function()).await?)
    }

    #[around]
    async fn surround(&self, ctx: &Stub, next: Next<'_>) -> Result<Vec<u8>, ContractError> {
        let mut result = next.run().await?;
        result.extend_from_slice(b" around");
        ctx.put_state("around", "x").await?;
        Ok(result)
    }

    #[after]
    async fn note(&self, ctx: &Stub, result: &[u8]) -> Result<(), ContractError> {
        Ok(ctx.put_state("after", result).await?)
    }

    #[unknown]
    async fn other(
        &self,
        _ctx: &Stub,
        function: &str,
        args: &[Vec<u8>],
    ) -> Result<String, ContractError> {
        Ok(format!("{function}/{}", args.len()))
    }

    #[transaction]
    async fn run(&self, _ctx: &Stub) -> Result<String, ContractError> {
        Ok("run".to_owned())
    }
}

struct Writer;

#[contract(name = "org.example:writer")]
impl Writer {
    #[transaction(evaluate)]
    async fn cheat(&self, ctx: &Stub, how: String) -> Result<(), ContractError> {
        match how.as_str() {
            "put" => ctx.put_state("k", "v").await?,
            "del" => ctx.del_state("k").await?,
            "private" => ctx.put_private_data("c", "k", "v").await?,
            "purge" => ctx.purge_private_data("c", "k").await?,
            "policy" => ctx.set_state_validation_parameter("k", "p").await?,
            "event" => ctx.set_event("E", "p")?,
            _ => {}
        }
        Ok(())
    }
}

/// Sees an argument as the number of its bytes.
struct Length;

impl Codec for Length {
    fn decode<T: serde::de::DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(serde_json::from_str(&bytes.len().to_string())?)
    }

    fn encode<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, CodecError> {
        Ok(format!("<{}>", serde_json::to_string(value)?).into_bytes())
    }
}

struct Coded;

#[contract(name = "coded", codec = Length)]
impl Coded {
    #[transaction(evaluate)]
    async fn size(&self, _ctx: &Stub, size: u32) -> Result<u32, ContractError> {
        Ok(size)
    }
}

fn all() -> Chaincode {
    Chaincode::new()
        .with(Types)
        .with(Hooked)
        .with(Writer)
        .with(Coded)
}

async fn call(tx: Tx) -> TxResult {
    MemoryLedger::new("ch")
        .with_collections(&["c"])
        .simulate(&all(), tx)
        .await
}

/// The payload of a success as text, or the status and message of a failure.
async fn said(tx: Tx) -> Result<String, (i32, String)> {
    let response = call(tx).await.response;
    if response.is_success() {
        return Ok(String::from_utf8(response.payload).unwrap());
    }
    Err((response.status, response.message))
}

#[tokio::test]
async fn names_are_split_at_the_last_colon_and_the_first_contract_is_the_default() {
    for (name, expected) in [
        ("EchoText", Ok("hi")),
        ("echoText", Ok("hi")),
        ("types:EchoText", Ok("hi")),
        ("types:echoText", Ok("hi")),
        ("org.example:writer:Cheat", Ok("")),
        (
            "Types:EchoText",
            Err((404, "contract not found with name Types")),
        ),
        (":EchoText", Err((404, "contract not found with name "))),
        (
            "NoSuch:EchoText",
            Err((404, "contract not found with name NoSuch")),
        ),
        (
            "org.hyperledger.fabric:EchoText",
            Err((
                404,
                "function EchoText not found in contract org.hyperledger.fabric",
            )),
        ),
        (
            "echotext",
            Err((404, "function echotext not found in contract types")),
        ),
        (
            "Cheat",
            Err((404, "function Cheat not found in contract types")),
        ),
        ("types:", Err((400, "no function is named"))),
        ("", Err((400, "no function is named"))),
    ] {
        let found = said(Tx::evaluate(name).argument("hi")).await;
        let expected = expected
            .map(str::to_owned)
            .map_err(|(s, m)| (s, m.to_owned()));
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn text_and_bytes_pass_unchanged() {
    let raw = b"\x00\xff[1,2]".to_vec();
    let echoed = call(Tx::evaluate("EchoBytes").argument(raw.clone())).await;
    assert_eq!(echoed.response.payload, raw);
    let (status, _) = said(Tx::evaluate("EchoText").argument(raw))
        .await
        .unwrap_err();
    assert_eq!(status, 400);
    let lengths = said(
        Tx::evaluate("Borrow")
            .argument("été")
            .argument(b"\xff".to_vec()),
    )
    .await;
    assert_eq!(lengths.unwrap(), "[5,1]");
}

#[tokio::test]
async fn structured_arguments_are_json() {
    let asset = r#"{"assetId":"a","size":3,"colour":"darkblue","parts":[]}"#;
    let tx = || {
        Tx::evaluate("Many")
            .argument(asset)
            .argument(r#"{"x":1,"y":2}"#)
    };
    let told = said(
        tx().argument("[-1,true]")
            .argument(r#"{"kind":"circle","radius":2}"#),
    )
    .await;
    assert_eq!(
        serde_json::from_str::<Value>(&told.unwrap()).unwrap(),
        json!([
            {"assetId": "a", "size": 3, "colour": "darkblue", "parts": [], "tags": []},
            2,
            [-1, true],
            {"kind": "circle", "radius": 2},
        ])
    );
    let (status, message) = said(tx().argument("[-1,1]").argument("{}"))
        .await
        .unwrap_err();
    assert_eq!(status, 400);
    assert!(message.starts_with("argument pair: "), "{message}");
    let unknown_member = r#"{"assetId":"a","size":3,"parts":[],"extra":1}"#;
    let (_, message) = said(Tx::evaluate("Many").argument(unknown_member))
        .await
        .unwrap_err();
    assert!(message.starts_with("argument asset: "), "{message}");
}

#[tokio::test]
async fn optional_arguments_may_be_absent_null_or_empty() {
    let tx = || Tx::evaluate("Optional");
    for (tx, expected) in [
        (tx(), "[null,null]"),
        (tx().argument("7"), r#"["7",null]"#),
        (tx().argument("null").argument("x"), r#"[null,"x"]"#),
        (tx().argument("").argument(""), r#"[null,""]"#),
    ] {
        assert_eq!(said(tx).await.unwrap(), expected);
    }
    assert_eq!(said(tx().argument("x")).await.unwrap_err().0, 400);
}

#[tokio::test]
async fn the_number_of_arguments_is_checked() {
    for (tx, message) in [
        (Tx::evaluate("EchoText"), "argument text is missing"),
        (
            Tx::evaluate("EchoText").argument("a").argument("b"),
            "2 arguments given, at most 1 taken",
        ),
    ] {
        assert_eq!(said(tx).await, Err((400, message.to_owned())));
    }
}

#[tokio::test]
async fn functions_may_have_their_own_wire_name_and_need_not_be_async() {
    assert_eq!(
        said(Tx::evaluate("custom-Name").argument("red"))
            .await
            .unwrap(),
        "\"red\""
    );
    let (status, _) = said(Tx::evaluate("WithoutWaiting").argument("red"))
        .await
        .unwrap_err();
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_hash_map_is_answered_in_the_same_order_every_time() {
    let first = said(Tx::evaluate("Unsorted")).await.unwrap();
    assert_eq!(first, said(Tx::evaluate("Unsorted")).await.unwrap());
    let map: BTreeMap<String, u8> = serde_json::from_str(&first).unwrap();
    assert_eq!(serde_json::to_string(&map).unwrap(), first);
}

#[tokio::test]
async fn hooks_run_before_around_and_after() {
    let result = call(Tx::submit("Hooked:Run")).await;
    assert_eq!(result.response.payload, b"run around");
    let writes: BTreeMap<String, Vec<u8>> = result
        .writes
        .into_iter()
        .map(|write| (write.key, write.value.unwrap_or_default()))
        .collect();
    let expected: [(&str, &[u8]); 3] = [
        ("after", b"run around"),
        ("around", b"x"),
        ("before", b"Run"),
    ];
    assert!(
        writes
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_slice()))
            .eq(expected)
    );
}

#[tokio::test]
async fn a_hook_that_refuses_ends_the_call() {
    let result = call(Tx::submit("Hooked:Run").transient("refuse", "")).await;
    assert_eq!((result.response.status, result.writes.len()), (403, 0));
}

#[tokio::test]
async fn unknown_functions_go_to_the_hook() {
    let told = said(Tx::submit("Hooked:NoSuch").argument("a").argument("b")).await;
    assert_eq!(told.unwrap(), "NoSuch/2 around");
}

#[tokio::test]
async fn evaluate_functions_cannot_write() {
    for how in ["put", "del", "private", "purge", "policy", "event"] {
        let result = call(Tx::evaluate("org.example:writer:Cheat").argument(how)).await;
        assert_eq!(result.response.status, 500, "{how}");
        assert!(
            result
                .response
                .message
                .starts_with("a transaction marked evaluate called ")
        );
        assert!(result.writes.is_empty() && result.private_writes.is_empty());
    }
}

#[tokio::test]
async fn a_contract_may_bring_its_own_codec() {
    assert_eq!(
        said(Tx::evaluate("coded:Size").argument("four"))
            .await
            .unwrap(),
        "<4>"
    );
}

#[tokio::test]
async fn initialisation_without_arguments_succeeds() {
    let stub = |args: &[&str]| {
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        crate::testing::stub_with_args(args)
    };
    assert_eq!(all().init(&stub(&[])).await, Response::success(vec![]));
    assert_eq!(
        all().init(&stub(&["EchoText", "x"])).await,
        Response::success(b"x".to_vec())
    );
    assert_eq!(all().invoke(&stub(&[])).await.status, 400);
}

#[test]
fn two_contracts_with_one_name_are_refused() {
    assert!(all().check().is_ok());
    let twice = all().with(Types).check().unwrap_err();
    assert_eq!(twice.to_string(), "two contracts are named types");
}

#[tokio::test]
async fn metadata_can_be_given() {
    let given = Chaincode::new()
        .with(Types)
        .with_metadata(br#"{"info":{}}"#)
        .unwrap();
    let ledger = MemoryLedger::new("ch");
    let tx = Tx::evaluate("org.hyperledger.fabric:GetMetadata");
    let told = ledger.simulate(&given, tx).await.response.payload;
    assert_eq!(told, br#"{"info":{}}"#);
    assert!(Chaincode::new().with_metadata(b"[]").is_err());
}
