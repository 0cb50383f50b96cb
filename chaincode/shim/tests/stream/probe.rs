//! A contract whose functions each show one thing on the wire.

use std::{future::ready, pin::pin};

use fabric_shim::{ContractError, Stub, contract};
use futures::future::{Either, join, select};
use tokio::sync::mpsc;

/// Reports how ledger calls ended that nobody else sees the end of.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) reports: mpsc::UnboundedSender<String>,
}

impl Probe {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        (Self { reports }, receiver)
    }

    /// For tests that read no reports.
    pub(crate) fn silent() -> Self {
        Self::new().0
    }
}

#[contract(name = "probe")]
impl Probe {
    #[transaction(submit)]
    async fn get(&self, ctx: &Stub, key: String) -> Result<Vec<u8>, ContractError> {
        let value = ctx.get_state(&key).await;
        let report = match &value {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        // Tests that do not care have dropped the receiver.
        let _ = self.reports.send(report);
        Ok(value?.unwrap_or_default())
    }

    #[transaction(submit)]
    async fn get_many(&self, ctx: &Stub, count: usize) -> Result<usize, ContractError> {
        let keys: Vec<String> = (0..count).map(|n| format!("k{n}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = ctx.get_multiple_states(&keys).await?;
        Ok(values.into_iter().flatten().count())
    }

    /// Writes and, while gathering, goes on reading.
    #[transaction(submit)]
    async fn put_three(&self, ctx: &Stub) -> Result<(), ContractError> {
        ctx.start_write_batch();
        ctx.put_state("b", "1").await?;
        ctx.del_state("a").await?;
        ctx.put_private_data("c", "p", "2").await?;
        ctx.set_event("Put", "payload")?;
        Ok(())
    }

    #[transaction(submit)]
    async fn put_then_fail(&self, ctx: &Stub) -> Result<(), ContractError> {
        ctx.start_write_batch();
        ctx.put_state("a", "1").await?;
        Err(ContractError::conflict("no"))
    }

    #[transaction(submit)]
    async fn both_at_once(&self, ctx: &Stub) -> Result<String, ContractError> {
        let (one, two) = join(ctx.get_state("one"), ctx.get_state("two")).await;
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
        Ok(format!("{} {}", text(one?), text(two?)))
    }

    /// Asks, does not wait, asks something else.
    #[transaction(submit)]
    async fn give_up(&self, ctx: &Stub) -> Result<Vec<u8>, ContractError> {
        let first = pin!(ctx.get_state("first"));
        if let Either::Left(_) = select(first, ready(())).await {
            return Err(ContractError::internal(
                "the reply came before it was asked for",
            ));
        }
        Ok(ctx.get_state("second").await?.unwrap_or_default())
    }

    #[transaction(submit)]
    async fn panics(&self, _ctx: &Stub, text: String) -> Result<(), ContractError> {
        panic!("{text}");
    }

    /// Takes one record of a range and drops the rest.
    #[transaction(submit)]
    async fn first_of(
        &self,
        ctx: &Stub,
        start: String,
        end: String,
    ) -> Result<String, ContractError> {
        let mut range = ctx.get_state_by_range(&start, &end).await?;
        let first = range.next().await?.map(|record| record.key);
        drop(range);
        ctx.get_state("after").await?;
        Ok(first.unwrap_or_default())
    }

    #[transaction(evaluate)]
    async fn all_of(&self, ctx: &Stub) -> Result<Vec<String>, ContractError> {
        let records = ctx.get_state_by_range("", "").await?.collect().await?;
        Ok(records.into_iter().map(|record| record.key).collect())
    }

    #[transaction(submit)]
    async fn put_simple(&self, ctx: &Stub, key: String) -> Result<(), ContractError> {
        Ok(ctx.put_state(&key, "v").await?)
    }

    #[transaction(evaluate)]
    async fn about(&self, ctx: &Stub) -> Result<Vec<String>, ContractError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let hex: String = ctx
            .binding()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(vec![
            text(ctx.creator()),
            text(ctx.transient().get("t").map_or(b"", Vec::as_slice)),
            format!(
                "{}.{}",
                ctx.tx_timestamp().seconds,
                ctx.tx_timestamp().nanos
            ),
            hex,
            text(
                ctx.signed_proposal()
                    .map_or(b"", |signed| &signed.signature),
            ),
        ])
    }

    #[transaction(submit)]
    async fn call(
        &self,
        ctx: &Stub,
        name: String,
        channel: String,
    ) -> Result<String, ContractError> {
        let response = ctx.invoke_chaincode(&name, &["f", "x"], &channel).await?;
        Ok(format!("{} {}", response.status, response.message))
    }
}
