//! One gRPC method to which any bytes can be sent.

use std::{collections::BTreeSet, error::Error as _, fs};

use bytes::{Buf as _, BufMut as _};
use futures::stream;
use salus_tests::network;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Certificate, Channel, ClientTlsConfig},
};

/// Bytes that are no message: a field that never ends, lengths beyond the end, wire types that do
/// not exist, and a group, which nobody uses.
const GARBAGE: [&[u8]; 6] = [
    &[0xff; 64],
    b"\x1a\xff\xff\xff\xff\x0f",
    b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x0f\x0f",
    b"\x0b\x0a\x00",
    b"{\"channel_id\":\"mychannel\"}",
];

/// One method of a gRPC service.
pub(super) struct Service<'a> {
    pub(super) channel: &'a Channel,
    pub(super) path: &'static str,
    /// Whether a message that came back says that the request was taken.
    pub(super) is_success: fn(&[u8]) -> bool,
}

impl<'a> Service<'a> {
    pub(super) fn unary(channel: &'a Channel, path: &'static str) -> Self {
        Self {
            channel,
            path,
            is_success: |_| true,
        }
    }

    /// Refuses garbage, and a message cut off anywhere.
    pub(super) async fn refuses_parts_of(&self, whole: &[u8]) {
        for garbage in GARBAGE {
            self.refuses(garbage).await;
        }
        for cut in cuts(whole.len()) {
            self.refuses(&whole[..cut]).await;
        }
    }

    pub(super) async fn refuses(&self, message: &[u8]) {
        let path = self.path;
        match self.send(message).await {
            // A status that the server sent has no source; a broken connection has.
            Err(status) => assert!(status.source().is_none(), "{path}: {status:?}"),
            Ok(answers) => {
                let last = answers
                    .last()
                    .unwrap_or_else(|| panic!("{path}: no word to {}", hex::encode(message)));
                assert!(
                    !(self.is_success)(last),
                    "{path} took {}",
                    hex::encode(message)
                );
            }
        }
    }

    /// Takes the message; returns the first answer.
    pub(super) async fn takes(&self, message: &[u8]) -> Vec<u8> {
        let answers = self.send(message).await;
        let answers = answers.unwrap_or_else(|status| panic!("{}: {status:?}", self.path));
        assert!((self.is_success)(&answers[0]), "{}", self.path);
        answers[0].clone()
    }

    /// Sends one message and gives all that come back: the same on the wire for every kind of
    /// method.
    async fn send(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let message = message.to_vec();
        let request = Request::new(stream::once(async { message }));
        let path = PathAndQuery::from_static(self.path);
        let mut stream = grpc.streaming(request, path, Raw).await?.into_inner();
        let mut answers = Vec::new();
        while let Some(answer) = stream.message().await? {
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// Messages as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// Where a message of `length` bytes is cut off: at its ends byte by byte, between in steps.
pub(super) fn cuts(length: usize) -> BTreeSet<usize> {
    const ENDS: usize = 6;
    const STEPS: usize = 16;
    (0..ENDS)
        .chain(length - ENDS..length)
        .chain((0..length).step_by(length.div_ceil(STEPS)))
        .collect()
}

/// Prepares a connection to an endpoint of a network.
pub(super) fn connect(endpoint: &network::Endpoint) -> Channel {
    let roots = fs::read(&endpoint.tls_ca_file).unwrap();
    let tls = ClientTlsConfig::new()
        .domain_name(&endpoint.server_name)
        .ca_certificate(Certificate::from_pem(roots));
    tonic::transport::Endpoint::from_shared(format!("https://{}", endpoint.address))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy()
}
