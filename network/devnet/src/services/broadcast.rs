//! `orderer.AtomicBroadcast`: envelopes in one after the other, blocks out.

use std::sync::Arc;

use fabric_protos::common::{Envelope, Status as FabricStatus};
use fabric_protos::orderer::atomic_broadcast_server::AtomicBroadcast;
use fabric_protos::orderer::{BroadcastResponse, DeliverResponse, deliver_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::deliver::{Content, OUTGOING_BLOCKS, Session};

/// Acknowledgements that may wait for a slow client.
const OUTGOING_ANSWERS: usize = 16;
const READERS: &str = "/Channel/Readers";

#[derive(Clone, Debug)]
pub(crate) struct BroadcastService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl AtomicBroadcast for BroadcastService {
    type BroadcastStream = ReceiverStream<Result<BroadcastResponse, Status>>;
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let (answers, stream) = mpsc::channel(OUTGOING_ANSWERS);
        let shared = Arc::clone(&self.shared);
        let envelopes = request.into_inner();
        self.shared
            .tasks
            .spawn(order_all(shared, envelopes, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (blocks, stream) = mpsc::channel(OUTGOING_BLOCKS);
        let session = Session {
            shared: Arc::clone(&self.shared),
            policy: READERS,
        };
        let to_response = |content: Content| {
            let kind = match content {
                Content::Status(status) => deliver_response::Type::Status(status.into()),
                Content::Block { block, .. } => deliver_response::Type::Block(*block),
            };
            Ok(DeliverResponse { r#type: Some(kind) })
        };
        let requests = request.into_inner();
        self.shared
            .tasks
            .spawn(session.run(requests, blocks, to_response));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Orders envelope by envelope; ends after the first that is refused, as Fabric does.
async fn order_all(
    shared: Arc<Shared>,
    mut envelopes: Streaming<Envelope>,
    answers: mpsc::Sender<Result<BroadcastResponse, Status>>,
) {
    loop {
        let envelope = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            envelope = envelopes.message() => envelope,
        };
        let envelope = match envelope {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return,
            Err(status) => {
                // The client is told why, if it is still there.
                let _ = answers.send(Err(status)).await;
                return;
            }
        };
        let (status, info) = match shared.orderer.order(&envelope).await {
            Ok(()) => (FabricStatus::Success, String::new()),
            Err(rejection) => (rejection.status, rejection.info),
        };
        let answer = BroadcastResponse {
            status: status.into(),
            info,
        };
        if answers.send(Ok(answer)).await.is_err() || status != FabricStatus::Success {
            return;
        }
    }
}
