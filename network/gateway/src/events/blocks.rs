//! Blocks, whole and reduced.

use std::pin::Pin;
use std::task::{Context, Poll};

use fabric_msp::SignatureError;
use fabric_protos::common::{
    Block, BlockMetadataIndex, ChannelHeader, Envelope, Header, HeaderType, Payload,
};
use fabric_protos::orderer::seek_info::SeekBehavior;
use fabric_protos::orderer::{SeekInfo, SeekNextCommit, SeekPosition, seek_position};
use fabric_protos::protos::filtered_transaction::Data;
use fabric_protos::protos::{DeliverResponse, FilteredBlock, deliver_response};
use futures::Stream;
use prost::Message as _;
use tonic::{Response, Streaming};

use super::chaincode::specified;
use super::checkpoint::{Checkpoint, Start};
use super::feed::{AskError, Feed, Source};
use crate::contract::{now, unique};
use crate::error::EventsError;
use crate::network::Network;
use crate::proposal::signature_header;
use crate::transport::deliver_client;
use crate::validation_code::ValidationCode;

/// A block of the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEvent {
    /// Its number.
    pub number: u64,
    /// Hash of the header of the block before.
    pub previous_hash: Vec<u8>,
    /// Hash of its envelopes.
    pub data_hash: Vec<u8>,
    /// Its envelopes (`common.Envelope`), in order.
    pub envelopes: Vec<Vec<u8>>,
    /// What the peer decided about each envelope.
    pub codes: Vec<ValidationCode>,
    /// The whole block as bytes (`common.Block`).
    pub encoded: Vec<u8>,
}

/// A block reduced to what everybody on the channel may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredBlockEvent {
    /// Its number.
    pub number: u64,
    /// Its transactions, in order.
    pub transactions: Vec<FilteredTransaction>,
}

/// A transaction of a reduced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredTransaction {
    /// Its ID; empty for a configuration.
    pub transaction_id: String,
    /// What the peer decided.
    pub code: ValidationCode,
    /// Chaincode and name of its events; the content is left out.
    pub events: Vec<(String, String)>,
}

macro_rules! block_stream {
    ($(#[$docs:meta])* $name:ident, $event:ty, $source:ident, $method:ident) => {
        $(#[$docs])*
        ///
        /// It continues behind the last block when a peer is lost, and ends after an error.
        #[derive(Debug)]
        pub struct $name {
            feed: Feed<$event>,
        }

        impl $name {
            pub(crate) fn open(network: Network, start: Start) -> Self {
                let source = $source { network: network.clone(), start };
                Self { feed: Feed::start(network, source) }
            }

            /// The next block. Dropping the future loses none.
            pub async fn next(&mut self) -> Option<Result<$event, EventsError>> {
                self.feed.next().await
            }
        }

        impl Stream for $name {
            type Item = Result<$event, EventsError>;

            fn poll_next(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                self.feed.poll_next(cx)
            }
        }

        struct $source {
            network: Network,
            start: Start,
        }

        impl Source for $source {
            type Message = DeliverResponse;
            type Event = $event;

            async fn ask(
                &self,
                channel: tonic::transport::Channel,
            ) -> Result<Response<Streaming<DeliverResponse>>, AskError> {
                let envelope = seek_envelope(&self.network, &self.start)?;
                // The request's half stays open, for peers that end when it ends.
                let requests = futures::StreamExt::chain(
                    futures::stream::iter([envelope]),
                    futures::stream::pending(),
                );
                Ok(deliver_client(channel).$method(requests).await?)
            }

            fn read(&mut self, message: DeliverResponse) -> Result<Vec<$event>, EventsError> {
                Ok(vec![read(message)?])
            }

            fn passed(&mut self, event: &$event) {
                self.start = Start::After(Checkpoint::behind_block(event.number));
            }
        }
    };
}

block_stream!(
    /// A stream of whole blocks.
    BlockEvents, BlockEvent, BlockSource, deliver
);
block_stream!(
    /// A stream of reduced blocks.
    FilteredBlockEvents, FilteredBlockEvent, FilteredSource, deliver_filtered
);

/// Reads a message of the peer into the kind of block asked for.
fn read<E: TryFrom<deliver_response::Type, Error = EventsError>>(
    message: DeliverResponse,
) -> Result<E, EventsError> {
    match message.r#type {
        Some(deliver_response::Type::Status(status)) => Err(EventsError::Deliver { status }),
        Some(content) => content.try_into(),
        None => Err(EventsError::Malformed),
    }
}

impl TryFrom<deliver_response::Type> for BlockEvent {
    type Error = EventsError;

    fn try_from(content: deliver_response::Type) -> Result<Self, EventsError> {
        let deliver_response::Type::Block(block) = content else {
            return Err(EventsError::Malformed);
        };
        Self::read(block).ok_or(EventsError::Malformed)
    }
}

impl BlockEvent {
    fn read(block: Block) -> Option<Self> {
        let encoded = block.encode_to_vec();
        let header = block.header?;
        let flags = BlockMetadataIndex::TransactionsFilter as usize;
        let flags = block
            .metadata
            .unwrap_or_default()
            .metadata
            .into_iter()
            .nth(flags);
        let codes = flags.unwrap_or_default().into_iter();
        Some(Self {
            number: header.number,
            previous_hash: header.previous_hash,
            data_hash: header.data_hash,
            envelopes: block.data.unwrap_or_default().data,
            codes: codes
                .map(|code| ValidationCode::from_wire(code.into()))
                .collect(),
            encoded,
        })
    }
}

impl TryFrom<deliver_response::Type> for FilteredBlockEvent {
    type Error = EventsError;

    fn try_from(content: deliver_response::Type) -> Result<Self, EventsError> {
        let deliver_response::Type::FilteredBlock(block) = content else {
            return Err(EventsError::Malformed);
        };
        Ok(block.into())
    }
}

impl From<FilteredBlock> for FilteredBlockEvent {
    fn from(block: FilteredBlock) -> Self {
        let transactions = block.filtered_transactions.into_iter().map(|transaction| {
            let actions = match transaction.data {
                Some(Data::TransactionActions(actions)) => actions.chaincode_actions,
                None => Vec::new(),
            };
            let events = actions
                .into_iter()
                .filter_map(|action| action.chaincode_event);
            FilteredTransaction {
                transaction_id: transaction.txid,
                code: ValidationCode::from_wire(transaction.tx_validation_code),
                events: events
                    .map(|event| (event.chaincode_id, event.event_name))
                    .collect(),
            }
        });
        Self {
            number: block.number,
            transactions: transactions.collect(),
        }
    }
}

/// The signed request for all blocks from a start on.
fn seek_envelope(network: &Network, start: &Start) -> Result<Envelope, SignatureError> {
    let inner = &network.gateway.inner;
    let start = match start {
        Start::NextCommit => seek_position::Type::NextCommit(SeekNextCommit {}),
        Start::Block(number) => specified(*number),
        Start::After(checkpoint) => specified(checkpoint.block_number()),
    };
    let position = |r#type| {
        Some(SeekPosition {
            r#type: Some(r#type),
        })
    };
    let seek = SeekInfo {
        start: position(start),
        stop: position(specified(u64::MAX)),
        behavior: SeekBehavior::BlockUntilReady.into(),
        ..SeekInfo::default()
    };
    let channel_header = ChannelHeader {
        r#type: HeaderType::DeliverSeekInfo.into(),
        timestamp: Some(now()),
        channel_id: network.channel.to_string(),
        tls_cert_hash: inner.tls_certificate_hash.clone(),
        ..ChannelHeader::default()
    };
    let payload = Payload {
        header: Some(Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: signature_header(&inner.signer.creator(), &unique().nonce),
        }),
        data: seek.encode_to_vec(),
    }
    .encode_to_vec();
    let signature = inner.signer.sign(&payload)?;
    Ok(Envelope { payload, signature })
}
