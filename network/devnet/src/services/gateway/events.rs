//! ChaincodeEvents: the events of one chaincode, block by block.

use fabric_protos::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest,
};
use fabric_protos::orderer::{SeekPosition, seek_position};
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::GatewayService;
use crate::block::{number_of, transactions};
use crate::ledger::Channel;

/// Blocks with events that may wait for a slow client.
const OUTGOING_RESPONSES: usize = 16;

type Responses = ReceiverStream<Result<ChaincodeEventsResponse, Status>>;

pub(super) fn stream(
    gateway: &GatewayService,
    signed: &SignedChaincodeEventsRequest,
) -> Result<Responses, Status> {
    if signed.request.is_empty() {
        return Err(Status::invalid_argument(
            "a chaincode events request is required",
        ));
    }
    let request = ChaincodeEventsRequest::decode(signed.request.as_slice()).map_err(|error| {
        Status::invalid_argument(format!("invalid chaincode events request: {error}"))
    })?;
    gateway.check_readers(
        &request.channel_id,
        signed.request.clone(),
        request.identity.clone(),
        signed.signature.clone(),
    )?;
    let start = start_block(&gateway.shared.channel, &request)?;
    let (sender, receiver) = mpsc::channel(OUTGOING_RESPONSES);
    let matcher = Matcher::new(&request);
    let feed = follow(gateway.clone(), start, matcher, sender);
    gateway.shared.tasks.spawn(feed);
    Ok(ReceiverStream::new(receiver))
}

fn start_block(channel: &Channel, request: &ChaincodeEventsRequest) -> Result<u64, Status> {
    let after = &request.after_transaction_id;
    if !after.is_empty()
        && let Some((_, number)) = channel.transaction_status(after)
    {
        return Ok(number);
    }
    let position = request.start_position.as_ref();
    match position.and_then(|SeekPosition { r#type }| r#type.as_ref()) {
        None | Some(seek_position::Type::NextCommit(_)) => Ok(channel.height()),
        Some(seek_position::Type::Specified(position)) => Ok(position.number),
        Some(seek_position::Type::Newest(_)) => Err(invalid_position("SeekPosition_Newest")),
        Some(seek_position::Type::Oldest(_)) => Err(invalid_position("SeekPosition_Oldest")),
    }
}

fn invalid_position(kind: &str) -> Status {
    Status::invalid_argument(format!("invalid start position type: *orderer.{kind}"))
}

async fn follow(
    gateway: GatewayService,
    start: u64,
    mut matcher: Matcher,
    responses: mpsc::Sender<Result<ChaincodeEventsResponse, Status>>,
) {
    let shared = &gateway.shared;
    let mut number = start;
    loop {
        let reached = tokio::select! {
            reached = shared.wait_for_height(number.saturating_add(1)) => reached,
            () = responses.closed() => return,
        };
        if !reached {
            let over = Status::unavailable("the network is shutting down");
            // Nobody may be listening any more.
            drop(responses.try_send(Err(over)));
            return;
        }
        let response = match shared.channel.block_by_number(number) {
            Ok(Some(block)) => matcher.events(&block).map(Ok),
            Ok(None) => None,
            Err(error) => Some(Err(Status::aborted(error.to_string()))),
        };
        if let Some(response) = response {
            let failed = response.is_err();
            if responses.send(response).await.is_err() || failed {
                return;
            }
        }
        number += 1;
    }
}

/// Picks the events of one chaincode, once a given transaction has gone by.
#[derive(Debug)]
struct Matcher {
    chaincode: String,
    /// The transaction whose event must be seen first; none once it was.
    after: Option<String>,
}

impl Matcher {
    fn new(request: &ChaincodeEventsRequest) -> Self {
        Self {
            chaincode: request.chaincode_id.clone(),
            after: Some(request.after_transaction_id.clone()).filter(|after| !after.is_empty()),
        }
    }

    fn events(&mut self, block: &fabric_protos::common::Block) -> Option<ChaincodeEventsResponse> {
        let valid = transactions(block)
            .into_iter()
            .filter(|transaction| transaction.code == TxValidationCode::Valid);
        let events: Vec<_> = valid
            .flat_map(|transaction| transaction.events())
            .filter(|event| self.matches(event))
            .collect();
        (!events.is_empty()).then(|| ChaincodeEventsResponse {
            events,
            block_number: number_of(block),
        })
    }

    fn matches(&mut self, event: &ChaincodeEvent) -> bool {
        if let Some(after) = &self.after {
            if *after == event.tx_id {
                self.after = None;
            }
            return false;
        }
        event.chaincode_id == self.chaincode
    }
}

#[cfg(test)]
mod tests {
    use super::{ChaincodeEvent, ChaincodeEventsRequest, Matcher};

    #[test]
    fn events_after_a_transaction() {
        let event = |chaincode: &str, tx_id: &str| ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            tx_id: tx_id.to_owned(),
            event_name: "E".to_owned(),
            payload: Vec::new(),
        };
        let request = |after: &str| ChaincodeEventsRequest {
            chaincode_id: "cc".to_owned(),
            after_transaction_id: after.to_owned(),
            ..ChaincodeEventsRequest::default()
        };
        let events = [
            event("cc", "1"),
            event("other", "2"),
            event("cc", "3"),
            event("cc", "4"),
        ];
        let table: [(&str, &[&str]); 5] = [
            ("", &["1", "3", "4"]),
            ("1", &["3", "4"]),
            ("2", &["3", "4"]),
            ("4", &[]),
            ("unknown", &[]),
        ];
        for (after, expected) in table {
            let mut matcher = Matcher::new(&request(after));
            let seen: Vec<_> = events
                .iter()
                .filter(|event| matcher.matches(event))
                .collect();
            let seen: Vec<_> = seen.iter().map(|event| event.tx_id.as_str()).collect();
            assert_eq!(seen, expected, "after {after}");
        }
    }
}
