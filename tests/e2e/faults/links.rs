//! Connections that go bad: silent, silent one way, cut, slow, and with packets that are lost.
//!
//! Proxies do it between the oracle and the others. Where a network of one's own may be made and
//! `nft` is at hand, the kernel drops packets between any two processes.

use std::{env, process::Stdio, time::Duration};

use salus_tests::{
    binaries,
    consortium::FIRST_ORACLE,
    network,
    oracle::OracleSettings,
    proxy::{Proxy, Way, Weather},
    system::Platform,
};
use tokio::{process::Command, time::sleep};

use super::{lasting, say, site::Site};
use crate::support::is_here;

/// Readings sent while a connection is bad.
const READINGS: usize = 4;
/// 1 Mbit/s, bytes a second.
const SLOW: u32 = 125_000;
/// Set in the process that has a network of its own.
const INSIDE: &str = "SALUS_FAULTS_NETWORK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_connections_delay_and_lose_nothing() {
    spoil_each(Platform::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_connections_delay_and_lose_nothing_on_real_fabric_and_kubo() {
    let test = "bad_connections_delay_and_lose_nothing_on_real_fabric_and_kubo";
    if is_here(test, Platform::REAL) {
        spoil_each(Platform::REAL).await;
    }
}

async fn spoil_each(platform: Platform) {
    let mut site = Site::start(platform).await;
    let system = &site.running.system;
    let peer = system.network.info().organizations[0].peer.address.clone();
    let store = system.ipfs.api.trim_start_matches("http://").to_owned();
    let device = system.mqtt_address().to_owned();
    let proxies = [
        ("the device", Proxy::start(&device).await.unwrap()),
        ("the peer", Proxy::start(&peer).await.unwrap()),
        ("the store", Proxy::start(&store).await.unwrap()),
    ];
    site.publish_at(proxies[0].1.address());
    let settings = OracleSettings {
        name: FIRST_ORACLE.to_owned(),
        ipfs_api: format!("http://{}", proxies[2].1.address()),
        peer: Some(proxies[1].1.address().to_owned()),
        ..OracleSettings::default()
    };
    site.move_oracle(&settings).await;
    for (who, proxy) in &proxies {
        for weather in [
            Weather::Silent,
            Weather::OneWay(Way::Forth),
            Weather::OneWay(Way::Back),
            Weather::Cut,
            Weather::Slow(SLOW),
        ] {
            let lasts = lasting() / 2;
            let what = format!("{weather:?} between the oracle and {who} for {lasts:.0?}");
            proxy.set(weather);
            let sending = site.sending(READINGS);
            sleep(lasts).await;
            proxy.set(Weather::Open);
            site.sent(sending).await;
            let healed = site.settle(&what).await;
            say(&format!("{what}: healed {healed:.1?} after"));
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_delay_and_lose_nothing() {
    in_own_network("lost_packets_delay_and_lose_nothing", Platform::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_delay_and_lose_nothing_on_real_fabric_and_kubo() {
    let test = "lost_packets_delay_and_lose_nothing_on_real_fabric_and_kubo";
    in_own_network(test, Platform::REAL).await;
}

/// Runs the test once more in a process with a network of its own, or is that process.
async fn in_own_network(test: &str, platform: Platform) {
    if env::var_os(INSIDE).is_some() {
        return lose_packets(platform).await;
    }
    if !is_here(test, platform) {
        return;
    }
    let missing = binaries::missing(&["nft", "ip", "tc", "unshare"]);
    if !missing.is_empty() {
        return binaries::report_skipped(test, &missing);
    }
    let mut unshared = Command::new("unshare");
    unshared.stdin(Stdio::null()).kill_on_drop(true);
    let permitted = Command::new("unshare")
        .args(["--net", "nft", "list", "ruleset"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    if !permitted.is_ok_and(|status| status.success()) {
        return binaries::report_not_permitted(test, "filtering packets");
    }
    let ended = unshared
        .arg("--net")
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("faults::links::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    for line in said.lines().filter(|line| line.starts_with("faults:")) {
        say(line.trim_start_matches("faults: "));
    }
    let ran = String::from_utf8_lossy(&ended.stdout).contains("1 passed");
    assert!(ended.status.success() && ran, "{said}");
}

async fn lose_packets(platform: Platform) {
    // Packets as large as on an Ethernet, so that one lost is not everything.
    command("ip link set lo mtu 1500 up").await;
    // A real peer looks for an address of its host, and takes none of the loopback's.
    command("ip link add faults0 type veth peer name faults1").await;
    command("ip address add 192.0.2.1/24 dev faults0").await;
    command("ip link set faults0 up").await;
    command("nft add table ip faults").await;
    command("nft add chain ip faults in { type filter hook input priority 0 ; }").await;
    let mut site = Site::start(platform).await;
    let system = &site.running.system;
    let info = system.network.info();
    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
    let peers: Vec<String> = info
        .organizations
        .iter()
        .map(|organization| port(&organization.peer.address))
        .collect();
    let (peer, other) = (&peers[0], &peers[1]);
    let (store, device) = (port(&system.ipfs.api), port(system.mqtt_address()));
    let contracts = port(&system.contracts_address().unwrap());
    let orderer = port(&info.orderer.address);
    let mut rules = vec![
        (
            "one packet in a hundred is lost everywhere",
            vec!["numgen random mod 100 < 1".to_owned()],
        ),
        (
            "one packet in five is lost everywhere",
            vec!["numgen random mod 100 < 20".to_owned()],
        ),
        (
            "nothing comes to the oracle's peer",
            vec![format!("tcp dport {peer}")],
        ),
        (
            "nothing comes from the oracle's peer",
            vec![format!("tcp sport {peer}")],
        ),
        (
            "nothing comes to the store",
            vec![format!("tcp dport {store}")],
        ),
        (
            "nothing comes from the oracle to the device",
            vec![format!("tcp sport {device}")],
        ),
        (
            "nothing comes to the contracts",
            vec![format!("tcp dport {contracts}")],
        ),
    ];
    if platform.network != network::Kind::Devnet {
        rules.extend([
            (
                "nothing comes to the orderer",
                vec![format!("tcp dport {orderer}")],
            ),
            (
                "nothing comes from the orderer",
                vec![format!("tcp sport {orderer}")],
            ),
            (
                "the other organisation's peer is cut off",
                vec![format!("tcp dport {other}"), format!("tcp sport {other}")],
            ),
        ]);
    }
    for (what, dropped) in rules {
        for rule in dropped {
            command(&format!("nft add rule ip faults in {rule} drop")).await;
        }
        bad_for_a_while(&mut site, what, "nft flush chain ip faults in").await;
    }
    command("tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 2s").await;
    let what = "everything together goes through 1 Mbit/s";
    bad_for_a_while(&mut site, what, "tc qdisc del dev lo root").await;
    site.end().await;
}

async fn bad_for_a_while(site: &mut Site, what: &str, heal: &str) {
    let sending = site.sending(READINGS);
    sleep(lasting()).await;
    command(heal).await;
    site.sent(sending).await;
    let healed: Duration = site.settle(what).await;
    say(&format!(
        "{what} for {:.0?}: healed {healed:.1?} after",
        lasting()
    ));
}

/// Runs a command that must succeed.
async fn command(line: &str) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}
