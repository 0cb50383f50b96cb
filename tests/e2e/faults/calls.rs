//! Each part is killed before each kind of system call that it makes on a reading's way, and each
//! of its writes and syncs fails once.
//!
//! A part runs under `strace` once to see its calls, and is then struck at one of each kind.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use salus_tests::{
    process::kill,
    story,
    strace::{self, Call, Follow, Strace, Tampering},
    system::{Part, Platform},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{say, site::Site, told};
use crate::support::is_here;

/// Readings sent in each round.
const READINGS: usize = 2;
/// How long a part may live on when everything was acknowledged, before it is taken for one that
/// makes the call no more.
const LIVES_ON: Duration = Duration::from_millis(1_500);
/// How long a part is held before each call of the name in question, so that it can be killed there.
const HELD: Duration = Duration::from_millis(8);
/// How often a step that was missed is tried again at another call.
const TRIES: usize = 4;
/// Steps of a real peer or orderer that are struck in a run that is not told to strike more often.
const STEPS_ON_FABRIC: usize = 5;
/// How often each step of the contracts is struck.
const ROUNDS_OF_CONTRACTS: usize = 5;

/// How long after contracts were started again the first question may wait for its answer.
const RECONNECTED_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oracle_killed_before_any_system_call_loses_nothing() {
    let test = "an_oracle_killed_before_any_system_call_loses_nothing";
    strike(test, Platform::EMBEDDED, &[Part::Oracle], Strike::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracts_store_and_network_killed_before_any_system_call_lose_nothing() {
    let test = "contracts_store_and_network_killed_before_any_system_call_lose_nothing";
    let parts = [Part::Chaincode, Part::Ipfs, Part::Network(0)];
    strike(test, Platform::EMBEDDED, &parts, Strike::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_or_sync_that_fails_loses_nothing() {
    let test = "a_write_or_sync_that_fails_loses_nothing";
    let parts = [Part::Oracle, Part::Ipfs, Part::Network(0)];
    strike(test, Platform::EMBEDDED, &parts, Strike::Fail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_process_killed_before_any_system_call_loses_nothing_on_real_fabric_and_kubo() {
    let test = "any_process_killed_before_any_system_call_loses_nothing_on_real_fabric_and_kubo";
    strike(test, Platform::REAL, &ALL_ON_FABRIC, Strike::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_or_sync_that_fails_loses_nothing_on_real_fabric_and_kubo() {
    let test = "a_write_or_sync_that_fails_loses_nothing_on_real_fabric_and_kubo";
    // The contracts write no file.
    let [writing @ .., _] = ALL_ON_FABRIC;
    strike(test, Platform::REAL, &writing, Strike::Fail).await;
}

/// Everything that runs on real Fabric: the orderer is number 0.
const ALL_ON_FABRIC: [Part; 6] = [
    Part::Network(0),
    Part::Network(1),
    Part::Network(2),
    Part::Oracle,
    Part::Ipfs,
    Part::Chaincode,
];

async fn strike(test: &str, platform: Platform, parts: &[Part], strike: Strike) {
    let Some(strace) = Strace::find(test) else {
        return;
    };
    if !is_here(test, platform) {
        return;
    }
    let mut site = Site::start(platform).await;
    for &part in parts {
        let mut target = Target::new(&mut site, strace.clone(), part, strike);
        let mut steps = target.watch(&mut site).await;
        target.leave_a_few(&mut site, &mut steps);
        target.strike_each(&mut site, &steps).await;
        if part == Part::Chaincode {
            reconnect(&mut site).await;
        }
    }
    site.end().await;
}

/// Peers find contracts that were started again.
async fn reconnect(site: &mut Site) {
    site.restart(Part::Chaincode, "the last time").await;
    let began = Instant::now();
    let client = story::client(&site.patient.person).unwrap();
    while let Err(error) = story::records_of(&client, site.patient.pseudonym).await {
        assert!(began.elapsed() < RECONNECTED_MAX, "{error:#}");
    }
    say(&format!(
        "the contracts answered {:.1?} after they were started again",
        began.elapsed()
    ));
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    /// The process is killed instead of the call.
    Kill,
    /// The call does nothing and fails, as on a broken disk.
    Fail,
}

/// What a part does, and the calls by which it does so in a round.
type Steps = BTreeMap<String, Vec<Call>>;

/// A part that is to be struck.
struct Target {
    strace: Strace,
    part: Part,
    sieve: Sieve,
    /// How often each step was struck.
    struck: BTreeMap<String, usize>,
}

impl Target {
    fn new(site: &mut Site, strace: Strace, part: Part, strike: Strike) -> Self {
        let things = things(site, part);
        Self {
            strace,
            part,
            sieve: Sieve { strike, things },
            struck: BTreeMap::new(),
        }
    }

    /// Runs the part under observation.
    async fn watch(&mut self, site: &mut Site) -> Steps {
        let plain = site.process(self.part).spec();
        let record = site.running.dir.path().join("calls");
        let watched = self.strace.record(plain.clone(), &record);
        site.process(self.part).prepare(watched);
        site.restart(self.part, "being watched").await;
        site.send(READINGS).await;
        site.settle("being watched").await;
        site.process(self.part).prepare(plain);
        site.restart(self.part, "being watched").await;
        let mut steps = Steps::new();
        let calls = strace::read(&record);
        for call in &calls {
            if let Some(step) = self.sieve.step(call) {
                steps.entry(step).or_default().push(call.clone());
            }
        }
        if self.sieve.strike == Strike::Fail {
            self.leave_out_what_is_not_struck_first(&calls, &mut steps);
        }
        assert!(!steps.is_empty(), "{:?} made no call", self.part);
        steps
    }

    /// A call fails by its name and its number in its thread: where another comes first with the
    /// same, that would fail.
    fn leave_out_what_is_not_struck_first(&self, calls: &[Call], steps: &mut Steps) {
        let all: Vec<String> = steps.keys().cloned().collect();
        for candidates in steps.values_mut() {
            candidates.retain(|candidate| {
                let same = |call: &&Call| call.name == candidate.name && call.nth == candidate.nth;
                calls.iter().find(same) == Some(candidate)
            });
        }
        steps.retain(|_, candidates| !candidates.is_empty());
        let left: Vec<&String> = all
            .iter()
            .filter(|step| !steps.contains_key(*step))
            .collect();
        say(&format!("{:?}: {left:?} cannot be struck alone", self.part));
    }

    /// Leaves a few of the many steps of a real peer or orderer, of which each takes long.
    fn leave_a_few(&self, site: &mut Site, steps: &mut Steps) {
        if matches!(self.part, Part::Network(_)) && site.is_on_real_fabric() {
            while steps.len() > STEPS_ON_FABRIC * told("SALUS_FAULTS_ROUNDS", 1) {
                let drawn = site.random.index(steps.len());
                let step = steps.keys().nth(drawn).cloned();
                steps.remove(&step.unwrap());
            }
        }
    }

    /// Strikes each step once, or as often as told.
    async fn strike_each(&mut self, site: &mut Site, steps: &Steps) {
        // The contracts only hear and tell.
        let rounds = match self.part {
            Part::Chaincode => ROUNDS_OF_CONTRACTS,
            _ => 1,
        };
        let rounds: usize = told("SALUS_FAULTS_ROUNDS", rounds);
        let tries = match site.is_on_real_fabric() {
            true => TRIES / 2,
            false => TRIES,
        };
        let began = Instant::now();
        let mut missed = Vec::new();
        for (step, calls) in steps {
            for _ in 0..rounds {
                let mut hit = false;
                for again in 0..tries {
                    hit = self.round(site, step, calls, again).await;
                    if hit {
                        break;
                    }
                }
                if !hit {
                    missed.push(step.as_str());
                }
            }
        }
        let struck: usize = self.struck.values().sum();
        say(&format!(
            "{:?}, {:?}: {struck} times in {:.0?}: {:?}; missed {missed:?}",
            self.part,
            self.sieve.strike,
            began.elapsed(),
            self.struck
        ));
        // Work in Go changes threads as it likes: there one hit is enough.
        let missed_max = match site.is_on_real_fabric() {
            true => steps.len() * rounds - 1,
            false => steps.len() * rounds / 3,
        };
        assert!(missed.len() <= missed_max, "{missed:?} were missed");
    }

    /// Which of a step's calls is to be struck.
    fn draw(&self, site: &mut Site, calls: &[Call], again: usize) -> usize {
        match (self.sieve.strike, self.part) {
            // A call fails by its number in its thread, and which thread of many does what differs:
            // the first calls of each are the likeliest.
            (Strike::Fail, _) => {
                let mut places: Vec<usize> = (0..calls.len()).collect();
                places.sort_by_key(|place| calls[*place].nth);
                places.dedup_by_key(|place| calls[*place].nth);
                places[again % places.len()]
            }
            // Also while the contracts make themselves known.
            (Strike::Kill, Part::Chaincode) => site.random.index(calls.len()),
            // The first ones belong to the start, and not as many may come again.
            (Strike::Kill, _) => match calls.len() {
                few @ 0..=3 => site.random.index(few),
                many => many / 3 + site.random.index(many / 2),
            },
        }
    }

    /// Strikes once; returns whether that was at the step meant.
    async fn round(&mut self, site: &mut Site, step: &str, calls: &[Call], again: usize) -> bool {
        let drawn = self.draw(site, calls, again);
        let call = &calls[drawn];
        let strike = self.sieve.strike;
        let part = self.part;
        let why = format!("{part:?}: {strike:?} at {step} no. {} ({call})", drawn + 1);
        let record = site.running.dir.path().join("calls");
        // What was recorded before is not to be taken for this round.
        let _ = fs::remove_file(&record);
        let plain = site.process(self.part).spec();
        let (strace, name) = (&self.strace, call.name.as_str());
        let armed = match strike {
            Strike::Kill => strace.hold(plain.clone(), &record, name, HELD),
            Strike::Fail => {
                let fail = Tampering::Fail("EIO");
                strace.tamper(plain.clone(), &record, fail, name, call.nth)
            }
        };
        site.process(self.part).prepare(armed);
        let (over, is_over) = watch::channel(false);
        let sieve = self.sieve.clone();
        let killing = match strike {
            Strike::Kill => Some(tokio::spawn(sieve.kill(
                step.to_owned(),
                drawn,
                record.clone(),
                is_over,
            ))),
            Strike::Fail => None,
        };
        // It may not live to be ready.
        let _ = site.running.system.kill_and_restart(self.part).await;
        let sending = site.sending(READINGS);
        let mut quiet = Instant::now();
        while site.process(self.part).is_running() && quiet.elapsed() < LIVES_ON {
            if !sending.is_finished() {
                quiet = Instant::now();
            }
            sleep(Duration::from_millis(10)).await;
        }
        let gave_up = !site.process(self.part).is_running();
        over.send_replace(true);
        let struck = match killing {
            Some(killing) => killing.await.unwrap(),
            None => strace::read(&record)
                .iter()
                .filter(|made| made.name == call.name && made.nth == call.nth)
                .any(|made| self.sieve.step(made).as_deref() == Some(step)),
        };
        site.process(self.part).prepare(plain);
        site.restart(self.part, &why).await;
        site.sent(sending).await;
        assert_eq!(site.revive(&why).await, [], "ended after {why}");
        site.settle(&why).await;
        if struck {
            *self.struck.entry(step.to_owned()).or_default() += 1;
            // Of a log that could not be written nobody knows what is on the disk.
            let is_log = ["write the journal", "sync the journal", "sync a block"];
            let must_end = self.part != Part::Ipfs && is_log.contains(&step);
            assert!(gave_up || !must_end, "{:?} goes on after {why}", self.part);
        }
        struck
    }
}

/// Tells the calls apart.
#[derive(Clone)]
struct Sieve {
    strike: Strike,
    /// What is in the arguments of a call, and what that is.
    things: Vec<(String, &'static str)>,
}

impl Sieve {
    /// Follows a record and kills the process when it is about to take a step for the `drawn`th
    /// time, from 0; returns whether it came to that.
    async fn kill(
        self,
        step: String,
        drawn: usize,
        record: PathBuf,
        is_over: watch::Receiver<bool>,
    ) -> bool {
        let mut follow = Follow::new(&record);
        let mut process = None;
        let mut count = 0;
        while !*is_over.borrow() {
            let calls = follow.calls();
            // The first thread is the process.
            process = process.or(calls.first().map(|call| call.thread));
            let steps = calls.iter().filter_map(|call| self.step(call));
            count += steps.filter(|made| *made == step).count();
            if let (Some(process), true) = (process, count > drawn) {
                return kill(process);
            }
            sleep(Duration::from_millis(1)).await;
        }
        false
    }

    /// What the part does with a call, if it is on a reading's way.
    fn step(&self, call: &Call) -> Option<String> {
        let at_socket = call.arguments.contains("<TCP");
        let verb = match call.name.as_str() {
            "openat" if call.arguments.contains("O_CREAT") => "create",
            "write" | "writev" | "pwrite64" | "sendto" | "sendmsg" if at_socket => "tell",
            "write" | "writev" | "pwrite64" => "write",
            "read" | "recvfrom" | "recvmsg" if at_socket => "hear",
            "fsync" | "fdatasync" => "sync",
            "ftruncate" => "cut",
            "rename" | "renameat" => "rename",
            "unlink" | "unlinkat" => "remove",
            _ => return None,
        };
        // strace knows calls by name and number: what wakes threads is a `write`, too.
        let fails_alone = !at_socket && verb != "remove" && !call.name.starts_with("write");
        if self.strike == Strike::Fail && !fails_alone {
            return None;
        }
        let arguments = call.arguments.as_str();
        let is_meant = |(needle, _): &&(String, &str)| arguments.contains(needle.as_str());
        let (_, thing) = self.things.iter().find(is_meant)?;
        Some(format!("{verb} {thing}"))
    }
}

/// What a part has to do with, by the names of files and the ports of connections.
fn things(site: &mut Site, part: Part) -> Vec<(String, &'static str)> {
    let journal = site.journal().display().to_string();
    let system = &site.running.system;
    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
    let own = |address: &str| format!(":{}->", port(address));
    let others = |address: &str| format!("->127.0.0.1:{}]", port(address));
    let info = system.network.info();
    let store = &system.ipfs.api;
    let contracts = site.running.system.contracts_address().unwrap();
    match part {
        Part::Oracle => vec![
            (format!("{journal}/spool/"), "a sealed object"),
            (format!("{journal}/snapshot"), "the snapshot"),
            (".journal".to_owned(), "the journal"),
            (own(system.mqtt_address()), "the device"),
            (others(store), "the store"),
            (others(&info.organizations[0].peer.address), "the peer"),
        ],
        Part::Chaincode => vec![(own(&contracts), "a peer")],
        Part::Ipfs => vec![
            ("/staged/".to_owned(), "a block"),
            ("/blocks/".to_owned(), "a block"),
            ("/pins/".to_owned(), "a pin"),
            ("/datastore/".to_owned(), "a pin"),
            (own(store), "the oracle"),
        ],
        Part::Network(_) => vec![
            ("blocks.log".to_owned(), "a block"),
            ("transient.log".to_owned(), "private data"),
            ("blockfile_".to_owned(), "a block"),
            ("/wal/".to_owned(), "the log of the orderers"),
            ("Leveldb/".to_owned(), "the state"),
            ("/pvtdataStore/".to_owned(), "private data"),
            ("/transientstore/".to_owned(), "private data"),
            ("/index/".to_owned(), "the index"),
            (others(&contracts), "the contracts"),
            (own(&info.orderer.address), "a client"),
            (own(&info.organizations[0].peer.address), "a client"),
            (own(&info.organizations[1].peer.address), "a client"),
        ],
    }
}
