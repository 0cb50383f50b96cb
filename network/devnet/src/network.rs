//! A network from start to end: ports, certificates, first block, servers, shutdown.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::gateway::gateway_server::GatewayServer;
use fabric_protos::orderer::atomic_broadcast_server::AtomicBroadcastServer;
use fabric_protos::protos::deliver_server::DeliverServer;
use fabric_protos::protos::endorser_server::EndorserServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::chaincode::ChaincodeHost;
use crate::chaincode::dial::MAX_MESSAGE_BYTES;
use crate::config::{DEFAULT_ORDERER_PORT, DEFAULT_PEER_PORT, NetworkConfig, PORT_STEP};
use crate::description::{Control, Description, Endpoint, OrganizationDescription};
use crate::error::NetworkError;
use crate::genesis::{
    BatchProfile, NetworkProfile, OrdererProfile, OrganizationProfile, genesis_block,
};
use crate::ledger::Channel;
use crate::lifecycle::PackageStore;
use crate::material::{self, Material, Node, OrganizationMaterial};
use crate::ordering::{BatchLimits, orderer};
use crate::peer::{Peer, ServedCache};
use crate::services::broadcast::BroadcastService;
use crate::services::deliver::DeliverService;
use crate::services::endorser::EndorserService;
use crate::services::gateway::GatewayService;
use crate::services::{Shared, unix_now};

/// Requests one connection may have in progress; Fabric's value.
const REQUESTS_PER_CONNECTION: usize = 2500;
/// Time open requests have to end at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// A network whose ports are open and whose ledger is loaded.
#[derive(Debug)]
pub struct Network {
    description: Description,
    shared: Arc<Shared>,
    servers: JoinSet<Result<(), NetworkError>>,
    /// Held while the network runs, so that no second process uses the folder.
    _lock: File,
}

impl Network {
    /// Starts a network; it serves from now on, until [`Network::run`] ends.
    ///
    /// # Errors
    /// [`NetworkError`], naming the folder, port or file that is not usable.
    pub async fn start(config: &NetworkConfig) -> Result<Self, NetworkError> {
        let lock = lock(&config.dir)?;
        let last_run = Control::read(&config.dir).ok().flatten();
        let material = material::open(&config.crypto_dir(), config.organizations)?;
        let ports = Ports::choose(config, last_run.as_ref(), material.peers.len());
        let listeners = Listeners::bind(config, &ports, &material).await?;
        let channel = open_channel(config, &material, &listeners)?;
        let description = describe(config, &material, &listeners);

        let shutdown = CancellationToken::new();
        let mut servers = JoinSet::new();
        let limits = BatchLimits {
            messages: config.batch_messages.max(1) as usize,
            preferred_bytes: channel.config().batch().preferred_max_bytes as usize,
        };
        let signer = material.orderer.node.signer.clone();
        let (orderer, blocks, heights) =
            orderer(channel.clone(), signer, limits, config.batch_timeout);
        let making = blocks.run(shutdown.clone());
        servers.spawn(making);

        let mut peers = Vec::new();
        for (organization, description) in material.peers.iter().zip(&description.organizations) {
            let address = &description.peer.address;
            let peer = peer(config, organization, address, &channel, &shutdown)?;
            peers.push(Arc::new(peer));
        }
        let shared = Arc::new(Shared {
            channel,
            peers,
            orderer,
            orderer_address: description.orderer.address.clone(),
            orderer_msp_id: material.orderer.msp_id.to_string(),
            heights,
            time_window: config.time_window,
            shutdown,
            tasks: TaskTracker::new(),
        });
        serve_all(&mut servers, &shared, &material, listeners)?;
        Control::write(&config.dir, &description).map_err(|source| NetworkError::File {
            path: config.dir.clone(),
            source,
        })?;
        Ok(Self {
            description,
            shared,
            servers,
            _lock: lock,
        })
    }

    /// Endpoints and files.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Serves until `stop` completes, then lets open requests end.
    ///
    /// # Errors
    /// The first failure of a server or of the ledger, which ends the network.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), NetworkError> {
        let outcome = tokio::select! {
            () = stop => Ok(()),
            ended = self.servers.join_next() => early_end(ended),
        };
        self.shared.shutdown.cancel();
        self.shared.tasks.close();
        let drain = async {
            let mut outcome = outcome;
            while let Some(ended) = self.servers.join_next().await {
                let ended =
                    ended.unwrap_or_else(|error| Err(NetworkError::Task(error.to_string())));
                outcome = outcome.and(ended);
            }
            for peer in &self.shared.peers {
                peer.chaincodes.close().await;
            }
            self.shared.tasks.wait().await;
            outcome
        };
        match tokio::time::timeout(DRAIN_TIME, drain).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("requests were still open at the end of the drain time");
                Ok(())
            }
        }
    }
}

fn early_end(
    ended: Option<Result<Result<(), NetworkError>, tokio::task::JoinError>>,
) -> Result<(), NetworkError> {
    match ended {
        Some(Ok(Err(error))) => Err(error),
        Some(Err(error)) => Err(NetworkError::Task(error.to_string())),
        Some(Ok(Ok(()))) | None => Err(NetworkError::Task("a server stopped".to_owned())),
    }
}

/// Takes the folder for this process alone.
fn lock(dir: &Path) -> Result<File, NetworkError> {
    let failed = |source| NetworkError::File {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(failed)?;
    let file = File::create(dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(NetworkError::Running {
            dir: dir.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The ports to ask for, 0 for any.
struct Ports {
    orderer: u16,
    peers: Vec<u16>,
}

impl Ports {
    fn choose(config: &NetworkConfig, last_run: Option<&Control>, organizations: usize) -> Self {
        let of = |endpoint: &Endpoint| port_of(&endpoint.address);
        let last = last_run.map(|control| &control.network);
        let last_peer = |index: usize| {
            let organization = last.and_then(|network| network.organizations.get(index));
            organization.and_then(|organization| of(&organization.peer))
        };
        let step = |index: usize| {
            let offset = u16::try_from(index)
                .unwrap_or(u16::MAX)
                .saturating_mul(PORT_STEP);
            DEFAULT_PEER_PORT.checked_add(offset).unwrap_or(0)
        };
        // One 0 stands for "any port" everywhere.
        let any = config.peer_ports == [0];
        let peers = (0..organizations).map(|index| match config.peer_ports.get(index) {
            _ if any => 0,
            Some(port) => *port,
            None => last_peer(index).unwrap_or_else(|| step(index)),
        });
        let last_orderer = last.and_then(|network| of(&network.orderer));
        Self {
            orderer: config
                .orderer_port
                .or(last_orderer)
                .unwrap_or(DEFAULT_ORDERER_PORT),
            peers: peers.collect(),
        }
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// One open port for each node.
struct Listeners {
    orderer: (TcpListener, SocketAddr),
    peers: Vec<(TcpListener, SocketAddr)>,
}

impl Listeners {
    async fn bind(
        config: &NetworkConfig,
        ports: &Ports,
        material: &Material,
    ) -> Result<Self, NetworkError> {
        let mut peers = Vec::new();
        for (port, organization) in ports.peers.iter().zip(&material.peers) {
            peers.push(bind(config, *port, &organization.node.name).await?);
        }
        let orderer = bind(config, ports.orderer, &material.orderer.node.name).await?;
        Ok(Self { orderer, peers })
    }
}

async fn bind(
    config: &NetworkConfig,
    port: u16,
    name: &str,
) -> Result<(TcpListener, SocketAddr), NetworkError> {
    let address = SocketAddr::new(config.listen, port);
    let failed = |source| NetworkError::Listen {
        address: address.to_string(),
        name: name.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn open_channel(
    config: &NetworkConfig,
    material: &Material,
    listeners: &Listeners,
) -> Result<Channel, NetworkError> {
    let dir = config.dir.join("ledger");
    if Channel::exists(&dir) {
        let channel = Channel::open(&dir)?;
        if channel.channel_id() != config.channel {
            return Err(NetworkError::OtherChannel {
                wanted: config.channel.clone(),
                found: channel.channel_id().to_owned(),
            });
        }
        return Ok(channel);
    }
    let organizations = material.peers.iter().zip(&listeners.peers);
    let organizations = organizations.map(|(organization, (_, address))| OrganizationProfile {
        msp: organization.msp.clone(),
        anchor_peers: vec![(organization.node.name.clone(), address.port())],
    });
    let port = listeners.orderer.1.port();
    let defaults = BatchProfile::default();
    let profile = NetworkProfile {
        channel_id: config.channel.clone(),
        orderer: OrdererProfile {
            msp: material.orderer.msp.clone(),
            addresses: vec![format!("{}:{port}", material.orderer.node.name)],
        },
        organizations: organizations.collect(),
        batch: BatchProfile {
            max_message_count: config.batch_messages.max(1),
            timeout: format!("{}ms", config.batch_timeout.as_millis().max(1)),
            ..defaults
        },
    };
    let now = unix_now();
    let timestamp = prost_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
        nanos: 0,
    };
    let mut nonce = [0; 24];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| NetworkError::Random)?;
    let genesis = genesis_block(&profile, timestamp, nonce)?;
    Ok(Channel::create(&dir, &genesis)?)
}

fn describe(config: &NetworkConfig, material: &Material, listeners: &Listeners) -> Description {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let endpoint = |node: &Node, address: &SocketAddr| Endpoint {
        address: address.to_string(),
        server_name: node.name.clone(),
        tls_ca_file: absolute(&node.tls_ca_file),
    };
    let organizations = material.peers.iter().zip(&listeners.peers);
    let organizations = organizations.map(|(organization, (_, address))| {
        let OrganizationMaterial {
            msp_id,
            domain,
            folder,
            node,
            ..
        } = organization;
        let admin = folder.join("users").join(format!("Admin@{domain}"));
        OrganizationDescription {
            msp_id: msp_id.to_string(),
            domain: domain.clone(),
            peer: endpoint(node, address),
            msp_dir: absolute(&folder.join("msp")),
            admin_msp_dir: absolute(&admin.join("msp")),
        }
    });
    Description {
        channel: config.channel.clone(),
        orderer: endpoint(&material.orderer.node, &listeners.orderer.1),
        organizations: organizations.collect(),
        crypto_dir: absolute(&config.crypto_dir()),
    }
}

fn peer(
    config: &NetworkConfig,
    organization: &OrganizationMaterial,
    address: &str,
    channel: &Channel,
    shutdown: &CancellationToken,
) -> Result<Peer, NetworkError> {
    let msp_id = organization.msp_id.clone();
    let packages = config
        .dir
        .join("peers")
        .join(msp_id.as_str())
        .join("chaincodes");
    let packages = PackageStore::open(&packages);
    Ok(Peer {
        name: organization.node.name.clone(),
        address: address.to_owned(),
        signer: organization.node.signer.clone(),
        channel: channel.clone(),
        packages: packages.map_err(|error| NetworkError::Packages(error.to_string()))?,
        chaincodes: ChaincodeHost::new(shutdown.child_token()),
        execute_timeout: config.execute_timeout,
        served: ServedCache::default(),
        msp_id,
    })
}

fn serve_all(
    servers: &mut JoinSet<Result<(), NetworkError>>,
    shared: &Arc<Shared>,
    material: &Material,
    listeners: Listeners,
) -> Result<(), NetworkError> {
    let nodes = shared.peers.iter().zip(&material.peers);
    for ((peer, organization), (listener, _)) in nodes.zip(listeners.peers) {
        let endorser = EndorserServer::new(EndorserService {
            shared: Arc::clone(shared),
            peer: Arc::clone(peer),
        });
        let gateway = GatewayServer::new(GatewayService {
            shared: Arc::clone(shared),
            local: Arc::clone(peer),
        });
        let deliver = DeliverServer::new(DeliverService {
            shared: Arc::clone(shared),
        });
        let router = server(&organization.node)?
            .add_service(
                endorser
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES),
            )
            .add_service(
                gateway
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES),
            )
            .add_service(
                deliver
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES),
            );
        serve(servers, router, listener, shared.shutdown.clone());
    }
    let broadcast = AtomicBroadcastServer::new(BroadcastService {
        shared: Arc::clone(shared),
    });
    let router = server(&material.orderer.node)?.add_service(
        broadcast
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    );
    serve(
        servers,
        router,
        listeners.orderer.0,
        shared.shutdown.clone(),
    );
    Ok(())
}

fn server(node: &Node) -> Result<Server, NetworkError> {
    let identity = Identity::from_pem(&node.tls_certificate, &node.tls_key);
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION)
        .http2_adaptive_window(Some(true))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    Ok(server)
}

fn serve(
    servers: &mut JoinSet<Result<(), NetworkError>>,
    router: Router,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    servers.spawn(async move {
        let stop = shutdown.cancelled_owned();
        router.serve_with_incoming_shutdown(incoming, stop).await?;
        Ok(())
    });
}
