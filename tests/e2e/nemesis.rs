//! A storm: fifty devices publish while processes are killed and stopped, connections torn and the
//! disk filled, as a seed says. Afterwards nothing acknowledged is lost and nothing is doubled.
//!
//! `SALUS_NEMESIS_SEED` repeats a storm, `SALUS_NEMESIS_KILLS` makes it longer.

mod fleet;

use std::{env, path::PathBuf, time::Duration};

use salus_tests::{
    consortium::FIRST_ORACLE,
    nemesis::{Fault, Link, plan},
    oracle::OracleSettings,
    proxy::{Proxy, Weather},
    system::{Part, Platform},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use self::fleet::Fleet;
use crate::{
    deadline::Deadline,
    disk::SmallDisk,
    invariants,
    support::{Running, is_here},
};

/// Devices that publish, each of a patient of its own.
const DEVICES: usize = 50;
/// Kills of a run that is not told another number.
const KILLS: usize = 50;
/// Kills of such a run on real Fabric, where a process takes seconds to come back.
const KILLS_ON_FABRIC: usize = 20;
/// More than a kill takes, with the faults between two.
const A_KILL: Duration = Duration::from_secs(15);
/// Size of the journal's disk, MiB: room for all that a storm has on its way.
const JOURNAL_MIB: u32 = 64;
/// The seed of a run that is not told another.
const SEED: u64 = 20_261_122;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_devices_lose_nothing_in_a_storm() {
    storm(Platform::EMBEDDED, KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_devices_lose_nothing_in_a_storm_on_real_fabric_and_kubo() {
    let test = "fifty_devices_lose_nothing_in_a_storm_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        storm(Platform::REAL, KILLS_ON_FABRIC).await;
    }
}

/// What the environment says, or `otherwise`.
fn told<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => otherwise,
    }
}

async fn storm(platform: Platform, kills: usize) {
    let seed = told("SALUS_NEMESIS_SEED", SEED);
    let kills = told("SALUS_NEMESIS_KILLS", kills);
    say(&format!("seed {seed}, {kills} kills"));
    let mut running = Running::start(platform, DEVICES).await;
    let most = u32::try_from(kills).expect("a number of kills") * A_KILL;
    running.deadline = Deadline::within(Deadline::USUAL + most);
    let nemesis = Nemesis::prepare(&mut running).await;

    let (stop, stopped) = watch::channel(false);
    let fleet = Fleet::launch(&running, nemesis.devices.address(), seed, &stopped);
    let began = Instant::now();
    let planned = plan(seed, kills, running.system.parts().len());
    for step in &planned {
        sleep(step.after).await;
        nemesis.inflict(&mut running, step.fault).await;
        invariants::nobody_gave_up(&mut running);
    }
    let lasted = began.elapsed();
    stop.send_replace(true);
    let published = fleet.land().await;

    let count: usize = published.iter().map(Vec::len).sum();
    say(&format!(
        "{} faults in {lasted:.0?}; {count} readings acknowledged",
        planned.len()
    ));
    let journal = nemesis.journal(&running);
    invariants::hold(running, &journal, &published).await;
    say(&format!("{count} readings are there, once each"));
}

#[allow(
    clippy::print_stderr,
    reason = "the seed of a storm that failed is needed to repeat it"
)]
fn say(what: &str) {
    eprintln!("storm: {what}");
}

/// What makes faults: bad connections between the oracle and the others, and a small disk.
struct Nemesis {
    devices: Proxy,
    peer: Proxy,
    ipfs: Proxy,
    /// None where nothing may be mounted.
    disk: Option<SmallDisk>,
}

impl Nemesis {
    /// Starts the oracle again, behind connections that can be made bad.
    async fn prepare(running: &mut Running) -> Self {
        let system = &mut running.system;
        let peer_address = &system.network.info().organizations[0].peer.address;
        let ipfs_address = system.ipfs.api.trim_start_matches("http://");
        let nemesis = Self {
            devices: Proxy::start(system.mqtt_address()).await.unwrap(),
            peer: Proxy::start(peer_address).await.unwrap(),
            ipfs: Proxy::start(ipfs_address).await.unwrap(),
            disk: SmallDisk::mount(JOURNAL_MIB),
        };
        if nemesis.disk.is_none() {
            say("SKIPPED full disks: mounting is not permitted here");
        }
        let settings = OracleSettings {
            name: FIRST_ORACLE.to_owned(),
            ipfs_api: format!("http://{}", nemesis.ipfs.address()),
            peer: Some(nemesis.peer.address().to_owned()),
            journal: nemesis.disk.as_ref().map(|disk| disk.folder("journal")),
            ..OracleSettings::default()
        };
        system.oracle.process.kill().await.unwrap();
        system.oracle = system.start_oracle(&settings).await.unwrap();
        nemesis
    }

    /// Where the oracle's journal is.
    fn journal(&self, running: &Running) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.folder("journal"),
            None => running.system.oracle.home.join("journal"),
        }
    }

    async fn inflict(&self, running: &mut Running, fault: Fault) {
        let system = &mut running.system;
        match fault {
            Fault::Kill(part) => {
                let part: Part = system.parts()[part];
                system
                    .kill_and_restart(part)
                    .await
                    .unwrap_or_else(|error| panic!("{fault}: {error:#}"));
            }
            Fault::Pause(part, time) => {
                let mut processes = system.processes();
                let process = &mut processes[part];
                process.pause().unwrap();
                sleep(time).await;
                process.go_on().unwrap();
            }
            Fault::Silence(link, time) => self.spoil(link, Weather::Silent, time).await,
            Fault::Cut(link, time) => self.spoil(link, Weather::Cut, time).await,
            Fault::FullDisk(time) => {
                if let Some(disk) = &self.disk {
                    disk.fill();
                    sleep(time).await;
                    disk.free();
                }
            }
        }
    }

    async fn spoil(&self, link: Link, weather: Weather, time: Duration) {
        let proxy = match link {
            Link::Devices => &self.devices,
            Link::Peer => &self.peer,
            Link::Ipfs => &self.ipfs,
        };
        proxy.set(weather);
        sleep(time).await;
        proxy.set(Weather::Open);
    }
}
