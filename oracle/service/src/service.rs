//! The oracle as a whole: built in one order, ready when everything is, stopped in one order.
//!
//! Keys and folders are read and ports are bound before any work starts, so that a wrong start
//! ends at once. Ready is said only when the oracle is in the channel's directory and all it works
//! with answers; until then `/readyz` says what is missing. Stopping goes the way of a reading:
//! first no more is taken in, then what is taken in is brought to a step that the journal
//! remembers, then the journal is closed.
//!
//! An oracle is one process, or two that share nothing but the ledger and the store: one takes
//! readings and has public keys only, the other serves people and has no journal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Callers, HealthPort, Probes, Readiness, Routes, Server, ServerError};
use crate::clock;
use crate::config::{Config, Custody};
use crate::enrolment::{Authority, AuthorityError, Enrolments};
use crate::identity::{self, Identity, IdentityLoadError};
use crate::ingest::directory::DeviceDirectory;
use crate::ingest::intake::Intake;
use crate::ingest::mqtt::{BoundFront, Delivery, DeliveryError, FrontError, Limits, RouterWatch};
use crate::jobs::{self, Board, Jobs};
use crate::journal::{self, Journal, JournalError, LastValues};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{Crls, Files, Watch};
use crate::objects::{self, FolderError, ObjectLimits, Objects};
use crate::open::Opener;
use crate::pipeline::{self, Pipeline, PipelineError};
use crate::refusals::Refusals;
use crate::store::Kubo;

/// Time between two looks for new revocation lists.
const REVOCATION_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two tidyings of the metrics.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);
/// Time for everything to stop, above the parts' own limits.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Name of the log of refusals in the journal's folder.
const DEFAULT_REFUSAL_LOG: &str = "refusals.ndjson";

/// Why the oracle did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its certificate or keys.
    #[error(transparent)]
    Identity(#[from] IdentityLoadError),
    /// The MSP folder of an organisation whose people may call.
    #[error("an MSP folder of [rest] organizations cannot be used")]
    Callers(#[source] fabric_msp::MspError),
    /// The device CA.
    #[error("devices cannot be enrolled")]
    Enrolment(#[from] AuthorityError),
    /// Devices renew certificates over REST, where the own organisation must be known.
    #[error("[enrolment] needs {msp_id} among the [rest] organizations")]
    NoOwnMsp {
        /// The own organisation.
        msp_id: String,
    },
    /// The organisation's name is none that records can bear.
    #[error("the MSP ID {msp_id} has characters that no record can name")]
    MspId {
        /// The name.
        msp_id: String,
    },
    /// The channel refused the oracle, or its settings cannot be used.
    #[error("the oracle cannot work on the channel")]
    Ledger(#[from] LedgerError),
    /// The journal.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    /// The folder of large objects beside the journal.
    #[error("the folder of objects cannot be used")]
    Objects(#[from] FolderError),
    /// The pipeline.
    #[error("the pipeline cannot work")]
    Pipeline(#[from] PipelineError),
    /// Delivery to devices.
    #[error("nothing can be delivered to devices")]
    Delivery(#[from] DeliveryError),
    /// The MQTT port.
    #[error("the MQTT port cannot be served")]
    Front(#[from] FrontError),
    /// The REST port, or the one for health.
    #[error("an HTTP port cannot be served")]
    Server(#[from] ServerError),
    /// A part that should run until the end has ended.
    #[error("{part} ended")]
    Ended {
        /// Which.
        part: &'static str,
    },
    /// A part ended in a fault of the program.
    #[error("a part of the oracle broke")]
    Broke(#[source] JoinError),
}

/// Where a ready oracle is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// MQTT over TLS, if the process takes readings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<SocketAddr>,
    /// MQTT in WebSockets over TLS, when the configuration asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_websocket: Option<SocketAddr>,
    /// MQTT without TLS, when the configuration asks for it.
    pub mqtt_insecure: Option<SocketAddr>,
    /// REST over TLS, if the process serves people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<SocketAddr>,
    /// Health and metrics without TLS, when the configuration asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<SocketAddr>,
}

/// How a part of the oracle ended: done for good, or as its name, or why the oracle cannot go on.
type PartEnd = Result<Option<&'static str>, StartError>;

/// A running oracle.
#[derive(Debug)]
pub struct Oracle {
    addresses: Addresses,
    readiness: Readiness,
    registered: watch::Receiver<bool>,
    parts: JoinSet<PartEnd>,
    journal: Option<Journal>,
    objects: Option<Objects>,
    /// Ends the taking in of readings and requests, and then the work on them.
    stop: CancellationToken,
}

impl Oracle {
    /// Reads keys, opens the journal, binds the ports and starts every part.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(
        config: Config,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, StartError> {
        let identity = Identity::load(&config)?;
        let ledger = Ledger::connect(&config.fabric, identity.signing.clone(), &identity.issuer)?;
        let store = Kubo::new(&config.ipfs);
        let devices = Arc::new(DeviceDirectory::new(Arc::new(ledger.clone())));
        let stop = CancellationToken::new();
        let mut base = Base {
            identity,
            ledger,
            store,
            devices,
            stop,
            parts: JoinSet::new(),
        };
        let ingest = base.bind_ingest(&config).await?;
        let journal = ingest.as_ref().map(|ingest| ingest.journal.clone());
        let objects = ingest.as_ref().map(|ingest| ingest.objects.clone());
        let refusals = Refusals::open(refusal_log(&config)).await;
        let (registered_tx, registered) = watch::channel(false);
        let probes = Probes {
            registered: registered.clone(),
            refusals: refusals.clone(),
            ledger: base.ledger.clone(),
            store: base.store.clone(),
            journal: journal.clone(),
            pipeline: ingest.as_ref().map(|ingest| ingest.pipeline.status()),
        };
        let (readiness, looking) = probes.watch(base.stop.clone());
        let people = base
            .bind_people(
                &config,
                &readiness,
                &refusals,
                ingest.as_ref(),
                metrics.clone(),
            )
            .await?;
        let health = match config.health {
            Some(address) => {
                let bound = HealthPort::bind(address, readiness.clone(), metrics.clone());
                Some(bound.await?)
            }
            None => None,
        };
        let addresses = Addresses {
            health: health.as_ref().map(HealthPort::local_addr),
            mqtt: ingest.as_ref().map(|ingest| ingest.front.local_addr()),
            mqtt_websocket: ingest
                .as_ref()
                .and_then(|ingest| ingest.front.websocket_addr()),
            mqtt_insecure: ingest
                .as_ref()
                .and_then(|ingest| ingest.front.insecure_addr()),
            rest: people.as_ref().map(|people| people.server.local_addr()),
        };
        base.parts.spawn(named("readiness", looking));
        if let Some(health) = health {
            let serving = health.serve(base.stop.clone());
            base.parts.spawn(named("the health port", serving));
        }
        let noting = refusals.run(base.stop.clone());
        base.parts.spawn(named("the log of refusals", noting));
        let watch = Watch {
            readiness: readiness.clone(),
            journal: journal.clone(),
            certificates: certificates_that_end(&config),
            crls: revocation_lists(&config),
        };
        let watching = watch.run(base.stop.clone());
        base.parts.spawn(named("the watch for metrics", watching));
        let metrics = tidy_metrics(metrics, base.stop.clone());
        base.parts.spawn(named("metrics", metrics));
        if let Some(ingest) = ingest {
            base.run_ingest(ingest, config.jobs.interval);
        }
        if let Some(people) = people {
            base.run_people(people, registered.clone());
        }
        let Base {
            identity,
            ledger,
            stop,
            mut parts,
            ..
        } = base;
        parts.spawn(register(ledger, identity, registered_tx, stop.clone()));
        Ok(Self {
            addresses,
            readiness,
            registered,
            parts,
            journal,
            objects,
            stop,
        })
    }

    /// Waits until the oracle can do its work, and says where.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a part ends before that.
    pub async fn ready(&mut self) -> Result<Addresses, StartError> {
        let mut registered = self.registered.clone();
        let mut readiness = self.readiness.clone();
        let all = async {
            // The sender lives until registration is done or has failed, which `failed` tells.
            if registered.wait_for(|done| *done).await.is_err() {
                std::future::pending::<()>().await;
            }
            readiness.all().await;
        };
        tokio::select! {
            () = all => Ok(self.addresses),
            error = failed(&mut self.parts) => Err(error),
        }
    }

    /// Waits until a part ends that should not. Never returns while all is well.
    pub async fn failed(&mut self) -> StartError {
        failed(&mut self.parts).await
    }

    /// Stops in order, within a stated time.
    pub async fn shutdown(mut self) {
        tracing::info!("stopping");
        self.stop.cancel();
        let drained = async {
            while let Some(ended) = self.parts.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "at shutdown");
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained)
            .await
            .is_err()
        {
            tracing::warn!("parts were cut off at shutdown; the journal has their work");
        }
        self.parts.shutdown().await;
        if let Some(objects) = self.objects {
            objects.close().await;
        }
        if let Some(journal) = self.journal {
            journal.close().await;
        }
    }
}

/// What both halves of an oracle stand on.
struct Base {
    identity: Identity,
    ledger: Ledger,
    store: Kubo,
    devices: Arc<DeviceDirectory>,
    stop: CancellationToken,
    parts: JoinSet<PartEnd>,
}

/// The half that takes readings, bound and not yet running.
struct Ingest {
    journal: Journal,
    objects: Objects,
    object_parts: objects::Parts,
    pipeline: Pipeline,
    front: BoundFront,
    router: RouterWatch,
}

/// The half that serves people, bound and not yet running.
struct People {
    api: Arc<Api>,
    server: Server,
    jobs: Jobs,
}

impl Base {
    /// Opens the journal and binds the MQTT ports, if the role takes readings.
    async fn bind_ingest(&self, config: &Config) -> Result<Option<Ingest>, StartError> {
        let (Some(mqtt), Some(journal)) = (&config.mqtt, &config.journal) else {
            return Ok(None);
        };
        let kept_in = journal::Config::from(journal);
        let limits = ObjectLimits::from(journal);
        let journal = Journal::open(&kept_in)?;
        let retained = LastValues::open(&kept_in, "retained")?;
        let (delivery, router) = Delivery::start()?;
        let objects = Objects::open(&journal, limits, delivery.clone())?;
        let (pipeline, readings_tx) = Pipeline::new(pipeline::Parts {
            config: config.pipeline.clone(),
            journal: journal.clone(),
            devices: Arc::clone(&self.devices),
            registrar: Arc::new(self.ledger.clone()),
            store: Arc::new(self.store.clone()),
            delivery: delivery.clone(),
            msp_id: own_msp_id(&self.ledger)?,
            oracle_keys: self.identity.holders.clone(),
            objects: objects.clone(),
        })?;
        let object_parts = objects::Parts {
            journal: journal.clone(),
            readings_tx: readings_tx.clone(),
        };
        let intake = Intake::new(journal.clone(), Arc::clone(&self.devices), readings_tx)
            .with_objects(objects.clone());
        let msp_id = config.organization.msp_id.clone();
        let front =
            BoundFront::bind(mqtt, msp_id, Limits::default(), intake, delivery, retained).await?;
        Ok(Some(Ingest {
            journal,
            objects,
            object_parts,
            pipeline,
            front,
            router,
        }))
    }

    /// Reads the callers' MSPs and binds the REST port, if the role serves people.
    async fn bind_people(
        &self,
        config: &Config,
        readiness: &Readiness,
        refusals: &Refusals,
        ingest: Option<&Ingest>,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Option<People>, StartError> {
        let (Some(rest), Some(keys)) = (&config.rest, &self.identity.keys) else {
            return Ok(None);
        };
        let callers = Callers::load(&rest.organizations).map_err(StartError::Callers)?;
        let enrolments = self.enrolments(config, &callers)?;
        let board = Board::default();
        let jobs = Jobs::new(jobs::Parts {
            config: config.jobs.clone(),
            ledger: self.ledger.clone(),
            store: self.store.clone(),
            journal: ingest.map(|ingest| ingest.journal.clone()),
            keys: keys.clone(),
            board: board.clone(),
        });
        let api = Arc::new(Api {
            opener: Opener::new(self.ledger.clone(), self.store.clone(), keys.clone()),
            ledger: self.ledger.clone(),
            callers,
            devices: Arc::clone(&self.devices),
            enrolments,
            open_for_readers: rest.open_for_readers
                && config.organization.custody == Custody::Organization,
            max_body: rest.max_body,
            readiness: readiness.clone(),
            refusals: refusals.clone(),
            metrics,
            store: self.store.clone(),
            holders: self.identity.holders.clone(),
            gate: keys.public().clone(),
            signing: self.identity.signing.clone(),
            jobs: board,
            dead_letters: ingest.map(|ingest| ingest.pipeline.dead_letters()),
        });
        let server = Server::bind(rest, Routes::new(&api)).await?;
        Ok(Some(People { api, server, jobs }))
    }

    /// Opens the device CA, if this oracle has it.
    fn enrolments(
        &self,
        config: &Config,
        callers: &Callers,
    ) -> Result<Option<Arc<Enrolments>>, StartError> {
        let Some(enrolment) = &config.enrolment else {
            return Ok(None);
        };
        let own = &config.organization.msp_id;
        let msp = callers.msp(own).ok_or_else(|| StartError::NoOwnMsp {
            msp_id: own.to_string(),
        })?;
        let now = clock::now().unix_seconds();
        let authority = Authority::load(
            &enrolment.ca_certificate_file,
            &enrolment.ca_key_file,
            &msp,
            now,
        )?;
        let register = Arc::new(self.ledger.clone());
        let enrolments = Enrolments::open(enrolment, authority, register)?;
        Ok(Some(Arc::new(enrolments)))
    }

    fn run_ingest(&mut self, ingest: Ingest, interval: Duration) {
        let Ingest {
            journal,
            objects,
            object_parts,
            pipeline,
            front,
            router,
        } = ingest;
        let token = || self.stop.clone();
        self.parts
            .spawn(named("the MQTT port", front.serve(token())));
        let working = pipeline.run(token());
        self.parts
            .spawn(async move { Ok(working.await.map(|()| Some("the pipeline"))?) });
        self.parts
            .spawn(until(token(), "the MQTT router", async move {
                router.died().await
            }));
        if self.identity.keys.is_none() {
            // The process that serves people erases; this one only takes its part in it.
            let ledger = self.ledger.clone();
            let watching = jobs::watch_erasures(ledger, journal.clone(), interval, token());
            self.parts.spawn(named("the watch for erasures", watching));
        }
        self.parts.spawn(until(token(), "the journal", async move {
            journal.failure().await
        }));
        let watched = objects.clone();
        self.parts
            .spawn(until(token(), "the folder of objects", async move {
                watched.failure().await
            }));
        let looking = objects.run(object_parts, token());
        self.parts.spawn(named("the look after objects", looking));
    }

    fn run_people(&mut self, people: People, registered: watch::Receiver<bool>) {
        let People { api, server, jobs } = people;
        let token = || self.stop.clone();
        self.parts
            .spawn(named("the REST port", server.serve(token())));
        self.parts
            .spawn(named("revocation", reload_revocations(api, token())));
        self.parts
            .spawn(named("the jobs", jobs.run(registered, token())));
    }
}

/// The own organisation, in the contracts' type.
fn own_msp_id(ledger: &Ledger) -> Result<contract_interface::MspId, StartError> {
    let text = ledger.msp_id().as_str();
    text.parse().map_err(|_| StartError::MspId {
        msp_id: text.to_owned(),
    })
}

/// Where refusals are noted: where the configuration says, else beside the journal.
fn refusal_log(config: &Config) -> Option<PathBuf> {
    let rest = config.rest.as_ref()?;
    let beside = config.journal.as_ref();
    let beside = beside.map(|journal| journal.dir.join(DEFAULT_REFUSAL_LOG));
    rest.refusal_log.clone().or(beside)
}

/// Certificates whose end an operator has to know of.
fn certificates_that_end(config: &Config) -> Files {
    let mut files = vec![
        ("identity", config.identity.msp_dir.clone()),
        ("fabric-ca", config.fabric.tls_ca_file.clone()),
    ];
    if let Some(mqtt) = &config.mqtt {
        files.push(("mqtt", mqtt.certificate_file.clone()));
    }
    if let Some(rest) = &config.rest {
        files.push(("rest", rest.certificate_file.clone()));
    }
    if let Some(enrolment) = &config.enrolment {
        files.push(("enrolment-ca", enrolment.ca_certificate_file.clone()));
    }
    files
}

/// The MSP folders whose revocation lists are in force here.
fn revocation_lists(config: &Config) -> Crls {
    let devices = config
        .mqtt
        .iter()
        .map(|mqtt| ("own".to_owned(), mqtt.client_msp_dir.clone()));
    let rest = config.rest.iter().flat_map(|rest| &rest.organizations);
    let people = rest.map(|one| (one.msp_id.to_string(), one.msp_dir.clone()));
    devices.chain(people).collect()
}

/// The first part that ended wrongly.
async fn failed(parts: &mut JoinSet<PartEnd>) -> StartError {
    while let Some(ended) = parts.join_next().await {
        match ended {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(part))) => return StartError::Ended { part },
            Ok(Err(error)) => return error,
            Err(error) => return StartError::Broke(error),
        }
    }
    std::future::pending().await
}

/// A part that runs until it is told to stop.
async fn named(part: &'static str, running: impl Future<Output = ()>) -> PartEnd {
    running.await;
    Ok(Some(part))
}

/// A part whose end means that the oracle cannot go on.
async fn until(
    stop: CancellationToken,
    part: &'static str,
    death: impl Future<Output = ()>,
) -> PartEnd {
    tokio::select! {
        () = stop.cancelled() => Ok(None),
        () = death => Err(StartError::Ended { part }),
    }
}

/// Enters the oracle into the channel's directory and ends.
async fn register(
    ledger: Ledger,
    identity: Identity,
    registered: watch::Sender<bool>,
    stop: CancellationToken,
) -> PartEnd {
    match identity::register(&ledger, &identity, &stop).await {
        Ok(()) => {
            registered.send_replace(true);
            Ok(None)
        }
        Err(_) if stop.is_cancelled() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Folds what was measured into its buckets from time to time, since nobody may ever ask for it
/// and memory must not grow meanwhile.
async fn tidy_metrics(metrics: Option<PrometheusHandle>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(METRICS_INTERVAL) => {}
        }
        if let Some(metrics) = &metrics {
            metrics.run_upkeep();
        }
    }
}

/// Reads the MSP folders again from time to time, so that a revocation takes effect without a
/// restart. A folder that cannot be read leaves the lists in use as they are.
async fn reload_revocations(api: Arc<Api>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REVOCATION_INTERVAL) => {}
        }
        let reloading = Arc::clone(&api);
        let reloaded = tokio::task::spawn_blocking(move || reloading.callers.reload()).await;
        match reloaded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "revocation lists cannot be read again"),
            Err(error) => tracing::error!(%error, "reading revocation lists broke"),
        }
    }
}
