//! The port with real sockets: what TLS proves, and an orderly end.

use std::path::{Path, PathBuf};

use fabric_msp::MspId;
use fabric_mspgen::{Kind, Organization, SanName};
use http::StatusCode;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::api::readiness::Readiness;
use crate::api::tests::{routes, user};

/// A server with one organisation, and two of its people's certificates and keys.
struct Port {
    address: SocketAddr,
    roots: RootCertStore,
    users: [PathBuf; 2],
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _folder: TempDir,
}

async fn port() -> Port {
    port_with(Duration::from_secs(60)).await
}

/// A port that closes a connection after `idle` without a request.
async fn port_with(idle: Duration) -> Port {
    let folder = tempfile::tempdir().expect("temp dir");
    let msp_id: MspId = "Org1MSP".parse().expect("an MSP ID");
    let organization =
        Organization::create(folder.path(), msp_id, "org1.example.com", Kind::Peer).expect("made");
    let users = ["one", "two"].map(|name| {
        user(&organization, name, "provider", None);
        let full_name = format!("{name}@org1.example.com");
        organization
            .folder()
            .join("users")
            .join(full_name)
            .join("msp")
    });
    let tls = folder.path().join("tls");
    organization
        .issue_tls_server("rest", &[SanName::parse("localhost")])
        .expect("issued")
        .write_server(&tls)
        .expect("written");
    let mut roots = RootCertStore::empty();
    let ca = organization.tls_ca().certificate().der().to_vec();
    roots.add(CertificateDer::from(ca)).expect("a root");
    let config = RestConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate_file: tls.join("server.crt"),
        key_file: tls.join("server.key"),
        organizations: Vec::new(),
        open_for_readers: false,
        concurrent_requests: 8,
        request_timeout: Duration::from_secs(30),
        max_body: 4096,
        idle_timeout: idle,
        stall_timeout: Duration::from_secs(30),
        refusal_log: None,
    };
    let routes = routes(folder.path(), &[&organization], &organization);
    let server = Server::bind(&config, routes).await.expect("bound");
    let stop = CancellationToken::new();
    Port {
        address: server.local_addr(),
        roots,
        users,
        serving: tokio::spawn(server.serve(stop.clone())),
        stop,
        _folder: folder,
    }
}

/// Shows one certificate and signs with one key, whether they belong together or not.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).expect("a folder");
    files.next().expect("a file").expect("readable").path()
}

fn shown(certificate_of: &Path, key_of: &Path) -> Shown {
    let certificate = CertificateDer::from_pem_file(only_file(&certificate_of.join("signcerts")))
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(only_file(&key_of.join("keystore"))).expect("a key");
    let key = aws_lc_rs::sign::any_supported_type(&key).expect("a signing key");
    Shown(Arc::new(CertifiedKey::new(vec![certificate], key)))
}

impl Port {
    /// A TLS session, if it comes about.
    async fn connect(&self, shown: Option<Shown>) -> Option<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let config = match shown {
            Some(shown) => config.with_client_cert_resolver(Arc::new(shown)),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.ok()
    }

    /// The status of a request under `/v1`, or nothing when the connection does not come about.
    async fn status(&self, shown: Option<Shown>) -> Option<StatusCode> {
        let tls = self.connect(shown).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .ok()?;
        let request = Request::get("/v1/reads")
            .header("host", "localhost")
            .body(Empty::<bytes::Bytes>::new())
            .expect("a request");
        let (response, _) = tokio::join!(
            async move {
                let response = sender.send_request(request).await;
                drop(sender);
                response
            },
            connection
        );
        Some(response.ok()?.status())
    }
}

#[tokio::test]
async fn a_certificate_counts_only_with_its_key() {
    let port = port().await;
    let [one, two] = &port.users;
    assert_eq!(port.status(None).await, Some(StatusCode::UNAUTHORIZED));
    // Let in, and then told that the ledger cannot be reached.
    assert_eq!(
        port.status(Some(shown(one, one))).await,
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(port.status(Some(shown(one, two))).await, None);
    port.stop.cancel();
    port.serving.await.expect("ended");
}

#[tokio::test]
async fn stopping_closes_the_port_and_idle_connections() {
    let port = port().await;
    let idle = TcpStream::connect(port.address).await.expect("connected");
    assert_eq!(port.status(None).await, Some(StatusCode::UNAUTHORIZED));
    port.stop.cancel();
    port.serving.await.expect("ended");
    assert!(TcpStream::connect(port.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn an_idle_session_is_closed_whoever_holds_it() {
    let port = port_with(Duration::from_millis(100)).await;
    let [one, _] = &port.users;
    for person in [None, Some(shown(one, one))] {
        let mut tls = port.connect(person).await.expect("a session");
        let begun = Instant::now();
        let mut nothing = [0; 1];
        let read = tls.read(&mut nothing);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        // Closed in order, or at once; what counts is that the place is free again.
        assert!(matches!(read.expect("the port closes it"), Ok(0) | Err(_)));
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
    port.stop.cancel();
    port.serving.await.expect("ended");
}

#[tokio::test]
async fn strangers_leave_places_for_those_who_are_known() {
    let places = Places::new(3, 2);
    let (first, mut known) = (places.take().await, places.take().await);
    let refused = tokio::time::timeout(Duration::from_millis(20), places.take()).await;
    assert!(refused.is_err(), "a third stranger");
    known.stranger = None;
    let second = places.take().await;
    let full = tokio::time::timeout(Duration::from_millis(20), places.take()).await;
    assert!(full.is_err(), "a third stranger, or a fourth connection");
    drop((first, known, second));
    assert_eq!(places.all.available_permits(), 3);
    assert_eq!(places.strangers.available_permits(), 2);
}

#[tokio::test]
async fn the_health_port_tells_three_things_and_nothing_else() {
    let seen = crate::api::readiness::ReadyBody {
        ready: false,
        parts: [("directory", false), ("fabric", true)]
            .map(|(name, ready)| {
                let waiting = None;
                (name, crate::api::readiness::Part { ready, waiting })
            })
            .into(),
        refusal_log: None,
    };
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("salus_test").increment(3));
    let health = HealthPort::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Readiness::fixed(seen),
        Some(recorder.handle()),
    );
    let health = health.await.expect("bound");
    let address = health.local_addr();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(health.serve(stop.clone()));
    for (request, status, words) in [
        ("GET /healthz", "200", "\"status\":\"ok\""),
        ("GET /readyz", "503", "\"directory\":{\"ready\":false}"),
        ("GET /metrics", "200", "salus_test 3"),
        ("GET /v1/records", "404", "NOT_FOUND"),
        ("GET /healthz/", "404", "NOT_FOUND"),
        ("POST /metrics", "405", "allow: GET, HEAD"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let text = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(words), "{request}: {answer}");
    }
    stop.cancel();
    serving.await.expect("ended");
    assert!(TcpStream::connect(address).await.is_err());
}
