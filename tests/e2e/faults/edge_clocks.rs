//! Clocks that are a day wrong: the oracle's, which jumps while it runs, and devices'.
//!
//! The oracle runs with Debian's `faketime`, whose offset is a file, so that its clock jumps and nothing else does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use contract_interface::Purpose;
use salus_tests::{
    binaries,
    oracle::Oracle,
    process::Process,
    story::{self, Patient},
    system::Platform,
};

use super::edge_wire::{
    self, AT_LEAST_ONCE, Secure, hold, metrics, own, publish, reading, reading_at, reason, refused,
    sequence, series, with_plain_port,
};
use crate::{
    invariants::each_once,
    support::{Running, until},
};

/// A day, seconds.
const DAY: i64 = 86_400;

/// Readings that the oracle takes while its clock is a day ahead or behind are acknowledged, kept in their order and
/// on the ledger afterwards; connections do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oracle_whose_clock_jumps_a_day_loses_and_disorders_nothing() {
    let Some(library) = faketime() else {
        let test = "an_oracle_whose_clock_jumps_a_day_loses_and_disorders_nothing";
        return binaries::report_skipped(test, &["faketime's library"]);
    };
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    with_plain_port(&mut running).await;
    as_strict_as_real_peers(&mut running).await;
    let patient = running.cast.patients[0].clone();
    let clock = running.dir.path().join("clock");
    let set = |offset: &str| {
        // Renamed into place, so that nobody reads half of it.
        let new = clock.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, &clock).unwrap();
    };
    set("+0");
    restart_with_clock(&mut running.system.oracle, &library, &clock).await;
    let mut device = enter(&running, &patient).await;
    let mut published = Vec::new();
    for (offset, round) in ["+1d", "+0", "-1d", "+0", "+90d", "-400d", "+0"]
        .into_iter()
        .zip(0..)
    {
        set(offset);
        for number in 0..5 {
            let number = round * 5 + number;
            let text = reading(&patient.device.id, number);
            let properties = sequence(number as u64);
            let topic = own(&patient.device.id);
            let message = publish(
                edge_wire::V5,
                AT_LEAST_ONCE,
                &topic,
                1,
                &properties,
                text.as_bytes(),
            );
            let answer = device
                .ask(&message)
                .await
                .unwrap_or_else(|| panic!("sent away at {offset}"));
            assert_eq!(reason(&answer), 0, "at {offset}");
            published.push(text);
        }
        assert!(device.is_alive().await, "at {offset}");
        if offset == "+0" {
            each_once(&patient, &published).await;
        } else {
            // Doors judge certificates by the clock there is, and say so; nothing breaks.
            let said = refused(&running.system.oracle, &patient.device.home).await;
            let valid = offset == "+1d" || offset == "+90d";
            assert_eq!(said.is_empty(), valid, "at {offset}: {said}");
        }
    }
    in_order(&patient, &published).await;
    // Started with a wrong clock it waits for a right one, or ends and says that its CA's certificate is not valid.
    for offset in ["-1d", "+1d"] {
        running.system.oracle.process.kill().await.unwrap();
        set(offset);
        let healing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            set("+0");
        };
        let spec = running.system.oracle.process.spec();
        let (started, ()) = tokio::join!(Process::start_ready(spec.clone()), healing);
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                let said = format!("{error:#}");
                assert!(said.contains("is not valid at"), "at {offset}: {said}");
                Process::start_ready(spec).await.unwrap()
            }
        };
        running.system.oracle.process = started.0;
        running.system.oracle.addresses = serde_json::from_value(started.1).unwrap();
        each_once(&patient, &published).await;
    }
    drop(device);
    hold(running, &[published]).await;
}

/// Devices' own clocks: a wrong time is marked, one that cannot be meant is replaced in the record and stays in the
/// reading; nothing is dropped, and order is that of the sequence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_of_devices_with_wrong_clocks_are_marked_and_kept() {
    let mut running = Running::start(Platform::EMBEDDED, 1).await;
    with_plain_port(&mut running).await;
    let patient = running.cast.patients[0].clone();
    let id = &patient.device.id;
    let now = super::edge_authority::now();
    let marks = |metrics: &str| {
        ["clock-ahead", "clock-behind", "time-of-receipt"].map(|mark| {
            series(
                metrics,
                &format!("salus_mqtt_marked_total{{mark=\"{mark}\"}}"),
            )
        })
    };
    // Each jump: the time the device says, and which marks it gets.
    let times = [
        (now, [0.0, 0.0, 0.0]),
        (now + DAY - 600, [1.0, 0.0, 0.0]),
        (now - DAY, [0.0, 0.0, 0.0]),
        (now - 40 * DAY, [0.0, 1.0, 0.0]),
        (now + DAY + 600, [1.0, 0.0, 1.0]),
        (0, [0.0, 1.0, 1.0]),
        (now + 50 * 365 * DAY, [1.0, 0.0, 1.0]),
        (946_684_800, [0.0, 1.0, 1.0]),
        (now + 1, [0.0, 0.0, 0.0]),
    ];
    let mut device = enter(&running, &patient).await;
    let mut published = Vec::new();
    for (number, (seconds, expected)) in times.into_iter().enumerate() {
        let before = marks(&metrics(&running.system.oracle).await);
        let text = reading_at(id, number, seconds);
        let message = publish(
            edge_wire::V5,
            AT_LEAST_ONCE,
            &own(id),
            1,
            &sequence(number as u64),
            text.as_bytes(),
        );
        assert_eq!(reason(&device.ask(&message).await.unwrap()), 0, "{seconds}");
        let after = marks(&metrics(&running.system.oracle).await);
        let added: Vec<f64> = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        assert_eq!(added, expected, "{seconds}");
        published.push(text);
    }
    each_once(&patient, &published).await;
    // Whatever the device said, no record is of a time that cannot be.
    let client = story::client(&patient.person).unwrap();
    for record in story::records_of(&client, patient.pseudonym).await.unwrap() {
        let (start, end) = (
            record.metadata.period.start.unix_seconds(),
            record.metadata.period.end.unix_seconds(),
        );
        assert!(
            start > 978_307_200 && end < now + DAY + 60 && start <= end,
            "{start} to {end}"
        );
    }
    drop(device);
    hold(running, &[published]).await;
}

/// Starts the network again with peers that refuse what was signed at another time, as real ones do unless told
/// otherwise. Without that an oracle whose clock is ahead moves its organisation's clock on the channel.
async fn as_strict_as_real_peers(running: &mut Running) {
    let process = running.system.network.processes().swap_remove(0);
    process.kill().await.unwrap();
    let spec = process.spec().option("--time-window", "15m");
    *process = Process::start_ready(spec).await.unwrap().0;
}

/// The library that Debian's package `faketime` brings, for programs with threads.
fn faketime() -> Option<PathBuf> {
    let lib = fs::read_dir("/usr/lib").ok()?;
    lib.filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.is_file())
}

/// Starts the oracle again with a clock whose offset is in a file. Durations stay those of the machine.
async fn restart_with_clock(oracle: &mut Oracle, library: &Path, clock: &Path) {
    oracle.process.kill().await.unwrap();
    let spec = oracle
        .process
        .spec()
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    let (process, ready) = Process::start_ready(spec).await.unwrap();
    oracle.process = process;
    oracle.addresses = serde_json::from_value(ready).unwrap();
}

async fn enter(running: &Running, patient: &Patient) -> Secure {
    let mut device = edge_wire::secure(&running.system.oracle, &patient.device.home)
        .await
        .unwrap();
    device.enter("clock").await;
    device
}

/// Within each record the readings are in the order in which the device sent them.
async fn in_order(patient: &Patient, published: &[String]) {
    let client = story::client(&patient.person).unwrap();
    let opened = until("the readings can be read", || async {
        story::read_patient(&client, patient.pseudonym, Purpose::Patrqt)
            .await
            .ok()
    })
    .await;
    for record in opened {
        let places = record.readings.iter().map(|reading| {
            let text = std::str::from_utf8(&reading.payload).unwrap();
            published
                .iter()
                .position(|published| published == text)
                .unwrap()
        });
        let places: Vec<usize> = places.collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}
