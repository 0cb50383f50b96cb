//! Connecting to a chaincode and the handshake: REGISTER in, REGISTERED and READY out.

use std::time::Duration;

use fabric_protos::protos::chaincode_client::ChaincodeClient;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::error::DialError;
use crate::package::ExpandedConnection;

/// Largest message on the stream, in bytes; Fabric's value.
pub(crate) const MAX_MESSAGE_BYTES: usize = 100 << 20;
/// Messages towards one chaincode that may wait for its connection.
const OUTGOING_MESSAGES: usize = 256;
/// Time a reached chaincode has to register.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Records in one WRITE_BATCH_STATE and keys in one GET_STATE_MULTIPLE, announced in READY.
const BATCH_RECORDS_MAX: u32 = 1000;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects to a chaincode and greets it; gives the two directions of the ready stream.
pub(super) async fn dial(
    package_id: &str,
    connection: &ExpandedConnection,
) -> Result<(mpsc::Sender<ChaincodeMessage>, Streaming<ChaincodeMessage>), DialError> {
    let channel = connect(connection).await?;
    let address = &connection.address;
    let handshake = |detail: String| DialError::Handshake {
        address: address.clone(),
        detail,
    };
    let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
    let mut client = ChaincodeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let greeting = async {
        let response = client.connect(ReceiverStream::new(messages)).await;
        let mut incoming = response
            .map_err(|e| handshake(e.message().to_owned()))?
            .into_inner();
        let first = incoming.message().await;
        let first = first.map_err(|e| handshake(e.message().to_owned()))?;
        let registered = registered_id(first).map_err(handshake)?;
        Ok::<_, DialError>((incoming, registered))
    };
    let (incoming, registered) = tokio::time::timeout(REGISTER_TIMEOUT, greeting)
        .await
        .map_err(|_| {
            handshake(format!(
                "no REGISTER within {} s",
                REGISTER_TIMEOUT.as_secs()
            ))
        })??;
    if registered != package_id {
        return Err(DialError::WrongId {
            address: address.clone(),
            registered,
            expected: package_id.to_owned(),
        });
    }
    for message in welcome() {
        let sent = outgoing.send(message).await;
        sent.map_err(|_| handshake("stream ended".to_owned()))?;
    }
    Ok((outgoing, incoming))
}

fn registered_id(first: Option<ChaincodeMessage>) -> Result<String, String> {
    let Some(first) = first else {
        return Err("stream ended".to_owned());
    };
    if first.r#type() != Type::Register {
        let name = first.r#type().as_str_name();
        return Err(format!("its first message was {name}, not REGISTER"));
    }
    let id = ChaincodeId::decode(first.payload.as_slice())
        .map_err(|e| format!("its REGISTER message is malformed: {e}"))?;
    match id.name {
        name if name.is_empty() => Err("its REGISTER message names no chaincode ID".to_owned()),
        name => Ok(name),
    }
}

fn welcome() -> [ChaincodeMessage; 2] {
    let parameters = ChaincodeAdditionalParams {
        use_write_batch: true,
        max_size_write_batch: BATCH_RECORDS_MAX,
        use_get_multiple_keys: true,
        max_size_get_multiple_keys: BATCH_RECORDS_MAX,
    };
    [
        ChaincodeMessage {
            r#type: Type::Registered.into(),
            ..ChaincodeMessage::default()
        },
        ChaincodeMessage {
            r#type: Type::Ready.into(),
            payload: parameters.encode_to_vec(),
            ..ChaincodeMessage::default()
        },
    ]
}

/// One attempt within the dial timeout: nobody listening is known at once, and whoever waits
/// for the answer has a deadline of its own.
async fn connect(connection: &ExpandedConnection) -> Result<Channel, DialError> {
    let endpoint = endpoint(connection)?;
    let connecting = tokio::time::timeout(connection.dial_timeout, endpoint.connect());
    let detail = match connecting.await {
        Ok(Ok(channel)) => return Ok(channel),
        Ok(Err(error)) => error_chain(&error),
        Err(_) => "context deadline exceeded".to_owned(),
    };
    let address = connection.address.clone();
    Err(DialError::Unreachable { address, detail })
}

fn endpoint(connection: &ExpandedConnection) -> Result<Endpoint, DialError> {
    let address = &connection.address;
    let bad_address = |e: tonic::transport::Error| DialError::Unreachable {
        address: address.clone(),
        detail: error_chain(&e),
    };
    let scheme = if connection.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(bad_address)?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let Some(tls) = &connection.tls else {
        return Ok(endpoint);
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.root));
    if let Some((certificate, key)) = &tls.client {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    if let Some(domain) = &tls.domain {
        config = config.domain_name(domain);
    }
    endpoint.tls_config(config).map_err(|e| DialError::Tls {
        address: address.clone(),
        detail: error_chain(&e),
    })
}

/// An error and its causes in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
