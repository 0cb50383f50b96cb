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

mod apart;
mod parts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::parts::{
    Base, PartEnd, certificates_that_end, named, refusal_log, register, revocation_lists,
    tidy_metrics,
};
use crate::api::{HealthPort, Probes, Readiness, ServerError};
use crate::config::Config;
use crate::enrolment::AuthorityError;
use crate::identity::{Identity, IdentityLoadError};
use crate::ingest::directory::DeviceDirectory;
use crate::ingest::mqtt::{DeliveryError, FrontError};
use crate::journal::{Journal, JournalError};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Watch;
use crate::objects::{FolderError, Objects};
use crate::pipeline::PipelineError;
use crate::refusals::Refusals;
use crate::store::Kubo;

/// Time for everything to stop, above the parts' own limits.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

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
