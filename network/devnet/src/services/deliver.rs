//! `protos.Deliver`: blocks from a position on, whole, filtered or with private data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fabric_msp::ValidIdentity;
use fabric_protos::common::{
    Block, ChannelHeader, Envelope, Payload, SignatureHeader, Status as FabricStatus,
};
use fabric_protos::orderer::seek_info::{SeekBehavior, SeekContentType};
use fabric_protos::orderer::{SeekInfo, SeekPosition, seek_position};
use fabric_protos::protos::deliver_server::Deliver;
use fabric_protos::protos::{BlockAndPrivateData, DeliverResponse, deliver_response};
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Shared, unix_now};
use crate::block::{filtered_block, is_config_block, number_of};
use crate::policy::SignedData;

/// Blocks that may wait for a slow client.
pub(super) const OUTGOING_BLOCKS: usize = 4;
/// How far a request's time may be off.
const TIME_WINDOW: Duration = Duration::from_secs(15 * 60);
const READERS: &str = "/Channel/Application/Readers";

/// One thing to send.
#[derive(Debug)]
pub(super) enum Content {
    Status(FabricStatus),
    Block {
        block: Box<Block>,
        reader: Box<ValidIdentity>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct DeliverService {
    pub(crate) shared: Arc<Shared>,
}

type ResponseStream = ReceiverStream<Result<DeliverResponse, Status>>;

#[tonic::async_trait]
impl Deliver for DeliverService {
    type DeliverStream = ResponseStream;
    type DeliverFilteredStream = ResponseStream;
    type DeliverWithPrivateDataStream = ResponseStream;

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<ResponseStream>, Status> {
        Ok(self.serve(request, |block, _| Ok(deliver_response::Type::Block(block))))
    }

    async fn deliver_filtered(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<ResponseStream>, Status> {
        let filter = |block: Block, _: &ValidIdentity| {
            Ok(deliver_response::Type::FilteredBlock(filtered_block(
                &block,
            )))
        };
        Ok(self.serve(request, filter))
    }

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<ResponseStream>, Status> {
        let channel = self.shared.channel.clone();
        let with_private = move |block: Block, reader: &ValidIdentity| {
            let private = channel.private_data(number_of(&block), &reader.msp_id);
            let private_data_map: BTreeMap<u64, TxPvtReadWriteSet> =
                private.map_err(|error| Status::internal(error.to_string()))?;
            Ok(deliver_response::Type::BlockAndPrivateData(
                BlockAndPrivateData {
                    block: Some(block),
                    private_data_map,
                },
            ))
        };
        Ok(self.serve(request, with_private))
    }
}

impl DeliverService {
    fn serve<F>(
        &self,
        request: Request<Streaming<Envelope>>,
        convert: F,
    ) -> Response<ResponseStream>
    where
        F: Fn(Block, &ValidIdentity) -> Result<deliver_response::Type, Status>
            + Send
            + Sync
            + 'static,
    {
        let (blocks, stream) = mpsc::channel(OUTGOING_BLOCKS);
        let session = Session {
            shared: Arc::clone(&self.shared),
            policy: READERS,
        };
        let to_response = move |content: Content| {
            let kind = match content {
                Content::Status(status) => deliver_response::Type::Status(status.into()),
                Content::Block { block, reader } => convert(*block, &reader)?,
            };
            Ok(DeliverResponse { r#type: Some(kind) })
        };
        let requests = request.into_inner();
        self.shared
            .tasks
            .spawn(session.run(requests, blocks, to_response));
        Response::new(ReceiverStream::new(stream))
    }
}

/// One client's stream: any number of seek requests, one after the other.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    /// Who may read.
    pub(super) policy: &'static str,
}

/// Why a session cannot go on; the client is gone or the network stops.
struct Over;

impl Session {
    pub(super) async fn run<T, F>(
        self,
        mut requests: Streaming<Envelope>,
        responses: mpsc::Sender<Result<T, Status>>,
        to_response: F,
    ) where
        T: Send + 'static,
        F: Fn(Content) -> Result<T, Status> + Send + Sync + 'static,
    {
        loop {
            let envelope = tokio::select! {
                () = self.shared.shutdown.cancelled() => return,
                envelope = requests.message() => envelope,
            };
            let envelope = match envelope {
                Ok(Some(envelope)) => envelope,
                Ok(None) => return,
                Err(status) => {
                    // The client is told why, if it is still there.
                    let _ = responses.send(Err(status)).await;
                    return;
                }
            };
            let Ok(status) = self.answer(&envelope, &responses, &to_response).await else {
                return;
            };
            let answer = to_response(Content::Status(status));
            if responses.send(answer).await.is_err() || status != FabricStatus::Success {
                return;
            }
        }
    }

    /// Sends the blocks of one request; gives the status that ends it.
    async fn answer<T, F>(
        &self,
        envelope: &Envelope,
        responses: &mpsc::Sender<Result<T, Status>>,
        to_response: &F,
    ) -> Result<FabricStatus, Over>
    where
        F: Fn(Content) -> Result<T, Status>,
    {
        let (seek, reader) = match self.accept(envelope) {
            Ok(accepted) => accepted,
            Err(status) => return Ok(status),
        };
        let (mut number, stop) = match self.bounds(&seek) {
            Ok(bounds) => bounds,
            Err(status) => return Ok(status),
        };
        loop {
            let available = self.shared.channel.height();
            if number >= available && seek.behavior() == SeekBehavior::FailIfNotReady {
                return Ok(FabricStatus::NotFound);
            }
            let reached = tokio::select! {
                reached = self.shared.wait_for_height(number + 1) => reached,
                () = responses.closed() => false,
            };
            if !reached {
                return Err(Over);
            }
            if has_expired(&reader) {
                return Ok(FabricStatus::Forbidden);
            }
            let mut block = match self.shared.channel.block_by_number(number) {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(FabricStatus::NotFound),
                Err(error) => {
                    tracing::error!(number, %error, "block cannot be read");
                    return Ok(FabricStatus::InternalServerError);
                }
            };
            if seek.content_type() == SeekContentType::HeaderWithSig && !is_config_block(&block) {
                block.data = None;
            }
            let content = Content::Block {
                block: Box::new(block),
                reader: Box::new(reader.clone()),
            };
            let response = to_response(content);
            responses.send(response).await.map_err(|_| Over)?;
            if number == stop {
                return Ok(FabricStatus::Success);
            }
            number += 1;
        }
    }

    /// Checks a request and who makes it.
    fn accept(&self, envelope: &Envelope) -> Result<(SeekInfo, ValidIdentity), FabricStatus> {
        let bad = |_: prost::DecodeError| FabricStatus::BadRequest;
        let payload = Payload::decode(envelope.payload.as_slice()).map_err(bad)?;
        let header = payload.header.ok_or(FabricStatus::BadRequest)?;
        let channel_header =
            ChannelHeader::decode(header.channel_header.as_slice()).map_err(bad)?;
        let signature = SignatureHeader::decode(header.signature_header.as_slice()).map_err(bad)?;
        let time = channel_header.timestamp.ok_or(FabricStatus::BadRequest)?;
        let now = i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX);
        if now.abs_diff(time.seconds) > TIME_WINDOW.as_secs() {
            return Err(FabricStatus::BadRequest);
        }
        if channel_header.channel_id != self.shared.channel.channel_id() {
            return Err(FabricStatus::NotFound);
        }
        let seek = SeekInfo::decode(payload.data.as_slice()).map_err(bad)?;
        let config = self.shared.channel.config();
        let signed = SignedData {
            data: envelope.payload.clone(),
            identity: signature.creator.clone(),
            signature: envelope.signature.clone(),
        };
        let allowed = config.evaluate(self.policy, &[signed]);
        allowed.map_err(|_| FabricStatus::Forbidden)?;
        let reader = config.msps().identity(&signature.creator);
        let reader = reader.map_err(|_| FabricStatus::Forbidden)?;
        if has_expired(&reader) {
            return Err(FabricStatus::Forbidden);
        }
        Ok((seek, reader))
    }

    /// First and last block of a request.
    fn bounds(&self, seek: &SeekInfo) -> Result<(u64, u64), FabricStatus> {
        let height = self.shared.channel.height();
        let newest = height.saturating_sub(1);
        let kind = |position: &Option<SeekPosition>| position.and_then(|p| p.r#type);
        let start = match kind(&seek.start).ok_or(FabricStatus::BadRequest)? {
            seek_position::Type::Oldest(_) => 0,
            seek_position::Type::Newest(_) => newest,
            seek_position::Type::NextCommit(_) => height,
            seek_position::Type::Specified(position) => position.number,
        };
        let stop = match kind(&seek.stop).ok_or(FabricStatus::BadRequest)? {
            seek_position::Type::Oldest(_) => start,
            seek_position::Type::Newest(_) if seek.start == seek.stop => start,
            seek_position::Type::Newest(_) => newest,
            seek_position::Type::Specified(position) => position.number,
            seek_position::Type::NextCommit(_) => return Err(FabricStatus::BadRequest),
        };
        let specified = matches!(kind(&seek.stop), Some(seek_position::Type::Specified(_)));
        if specified && stop < start {
            return Err(FabricStatus::BadRequest);
        }
        Ok((start, stop))
    }
}

fn has_expired(reader: &ValidIdentity) -> bool {
    let now = i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX);
    now > reader.certificate.not_after()
}
