//! Connections to the peers, and which one to use.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fabric_protos::gateway::gateway_client::GatewayClient;
use fabric_protos::protos::deliver_client::DeliverClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Request, Response, Status};

use crate::config::{ClientTls, Endpoint, GatewayConfig};
use crate::error::ConnectError;
use crate::rpc_status::{RpcCode, RpcStatus};

/// Longest message in either direction, in bytes, as Fabric's peers have it.
const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;
/// How long connecting may take before the next peer is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is probed. Fabric's peers drop those who ask more than once a
/// minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(90);
/// How long a probe may go unanswered.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The peers of a gateway. Calls go to the current one; one that fails hands over to the next.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    channels: Arc<[Channel]>,
    current: Arc<AtomicUsize>,
}

impl Peers {
    /// Prepares the connections; each is made when it is first used.
    pub(crate) fn new(config: &GatewayConfig) -> Result<Self, ConnectError> {
        if config.endpoints.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        check_roots(config)?;
        let channels = config
            .endpoints
            .iter()
            .map(|endpoint| channel(endpoint, &config.tls_roots_pem, config.client_tls.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            channels,
            current: Arc::default(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.channels.len()
    }

    /// The current peer's number and connection.
    pub(crate) fn current(&self) -> (usize, Channel) {
        let index = self.current.load(Ordering::Relaxed) % self.channels.len();
        (index, self.channels[index].clone())
    }

    /// Leaves a peer that failed; nothing happens if somebody left it already.
    pub(crate) fn leave(&self, index: usize) {
        let next = (index + 1) % self.channels.len();
        let swap = (Ordering::Relaxed, Ordering::Relaxed);
        if self
            .current
            .compare_exchange(index, next, swap.0, swap.1)
            .is_ok()
            && next != index
        {
            tracing::warn!(peer = index, next, "peer unavailable, using the next one");
        }
    }

    /// Makes a call within a deadline: on the current peer, then once on each other one as long
    /// as they cannot be reached. MUST only be used with calls that may run twice.
    pub(crate) async fn call<Q, A, F>(
        &self,
        deadline: Duration,
        request: &Q,
        invoke: impl Fn(GatewayClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, RpcStatus>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let started = tokio::time::Instant::now();
        let mut last = RpcStatus::new(RpcCode::Unavailable, "no peer answered");
        for _ in 0..self.count() {
            let left = deadline.saturating_sub(started.elapsed());
            let (index, channel) = self.current();
            let mut message = Request::new(request.clone());
            message.set_timeout(left);
            let answer = tokio::time::timeout(left, invoke(gateway_client(channel), message));
            match answer.await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => last = RpcStatus::read(&status),
                Err(_) => {
                    self.leave(index);
                    let text = format!("no answer within {} ms", deadline.as_millis());
                    return Err(RpcStatus::new(RpcCode::DeadlineExceeded, text));
                }
            }
            if last.code != RpcCode::Unavailable {
                break;
            }
            self.leave(index);
        }
        Err(last)
    }
}

pub(crate) fn gateway_client(channel: Channel) -> GatewayClient<Channel> {
    GatewayClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

pub(crate) fn deliver_client(channel: Channel) -> DeliverClient<Channel> {
    DeliverClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Roots without any certificate would only show as peers that can never be reached.
fn check_roots(config: &GatewayConfig) -> Result<(), ConnectError> {
    match fabric_msp::Certificate::from_pem(&config.tls_roots_pem) {
        Ok(_) => Ok(()),
        Err(source) => Err(ConnectError::Tls {
            address: config.endpoints[0].address.clone(),
            source: source.into(),
        }),
    }
}

fn channel(
    endpoint: &Endpoint,
    roots_pem: &[u8],
    client_tls: Option<&ClientTls>,
) -> Result<Channel, ConnectError> {
    let address = &endpoint.address;
    let malformed = || ConnectError::Address {
        address: address.clone(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || host.contains(['/', '@']) || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = endpoint.server_name.as_deref().unwrap_or(host);
    let mut tls = ClientTlsConfig::new()
        .domain_name(name)
        .ca_certificate(Certificate::from_pem(roots_pem));
    if let Some(client) = client_tls {
        tls = tls.identity(Identity::from_pem(&client.certificate_pem, &client.key_pem));
    }
    let refused = |source: tonic::transport::Error| ConnectError::Tls {
        address: address.clone(),
        source: source.into(),
    };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{address}"))
        .map_err(|_| malformed())?
        .tls_config(tls)
        .map_err(refused)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}
