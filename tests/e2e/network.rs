//! The contracts on a network, reached as Fabric's own tools would: without an oracle.

use salus_tests::{
    binaries,
    consortium::Consortium,
    ledger::Ledger,
    network::{Kind, Network},
    system::{Platform, start_contracts},
};

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
    let network = Network::start(kind, dir.path()).await.unwrap();
    let chaincode = start_contracts(&network, dir.path()).await.unwrap();
    let consortium = Consortium::open(network.info(), dir.path()).unwrap();
    let provider = consortium
        .enrol("dr-house", 1, &[("salus.role", "provider")])
        .unwrap();

    let ledger = Ledger::connect(network.info(), 1).unwrap();
    let id = ledger.register_provider(&provider, None).await.unwrap();

    // The other organisation's peer has it too, from its own copy of the ledger.
    let providers = Ledger::connect(network.info(), 0)
        .unwrap()
        .providers()
        .await
        .unwrap();
    let listed: Vec<_> = providers
        .iter()
        .map(|p| (p.participant_id, p.msp_id.as_str()))
        .collect();
    assert_eq!(listed, [(id, "Org2MSP")]);

    chaincode.stop().await.unwrap();
    network.stop().await.unwrap();
}
