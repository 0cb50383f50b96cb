//! TLS, and peers that have to prove themselves.

use fabric_shim::{ServerConfig, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    peer::{self, Peer, Running},
    probe::Probe,
};

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

async fn serve(ca: &Ca, client_roots_pem: Option<Vec<u8>>) -> Running {
    let (certificate, key) = ca.issue("chaincode.example.com");
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), "label:hash");
    config.tls = Some(TlsConfig {
        certificate_pem: certificate.into(),
        key_pem: key.into(),
        client_roots_pem,
    });
    peer::serve_with(config, Probe::silent()).await
}

async fn dial(
    running: &Running,
    ca: &Ca,
    identity: Option<(String, String)>,
) -> Result<Peer, String> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca.pem()))
        .domain_name("chaincode.example.com");
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", running.address)).unwrap();
    let endpoint = endpoint.tls_config(tls).unwrap();
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    Peer::over(channel)
        .await
        .map_err(|status| status.to_string())
}

#[tokio::test]
async fn a_stream_runs_over_tls() {
    let ca = Ca::new();
    let running = serve(&ca, None).await;
    let mut peer = dial(&running, &ca, None)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    peer.handshake(vec![]).await;
    peer.is_quiet().await;
}

#[tokio::test]
async fn plain_text_is_refused_where_tls_is_on() {
    let ca = Ca::new();
    let running = serve(&ca, None).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(Peer::over(channel).await.is_err());
    }
}

#[tokio::test]
async fn under_mutual_tls_only_peers_of_the_given_roots_get_in() {
    let (ca, clients, strangers) = (Ca::new(), Ca::new(), Ca::new());
    let running = serve(&ca, Some(clients.pem().into())).await;
    assert!(dial(&running, &ca, None).await.is_err(), "no certificate");
    let stranger = strangers.issue("peer0");
    assert!(
        dial(&running, &ca, Some(stranger)).await.is_err(),
        "another root"
    );
    let peer = dial(&running, &ca, Some(clients.issue("peer0"))).await;
    let mut peer = peer.unwrap_or_else(|error| panic!("{error}"));
    peer.handshake(vec![]).await;
    peer.is_quiet().await;
}

#[tokio::test]
async fn unusable_tls_files_are_found_at_once() {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), "label:hash");
    config.tls = Some(TlsConfig {
        certificate_pem: b"no certificate".to_vec(),
        key_pem: b"no key".to_vec(),
        client_roots_pem: None,
    });
    let chaincode = fabric_shim::Chaincode::new().with(Probe::silent());
    let error = fabric_shim::Server::bind(config, chaincode)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "TLS is not usable");
}
