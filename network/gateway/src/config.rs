//! Where the peers are, and how long to wait for them.

use std::fmt;
use std::time::Duration;

/// One peer of the client's organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// The name that the peer's TLS certificate must carry; the host of the address if `None`.
    pub server_name: Option<String>,
}

impl Endpoint {
    /// A peer at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            server_name: None,
        }
    }

    /// Sets the name that the peer's TLS certificate must carry.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// A TLS client certificate, for peers that ask for one. `Debug` shows nothing of the key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificate as PEM.
    pub certificate_pem: Vec<u8>,
    /// Its private key as PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// How long each step may take. The defaults are those of Fabric's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// A query: 5 s.
    pub evaluate: Duration,
    /// Collecting endorsements: 15 s.
    pub endorse: Duration,
    /// Handing the envelope to the orderer: 5 s.
    pub submit: Duration,
    /// Waiting for the block, and for an orderer that takes the envelope: 60 s.
    pub commit_status: Duration,
    /// Waiting for the block of an envelope that perhaps never reached the orderer, before it is
    /// sent again: 5 s.
    pub resend: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            evaluate: Duration::from_secs(5),
            endorse: Duration::from_secs(15),
            submit: Duration::from_secs(5),
            commit_status: Duration::from_secs(60),
            resend: Duration::from_secs(5),
        }
    }
}

/// What a [`crate::Gateway`] needs to know. There is no way around TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Peers in order of preference. The first that answers is used until it fails.
    pub endpoints: Vec<Endpoint>,
    /// The CAs of the peers' TLS certificates, as PEM.
    pub tls_roots_pem: Vec<u8>,
    /// The client's own TLS certificate, if the peers ask for one.
    pub client_tls: Option<ClientTls>,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

impl GatewayConfig {
    /// A configuration without client certificate and with the default deadlines.
    pub fn new(
        endpoints: impl IntoIterator<Item = Endpoint>,
        tls_roots_pem: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            tls_roots_pem: tls_roots_pem.into(),
            client_tls: None,
            deadlines: Deadlines::default(),
        }
    }
}
