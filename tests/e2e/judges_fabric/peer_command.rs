//! Fabric's `peer` command on an embedded network with our contracts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contract_interface::names;
use salus::signing;
use salus_tests::{
    binaries,
    network::OrganizationInfo,
    process::{self, Spec},
    system::CHAINCODE,
};
use serde_json::{Value, json};

use super::{Contracts, ids};

/// Fabric's `peer` command, as an organisation's administrator.
pub(super) struct PeerCommand<'a> {
    pub(super) contracts: &'a Contracts,
}

impl PeerCommand<'_> {
    fn organization(&self, number: usize) -> &OrganizationInfo {
        &self.contracts.network.info().organizations[number]
    }

    fn spec(&self, organization: usize) -> Spec {
        let OrganizationInfo {
            msp_id,
            peer,
            admin_msp_dir,
            ..
        } = self.organization(organization);
        let program = binaries::outside("peer").unwrap();
        Spec::new("peer-command", &program, self.contracts.dir.path())
            // The command wants a core.yaml, of which it uses the client's timeouts.
            .env(
                "FABRIC_CFG_PATH",
                binaries::workspace_root().join("network/fabric"),
            )
            .env("FABRIC_LOGGING_SPEC", "error")
            .env("CORE_PEER_ADDRESS", &peer.address)
            .env("CORE_PEER_LOCALMSPID", msp_id)
            .env("CORE_PEER_MSPCONFIGPATH", admin_msp_dir)
            .env("CORE_PEER_TLS_ENABLED", "true")
            .env("CORE_PEER_TLS_ROOTCERT_FILE", &peer.tls_ca_file)
    }

    fn chaincode(&self, organization: usize, action: &str) -> Spec {
        self.spec(organization)
            .arg("chaincode")
            .arg(action)
            .option("-C", &self.contracts.network.info().channel)
            .option("-n", CHAINCODE)
    }

    pub(super) async fn lifecycle(&self) -> Value {
        let query = self
            .spec(0)
            .arg("lifecycle")
            .arg("chaincode")
            .arg("querycommitted")
            .option("-C", &self.contracts.network.info().channel)
            .option("-n", CHAINCODE)
            .option("-O", "json");
        serde_json::from_str(&process::run(query).await.unwrap()).unwrap()
    }

    pub(super) async fn height(&self) -> u64 {
        let ask = self.spec(0).arg("channel").arg("getinfo");
        let ask = ask.option("-c", &self.contracts.network.info().channel);
        let said = process::run(ask).await.unwrap();
        let (_, info) = said.split_once("Blockchain info: ").unwrap();
        let info: Value = serde_json::from_str(info).unwrap();
        info["height"].as_u64().unwrap()
    }

    pub(super) async fn participants(&self) -> anyhow::Result<Vec<String>> {
        let arguments = json!({ "Args": [names::transactions::LIST_PARTICIPANTS, "{}"] });
        let query = self
            .chaincode(0, "query")
            .option("-c", arguments.to_string());
        let page = process::run(query).await?;
        Ok(ids(&serde_json::from_str(&page)?))
    }

    /// Registers a participant with both peers' endorsement and waits for the block.
    pub(super) async fn register(&self, registration: &[u8]) {
        let info = self.contracts.network.info();
        let arguments = json!({ "Args": [names::transactions::REGISTER_PARTICIPANT] });
        let salt: [u8; 32] = signing::random().unwrap();
        let issuer = std::fs::read(self.contracts.issuer()).unwrap();
        let transient = json!({
            names::transient::PARTICIPANT: STANDARD.encode(registration),
            names::transient::ISSUER: STANDARD.encode(issuer),
            names::transient::SALT: STANDARD.encode(salt),
        });
        let mut invoke = self
            .chaincode(1, "invoke")
            .option("-c", arguments.to_string())
            .option("--transient", transient.to_string())
            .option("-o", &info.orderer.address)
            .arg("--tls")
            .option("--cafile", &info.orderer.tls_ca_file)
            .arg("--waitForEvent");
        for organization in &info.organizations {
            invoke = invoke
                .option("--peerAddresses", &organization.peer.address)
                .option("--tlsRootCertFiles", &organization.peer.tls_ca_file);
        }
        process::run(invoke).await.unwrap();
    }
}
