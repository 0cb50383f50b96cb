//! The connection of one identity.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use fabric_msp::{Certificate, MspId, SigningIdentity};

use crate::config::{Deadlines, GatewayConfig};
use crate::error::ConnectError;
use crate::network::Network;
use crate::signer::Signer;
use crate::transport::Peers;

/// A connection to the peers of one organisation on behalf of one identity; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) peers: Peers,
    pub(crate) signer: Signer,
    pub(crate) deadlines: Deadlines,
    /// SHA-256 of the TLS client certificate; requests for blocks are bound to it.
    pub(crate) tls_certificate_hash: Vec<u8>,
}

impl Gateway {
    /// Prepares the connection. It is made, and the peers' certificates are checked, when the
    /// first call needs it, so that a service can start before its peers. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] if an endpoint or the TLS settings cannot be used.
    pub fn connect(config: GatewayConfig, identity: SigningIdentity) -> Result<Self, ConnectError> {
        Self::with_signer(config, Signer::Here(identity))
    }

    /// Prepares a connection for an identity whose private key lies elsewhere. Everything must
    /// then be signed step by step: see [`crate::Contract::prepare`].
    ///
    /// # Errors
    /// As [`Gateway::connect`].
    pub fn connect_offline(
        config: GatewayConfig,
        msp_id: &MspId,
        certificate: &Certificate,
    ) -> Result<Self, ConnectError> {
        Self::with_signer(config, Signer::elsewhere(msp_id, certificate))
    }

    fn with_signer(config: GatewayConfig, signer: Signer) -> Result<Self, ConnectError> {
        let tls_certificate_hash = config
            .client_tls
            .as_ref()
            .and_then(|client| Certificate::from_pem(&client.certificate_pem).ok())
            .map(|certificate| digest(&SHA256, certificate.der()).as_ref().to_vec())
            .unwrap_or_default();
        let inner = Inner {
            peers: Peers::new(&config)?,
            signer,
            deadlines: config.deadlines,
            tls_certificate_hash,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A channel. Whether it exists is known when something is asked of it.
    pub fn network(&self, channel: impl Into<String>) -> Network {
        Network::new(self.clone(), channel.into())
    }
}
