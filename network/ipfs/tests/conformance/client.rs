//! A client of the RPC that shows status, header and body as they are.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

const BOUNDARY: &str = "----conformance-4f1c2a";

/// One node's RPC.
#[derive(Clone, Debug)]
pub(crate) struct Api(SocketAddr);

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, or as much of it as came before the connection broke.
    pub(crate) body: Bytes,
    pub(crate) broken_off: bool,
}

impl Reply {
    /// The body as JSON values, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line is JSON"))
            .collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks for success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(!self.broken_off);
        self
    }

    /// Checks for Kubo's form of an error and returns its message.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.status, 500, "{}", self.text());
        let json = self.json();
        let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["Code", "Message", "Type"]);
        assert_eq!(json["Type"], "error");
        assert_eq!(json["Code"], 0);
        json["Message"].as_str().unwrap().to_owned()
    }
}

/// A file of an upload.
pub(crate) struct Upload<'a> {
    pub(crate) name: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) content: &'a [u8],
}

impl<'a> Upload<'a> {
    pub(crate) fn file(name: &'a str, content: &'a [u8]) -> Self {
        Self {
            name,
            content_type: "application/octet-stream",
            content,
        }
    }
}

impl Api {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// A command without a body.
    pub(crate) async fn call(&self, command: &str) -> Reply {
        self.send(Method::POST, command, &[], Bytes::new()).await
    }

    /// A command with files.
    pub(crate) async fn upload(&self, command: &str, files: &[Upload<'_>]) -> Reply {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = [(header::CONTENT_TYPE.as_str(), content_type.as_str())];
        self.send(Method::POST, command, &headers, multipart(files))
            .await
    }

    /// Adds one file and returns its CID.
    pub(crate) async fn add(&self, options: &str, content: &[u8]) -> String {
        let command = format!("add?{options}");
        let reply = self
            .upload(&command, &[Upload::file("file", content)])
            .await;
        let lines = reply.ok().lines();
        let last = lines.last().expect("the file is reported");
        last["Hash"].as_str().unwrap().to_owned()
    }

    /// A command with files to a node that may die; `None` when no whole answer came.
    pub(crate) async fn try_upload(&self, command: &str, files: &[Upload<'_>]) -> Option<Reply> {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let headers = [(header::CONTENT_TYPE.as_str(), content_type.as_str())];
        let reply = self
            .try_send(Method::POST, command, &headers, multipart(files))
            .await
            .ok()?;
        (!reply.broken_off).then_some(reply)
    }

    /// Any request at all.
    pub(crate) async fn send(
        &self,
        method: Method,
        command: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Reply {
        match self.try_send(method, command, headers, body).await {
            Ok(reply) => reply,
            // Cut before even the header was sent.
            Err(SendError::Http(error)) if error.is_incomplete_message() => Reply {
                status: StatusCode::BAD_GATEWAY,
                headers: HeaderMap::new(),
                body: Bytes::new(),
                broken_off: true,
            },
            Err(error) => panic!("{command}: {error:?}"),
        }
    }

    async fn try_send(
        &self,
        method: Method,
        command: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, SendError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v0/{command}"))
            .header(header::HOST, self.0.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let stream = TcpStream::connect(self.0)
            .await
            .map_err(SendError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Http)?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await;
        let reply = match response {
            Ok(response) => Ok(Reply::read(response).await),
            Err(error) => Err(SendError::Http(error)),
        };
        driver.abort();
        reply
    }
}

#[derive(Debug)]
enum SendError {
    Connect(#[allow(dead_code, reason = "shown when a test panics")] std::io::Error),
    Http(hyper::Error),
}

impl Reply {
    async fn read(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut broken_off = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => broken_off = true,
            }
        }
        Self {
            status: parts.status,
            headers: parts.headers,
            body: bytes.into(),
            broken_off,
        }
    }
}

fn multipart(files: &[Upload<'_>]) -> Bytes {
    let mut body = Vec::new();
    for file in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: {}\r\n\r\n",
            file.name, file.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}
