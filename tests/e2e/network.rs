//! The contracts on a network, reached as Fabric's own tools would: without an oracle.

use salus_tests::{binaries, ledger::Ledger, network::Kind, system::Platform};

use crate::support::WithoutOracle;

#[tokio::test]
async fn an_administrator_registers_a_provider_on_the_embedded_network() {
    register_provider(Kind::Devnet).await;
}

#[tokio::test]
async fn an_administrator_registers_a_provider_on_real_fabric() {
    let missing = binaries::missing(&binaries::FABRIC_PROGRAMS);
    if !missing.is_empty() {
        return binaries::report_skipped(
            "an_administrator_registers_a_provider_on_real_fabric",
            &missing,
        );
    }
    register_provider(Platform::REAL.network).await;
}

async fn register_provider(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let running = WithoutOracle::start(kind, dir.path()).await;

    // The other organisation's peer has it too, from its own copy of the ledger.
    let providers = Ledger::connect(running.network.info(), 0)
        .unwrap()
        .providers()
        .await
        .unwrap();
    let listed: Vec<_> = providers
        .iter()
        .map(|p| (p.participant_id, p.msp_id.as_str()))
        .collect();
    assert_eq!(listed, [(running.provider, "Org2MSP")]);

    running.stop().await;
}
