//! MQTT in WebSockets (MQTT 5, section 6; 3.1.1 the same): a stream of bytes over binary messages.
//!
//! Where messages begin and end means nothing to MQTT: a packet may span messages and a message hold many packets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The subprotocol that both sides must name.
const SUBPROTOCOL: &str = "mqtt";
/// Bytes of a packet after its fixed header. Clients send a packet in one message, and a message is whole in memory
/// before MQTT's own limits are asked.
pub(super) const PACKET_BYTES_MAX: usize = 1 << 20;
/// Bytes of one message from a device, which may hold more than one packet.
const MESSAGE_BYTES_MAX: usize = PACKET_BYTES_MAX + (64 << 10);
/// Bytes of one message to a device.
const WRITTEN_BYTES_MAX: usize = 64 << 10;
/// Bytes read or gathered for writing at once; there may be many connections.
const BUFFER_BYTES: usize = 4 << 10;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Answers the HTTP request that asks for a WebSocket.
///
/// # Errors
///
/// [`Error`]; the refusal has been sent.
pub(super) async fn accept<S>(stream: S) -> Result<ByteStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket =
        tokio_tungstenite::accept_hdr_async_with_config(stream, answer, Some(config())).await?;
    Ok(ByteStream::new(socket))
}

#[expect(
    clippy::result_large_err,
    reason = "the signature is tungstenite's, and it is called once a connection"
)]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let headers = request.headers();
    if !offers_mqtt(headers) {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "the subprotocol mqtt is spoken here",
        ));
    }
    if !is_own_origin(headers) {
        return Err(refusal(
            StatusCode::FORBIDDEN,
            "not for pages of other sites",
        ));
    }
    let chosen = HeaderValue::from_static(SUBPROTOCOL);
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}

fn offers_mqtt(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    offers
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == SUBPROTOCOL)
}

/// A browser shows a device's certificate on behalf of any page, and says which: only pages of this very address pass.
/// Devices name no origin, or this address.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host == Some(authority)
}

/// The bytes of a WebSocket's binary messages.
#[derive(Debug)]
pub(super) struct ByteStream<S> {
    socket: WebSocketStream<S>,
    /// What is left of the last message.
    input: Bytes,
}

impl<S> ByteStream<S> {
    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self {
            socket,
            input: Bytes::new(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.input.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.input = bytes,
                // Pings are answered by the socket itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    let text = "MQTT comes in binary messages";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(_)))
                | None
                | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let bytes = self.input.len().min(buffer.remaining());
        buffer.put_slice(&self.input.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITTEN_BYTES_MAX)];
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        socket.start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        flushed.map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.socket).poll_close(context);
        closed.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri("/mqtt");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn only_mqtt_from_nowhere_or_here_is_answered() {
        for (headers, status) in [
            (&[("sec-websocket-protocol", "mqtt")][..], None),
            (&[("sec-websocket-protocol", "mqttv3.1, mqtt")], None),
            (&[("sec-websocket-protocol", "mqttv3.1")], Some(400)),
            (&[("host", "salus:9")], Some(400)),
            (
                &[
                    ("sec-websocket-protocol", "mqtt"),
                    ("host", "salus:9"),
                    ("origin", "https://salus:9"),
                ],
                None,
            ),
            (
                &[
                    ("sec-websocket-protocol", "mqtt"),
                    ("host", "salus:9"),
                    ("origin", "https://evil.example"),
                ],
                Some(403),
            ),
            (
                &[("sec-websocket-protocol", "mqtt"), ("origin", "null")],
                Some(403),
            ),
        ] {
            match answer(&request(headers), Response::new(())) {
                Ok(response) => {
                    assert_eq!(status, None, "{headers:?}");
                    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
                }
                Err(refused) => assert_eq!(Some(refused.status().as_u16()), status, "{headers:?}"),
            }
        }
    }
}
