//! TLS to the broker, offered to the MQTT client as a Unix socket that only this user can reach.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{Options, PublishError};
use crate::http::client_config;

/// Only the user may enter the socket's folder.
const FOLDER_MODE: u32 = 0o700;

/// A running bridge.
pub(super) struct Bridge {
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Bridge {
    /// Checks the certificates and opens the socket; the broker is called at each connection.
    pub(super) fn start(options: &Options) -> Result<Self, PublishError> {
        let read = |path: &Path| {
            fs::read(path)
                .map_err(|error| PublishError::Identity(format!("{}: {error}", path.display())))
        };
        let key = Zeroizing::new(read(&options.key_file)?);
        let tls = client_config(
            &read(&options.ca_file)?,
            &read(&options.certificate_file)?,
            &key,
        )
        .map_err(PublishError::Identity)?;
        let name = ServerName::try_from(options.host.clone())
            .map_err(|_| PublishError::Identity(format!("{:?} is no host name", options.host)))?;
        let folder = tempfile::Builder::new().prefix("salus-mqtt-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(FOLDER_MODE))?;
        let listener = UnixListener::bind(folder.path().join("s"))?;
        let target = Target {
            address: (options.host.clone(), options.port),
            name,
            connector: TlsConnector::from(Arc::new(tls)),
        };
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // One client, so one connection at a time; a broken one ends both ends.
                if let Err(error) = target.carry(socket).await {
                    tracing::debug!(%error, "connection to the broker ended");
                }
            }
        });
        Ok(Self { folder, task })
    }

    /// The socket that carries bytes to the broker.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(super) async fn stop(self) {
        self.task.abort();
        // Aborted or ended: either way it is over.
        let _ = self.task.await;
    }
}

struct Target {
    address: (String, u16),
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Target {
    async fn carry(&self, mut socket: UnixStream) -> std::io::Result<()> {
        let (host, port) = &self.address;
        let tcp = TcpStream::connect((host.as_str(), *port)).await?;
        tcp.set_nodelay(true)?;
        let mut tls = self.connector.connect(self.name.clone(), tcp).await?;
        copy_bidirectional(&mut socket, &mut tls).await?;
        Ok(())
    }
}
