//! Each process stands still for a while, as under SIGSTOP: nobody is told, and all go on after.

use std::time::Duration;

use salus_tests::{
    story,
    system::{Part, Platform},
};
use tokio::time::{Instant, sleep, timeout};

use super::{lasting, say, site::Site};
use crate::support::is_here;

/// Readings sent during each pause.
const READINGS: usize = 4;
/// How long after the fault a question asked during it may stay without an answer: the time that
/// the oracle gives a request, and some.
const ANSWERED_MAX: Duration = Duration::from_secs(100);
/// Threads and open files that the oracle may have more after all pauses than before: idle ones of
/// the runtime and connections that were made again, but nothing that grows with each pause.
const MORE_MAX: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_delays_and_loses_nothing() {
    stand_still(Platform::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_delays_and_loses_nothing_on_real_fabric_and_kubo() {
    let test = "a_process_that_stands_still_delays_and_loses_nothing_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        stand_still(Platform::REAL).await;
    }
}

async fn stand_still(platform: Platform) {
    let mut site = Site::start(platform).await;
    let before = size(&mut site);
    for part in site.running.system.parts() {
        let (healed, answered) = pause(&mut site, part).await;
        say(&format!(
            "{part:?} stood still for {:.0?}: a question was answered after {answered:.1?}, all \
             readings were on the ledger {healed:.1?} after it went on",
            lasting()
        ));
    }
    let after = size(&mut site);
    assert!(
        after.0 <= before.0 + MORE_MAX as u64 && after.1 <= before.1 + MORE_MAX,
        "threads and files grew from {before:?} to {after:?}"
    );
    site.end().await;
}

/// Threads and open files of the oracle.
fn size(site: &mut Site) -> (u64, usize) {
    let oracle = site.process(Part::Oracle);
    (oracle.threads().unwrap(), oracle.open_files().unwrap())
}

/// Pauses one part; says how long it took to heal, and how long a question waited that was asked
/// during the pause.
async fn pause(site: &mut Site, part: Part) -> (Duration, Duration) {
    site.process(part).pause().unwrap();
    let sending = site.sending(READINGS);
    let asking = {
        let (person, pseudonym) = (site.patient.person.clone(), site.patient.pseudonym);
        tokio::spawn(async move {
            let began = Instant::now();
            // Whether it is an answer or an error: it must come.
            let client = story::client(&person).unwrap();
            let _ = story::records_of(&client, pseudonym).await;
            began.elapsed()
        })
    };
    sleep(lasting()).await;
    site.process(part).go_on().unwrap();
    site.sent(sending).await;
    let healed = site.settle(&format!("{part:?} stood still")).await;
    let answered = timeout(ANSWERED_MAX, asking).await;
    let answered = answered.unwrap_or_else(|_| panic!("no answer after {part:?} stood still"));
    (healed, answered.unwrap())
}
