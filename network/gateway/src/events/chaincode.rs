//! Events of a chaincode.

use std::pin::Pin;
use std::task::{Context, Poll};

use fabric_protos::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest,
};
use fabric_protos::orderer::{SeekNextCommit, SeekPosition, SeekSpecified, seek_position};
use futures::Stream;
use prost::Message as _;
use tonic::{Response, Streaming};

use super::checkpoint::{Checkpoint, Start};
use super::feed::{AskError, Feed, Source};
use crate::error::EventsError;
use crate::network::Network;
use crate::transport::gateway_client;

/// What a contract told the world, in a transaction that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeEvent {
    /// The block that the transaction is in.
    pub block_number: u64,
    /// The transaction.
    pub transaction_id: String,
    /// The chaincode.
    pub chaincode: String,
    /// The event's name.
    pub name: String,
    /// Its content.
    pub payload: Vec<u8>,
}

/// A stream of a chaincode's events, in the order of the blocks, each once.
///
/// It ends after an error: no peer could be reached for ten minutes, or the request was refused.
/// With [`Start::NextCommit`], blocks that are committed while no peer is connected are missed
/// until the first event came; a start by block or checkpoint misses none.
#[derive(Debug)]
pub struct ChaincodeEvents {
    feed: Feed<ChaincodeEvent>,
}

impl ChaincodeEvents {
    pub(crate) fn open(network: Network, chaincode: String, start: Start) -> Self {
        let source = ChaincodeSource {
            network: network.clone(),
            chaincode,
            start,
        };
        Self {
            feed: Feed::start(network, source),
        }
    }

    /// The next event. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Result<ChaincodeEvent, EventsError>> {
        self.feed.next().await
    }
}

impl Stream for ChaincodeEvents {
    type Item = Result<ChaincodeEvent, EventsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.feed.poll_next(cx)
    }
}

struct ChaincodeSource {
    network: Network,
    chaincode: String,
    start: Start,
}

impl Source for ChaincodeSource {
    type Message = ChaincodeEventsResponse;
    type Event = ChaincodeEvent;

    async fn ask(
        &self,
        channel: tonic::transport::Channel,
    ) -> Result<Response<Streaming<ChaincodeEventsResponse>>, AskError> {
        let signer = &self.network.gateway.inner.signer;
        let request = request(
            &self.network.channel,
            &self.chaincode,
            &self.start,
            signer.creator(),
        );
        let signature = signer.sign(&request)?;
        let signed = SignedChaincodeEventsRequest { request, signature };
        Ok(gateway_client(channel).chaincode_events(signed).await?)
    }

    fn read(
        &mut self,
        message: ChaincodeEventsResponse,
    ) -> Result<Vec<ChaincodeEvent>, EventsError> {
        let block_number = message.block_number;
        let events = message.events.into_iter().map(|event| ChaincodeEvent {
            block_number,
            transaction_id: event.tx_id,
            chaincode: event.chaincode_id,
            name: event.event_name,
            payload: event.payload,
        });
        Ok(events.collect())
    }

    fn passed(&mut self, event: &ChaincodeEvent) {
        self.start = Start::After(Checkpoint::behind_event(event));
    }
}

/// The bytes of the request to sign.
pub(crate) fn request(channel: &str, chaincode: &str, start: &Start, creator: Vec<u8>) -> Vec<u8> {
    let (position, after) = match start {
        Start::NextCommit => (seek_position::Type::NextCommit(SeekNextCommit {}), None),
        Start::Block(number) => (specified(*number), None),
        Start::After(checkpoint) => (
            specified(checkpoint.block_number()),
            checkpoint.transaction_id(),
        ),
    };
    ChaincodeEventsRequest {
        channel_id: channel.to_owned(),
        chaincode_id: chaincode.to_owned(),
        identity: creator,
        start_position: Some(SeekPosition {
            r#type: Some(position),
        }),
        after_transaction_id: after.unwrap_or_default().to_owned(),
    }
    .encode_to_vec()
}

pub(super) fn specified(number: u64) -> seek_position::Type {
    seek_position::Type::Specified(SeekSpecified { number })
}
