//! One transaction from proposal to result, in a task of its own.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::{
    Chaincode, Response, Stub,
    handler::{Invocation, Outcome, RunId, Stage},
    link::{Command, Link, PeerLink},
    response::{STATUS_ERROR_THRESHOLD, STATUS_INTERNAL},
    transaction::Transaction,
};

/// Runs a transaction. Whatever happens in it, there is an outcome.
pub(super) async fn execute(
    invocation: Invocation,
    commands: mpsc::Sender<Command>,
    chaincode: Arc<Chaincode>,
) -> (RunId, Outcome) {
    let id = invocation.run.clone();
    let span = tracing::info_span!(
        "transaction",
        tx_id = id.key.tx_id,
        channel = id.key.channel_id
    );
    let started = Instant::now();
    let outcome = guarded(invocation, commands, &chaincode)
        .instrument(span)
        .await;
    measure(&id, &outcome, started);
    (id, outcome)
}

/// Counts the transaction and its time, for whatever recorder the program has installed.
fn measure(id: &RunId, outcome: &Outcome, started: Instant) {
    let outcome = match outcome {
        Outcome::Completed { response, .. } if response.status < STATUS_ERROR_THRESHOLD => {
            "success"
        }
        Outcome::Completed { .. } => "refusal",
        Outcome::Failed { .. } => "failure",
    };
    let channel = id.key.channel_id.clone();
    let labels = [("channel", channel), ("outcome", outcome.to_owned())];
    metrics::counter!("chaincode_transactions_total", &labels).increment(1);
    metrics::histogram!("chaincode_transaction_seconds", &labels).record(started.elapsed());
}

async fn guarded(
    invocation: Invocation,
    commands: mpsc::Sender<Command>,
    chaincode: &Chaincode,
) -> Outcome {
    let tx_id = invocation.run.key.tx_id.clone();
    // The stub is dropped with the future, and contracts share nothing else that a panic could
    // leave half done: their state is the ledger's.
    let run = AssertUnwindSafe(answer(invocation, commands, chaincode));
    match run.catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            tracing::error!(panic = panic_text(panic.as_ref()), "the contract panicked");
            let message = format!("the contract panicked in transaction {tx_id}");
            Outcome::Completed {
                response: Response::failure(STATUS_INTERNAL, message).into(),
                event: None,
            }
        }
    }
}

async fn answer(
    invocation: Invocation,
    commands: mpsc::Sender<Command>,
    chaincode: &Chaincode,
) -> Outcome {
    let Invocation {
        run,
        stage,
        input,
        proposal,
        capabilities,
    } = invocation;
    let transaction = match Transaction::parse(run.key.clone(), &input, proposal) {
        Ok(transaction) => transaction,
        Err(error) => {
            let message = format!("the transaction cannot be read: {error}");
            return Outcome::Failed { message };
        }
    };
    let link = Link::Peer(PeerLink { run, commands });
    let stub = Stub::new(transaction, capabilities, link);
    let response = match stage {
        Stage::Init => chaincode.init(&stub).await,
        Stage::Transaction => chaincode.invoke(&stub).await,
    };
    tracing::debug!(
        function = stub.function(),
        status = response.status,
        "answered"
    );
    if stage == Stage::Init && response.status >= STATUS_INTERNAL {
        return Outcome::Failed {
            message: response.message,
        };
    }
    Outcome::Completed {
        response: response.into(),
        event: stub.take_event(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without text")
}
