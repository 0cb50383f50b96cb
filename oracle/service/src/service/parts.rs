//! The parts of an oracle: each half is bound first, so that a wrong start ends at once, and run when all of it can be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::apart::apart;
use crate::api::{Api, Callers, Readiness, Routes, Server};
use crate::clock;
use crate::config::{Config, Custody};
use crate::enrolment::{Authority, Enrolments};
use crate::identity::{self, Identity};
use crate::ingest::directory::DeviceDirectory;
use crate::ingest::intake::Intake;
use crate::ingest::mqtt::{BoundFront, Delivery, Limits, RouterWatch};
use crate::jobs::{self, Board, Jobs};
use crate::journal::{self, Journal, LastValues};
use crate::ledger::Ledger;
use crate::metrics::{Crls, Files};
use crate::objects::{self, ObjectLimits, Objects};
use crate::open::Opener;
use crate::pipeline::{self, Pipeline, PipelineError};
use crate::refusals::Refusals;
use crate::store::Kubo;

/// Time between two looks for new revocation lists.
const REVOCATION_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two tidyings of the metrics.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);
/// Name of the log of refusals in the journal's folder.
const DEFAULT_REFUSAL_LOG: &str = "refusals.ndjson";

/// How a part of the oracle ended: done for good, or as its name, or why the oracle cannot go on.
pub(super) type PartEnd = Result<Option<&'static str>, StartError>;

/// What both halves of an oracle stand on.
pub(super) struct Base {
    pub(super) identity: Identity,
    pub(super) ledger: Ledger,
    pub(super) store: Kubo,
    pub(super) devices: Arc<DeviceDirectory>,
    pub(super) stop: CancellationToken,
    pub(super) parts: JoinSet<PartEnd>,
}

/// The half that takes readings, bound and not yet running.
pub(super) struct Ingest {
    pub(super) journal: Journal,
    pub(super) objects: Objects,
    pub(super) object_parts: objects::Parts,
    pub(super) pipeline: Pipeline,
    pub(super) front: BoundFront,
    pub(super) router: RouterWatch,
}

/// The half that serves people, bound and not yet running.
pub(super) struct People {
    pub(super) api: Arc<Api>,
    pub(super) server: Server,
    pub(super) jobs: Jobs,
}

impl Base {
    /// Opens the journal and binds the MQTT ports, if the role takes readings.
    pub(super) async fn bind_ingest(&self, config: &Config) -> Result<Option<Ingest>, StartError> {
        let (Some(mqtt), Some(journal)) = (&config.mqtt, &config.journal) else {
            return Ok(None);
        };
        let kept_in = journal::Config::from(journal);
        let limits = ObjectLimits::from(journal);
        let journal = Journal::open(&kept_in)?;
        let retained = LastValues::open(&kept_in, journal::RETAINED)?;
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
    pub(super) async fn bind_people(
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

    pub(super) fn run_ingest(&mut self, ingest: Ingest, interval: Duration) {
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
        let working = apart("pipeline", pipeline.run(token()));
        self.parts.spawn(async move {
            let ended = working.await.unwrap_or(Err(PipelineError::Panicked));
            Ok(ended.map(|()| Some("the pipeline"))?)
        });
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

    pub(super) fn run_people(&mut self, people: People, registered: watch::Receiver<bool>) {
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
pub(super) fn refusal_log(config: &Config) -> Option<PathBuf> {
    let rest = config.rest.as_ref()?;
    let beside = config.journal.as_ref();
    let beside = beside.map(|journal| journal.dir.join(DEFAULT_REFUSAL_LOG));
    rest.refusal_log.clone().or(beside)
}

/// Certificates whose end an operator has to know of.
pub(super) fn certificates_that_end(config: &Config) -> Files {
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
pub(super) fn revocation_lists(config: &Config) -> Crls {
    let devices = config
        .mqtt
        .iter()
        .map(|mqtt| ("own".to_owned(), mqtt.client_msp_dir.clone()));
    let rest = config.rest.iter().flat_map(|rest| &rest.organizations);
    let people = rest.map(|one| (one.msp_id.to_string(), one.msp_dir.clone()));
    devices.chain(people).collect()
}

/// A part that runs until it is told to stop.
pub(super) async fn named(part: &'static str, running: impl Future<Output = ()>) -> PartEnd {
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
pub(super) async fn register(
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
pub(super) async fn tidy_metrics(metrics: Option<PrometheusHandle>, stop: CancellationToken) {
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
        let stale = !matches!(reloaded, Ok(Ok(())));
        metrics::gauge!("salus_msp_stale", "msp" => "callers").set(f64::from(u8::from(stale)));
        match reloaded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "revocation lists cannot be read again"),
            Err(error) => tracing::error!(%error, "reading revocation lists broke"),
        }
    }
}
