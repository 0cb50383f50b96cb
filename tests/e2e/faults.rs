//! Faults one by one, each at every place where it can strike: a process is killed before any of
//! its system calls, a call fails, a process stands still, a disk is full or breaks, a file is
//! changed, a connection goes bad. After each the system heals and loses and doubles nothing.
//!
//! `SALUS_FAULTS_SEED` repeats what was drawn, `SALUS_FAULTS_ROUNDS` strikes more often,
//! `SALUS_FAULTS_SECONDS` makes each fault last longer.

mod calls;
mod damage;
mod edge_authority;
mod edge_certificates;
mod edge_clocks;
mod edge_connections;
mod edge_fleet;
mod edge_nonces;
mod edge_packets;
mod edge_replays;
mod edge_wire;
mod links;
mod pauses;
mod room;
mod site;

use std::{env, time::Duration};

/// The seed of a run that is not told another.
const SEED: u64 = 20_261_122;
/// How long a fault lasts that is not told another time, seconds.
const SECONDS: u64 = 1;

/// What the environment says, or `otherwise`.
fn told<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// The seed of everything that is drawn.
fn seed() -> u64 {
    told("SALUS_FAULTS_SEED", SEED)
}

/// How long a fault lasts that lasts.
fn lasting() -> Duration {
    Duration::from_secs(told("SALUS_FAULTS_SECONDS", SECONDS))
}

#[allow(
    clippy::print_stderr,
    reason = "the seed of what failed is needed to repeat it"
)]
fn say(what: &str) {
    eprintln!("faults: {what}");
}
