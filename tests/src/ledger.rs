//! The channel seen by an organisation's administrator, straight through Fabric's Gateway.

use std::path::Path;

use anyhow::{Context as _, Result};
use contract_interface::{
    Participant, ParticipantFilter, ParticipantId, ParticipantPage, ParticipantRegistration, Role,
    Status, names,
};
use fabric_gateway::{Call, Endpoint, Gateway, GatewayConfig, Network, RetryPolicy};
use fabric_msp::SigningIdentity;
use fabric_protos::{
    common::{Block, BlockchainInfo},
    protos::ProcessedTransaction,
};
use prost::Message as _;
use salus::signing;

use crate::{consortium::Person, network::NetworkInfo, system::CHAINCODE};

/// The validation code of a transaction that took effect.
const VALID: i32 = 0;

/// An administrator's view of the channel.
#[derive(Debug)]
pub struct Ledger {
    network: Network,
    channel: String,
}

/// A transaction on the ledger.
#[derive(Debug)]
pub struct Transaction {
    /// Whether it took effect.
    pub is_valid: bool,
    /// The block that holds it.
    pub block_number: u64,
    /// The envelope as it is in the block.
    pub envelope: Vec<u8>,
}

impl Ledger {
    /// Connects to an organisation's peer as its administrator; 0 is the oracle's organisation.
    ///
    /// # Errors
    /// When the identity or the peer's CA cannot be read.
    pub fn connect(info: &NetworkInfo, organization: usize) -> Result<Self> {
        let organization = &info.organizations[organization];
        let identity = SigningIdentity::from_msp_dir(
            organization.msp_id.parse()?,
            &organization.admin_msp_dir,
        )?;
        let endpoint =
            Endpoint::new(&organization.peer.address).server_name(&organization.peer.server_name);
        let roots = std::fs::read(&organization.peer.tls_ca_file)?;
        let gateway = Gateway::connect(GatewayConfig::new([endpoint], roots), identity)?;
        Ok(Self {
            network: gateway.network(&info.channel),
            channel: info.channel.clone(),
        })
    }

    /// Registers a provider of the administrator's organisation, as the `peer` command would;
    /// under the ID given, or the one of the proof of its key.
    ///
    /// # Errors
    /// When the contract refuses.
    pub async fn register_provider(
        &self,
        provider: &Person,
        id: Option<ParticipantId>,
    ) -> Result<ParticipantId> {
        self.register(provider, Role::Provider, id).await
    }

    /// Registers someone of the administrator's organisation; under the ID given, or the one of the
    /// proof of its key.
    ///
    /// # Errors
    /// When the contract refuses.
    pub async fn register(
        &self,
        person: &Person,
        role: Role,
        id: Option<ParticipantId>,
    ) -> Result<ParticipantId> {
        let participant_id = match id {
            Some(id) => id,
            None => person.proven_id()?,
        };
        let registration = ParticipantRegistration {
            participant_id,
            role,
            certificate: std::fs::read_to_string(person.certificate_file()?)?,
            encryption_key: Some(serde_json::from_slice(&std::fs::read(
                person.public_key_file(),
            )?)?),
            key_proof: Some(std::fs::read_to_string(person.key_proof_file())?),
            status: Status::Active,
        };
        self.submit_registration(&registration, &person.issuer_file()?)
            .await?;
        Ok(participant_id)
    }

    /// Submits a registration; `issuer` is the certificate of the CA that issued the registered
    /// certificate.
    ///
    /// # Errors
    /// When the contract refuses.
    pub async fn submit_registration(
        &self,
        registration: &ParticipantRegistration,
        issuer: &Path,
    ) -> Result<()> {
        let registration = serde_json::to_vec(registration)?;
        let issuer = std::fs::read(issuer)?;
        let salt: [u8; 32] = signing::random()?;
        let call = || {
            Call::new(names::transactions::REGISTER_PARTICIPANT)
                .transient(names::transient::PARTICIPANT, registration.clone())
                .transient(names::transient::ISSUER, issuer.clone())
                .transient(names::transient::SALT, salt)
        };
        self.network
            .contract(CHAINCODE)
            .submit_with_retry(call, RetryPolicy::default())
            .await?;
        Ok(())
    }

    /// The providers that the channel's directory lists.
    ///
    /// # Errors
    /// When the contract refuses.
    pub async fn providers(&self) -> Result<Vec<Participant>> {
        let filter = ParticipantFilter {
            role: Some(Role::Provider),
            ..ParticipantFilter::default()
        };
        let call = Call::new(names::transactions::LIST_PARTICIPANTS)
            .argument(serde_json::to_vec(&filter)?);
        let page = self.network.contract(CHAINCODE).evaluate(call).await?;
        Ok(serde_json::from_slice::<ParticipantPage>(&page)?.participants)
    }

    /// Every block from the first to the last.
    ///
    /// # Errors
    /// When the peer does not give one.
    pub async fn blocks(&self) -> Result<Vec<Block>> {
        let qscc = self.network.contract("qscc");
        let channel = self.channel.as_str();
        let info = qscc
            .evaluate(Call::new("GetChainInfo").argument(channel))
            .await?;
        let height = BlockchainInfo::decode(&*info)?.height;
        let mut blocks = Vec::new();
        for number in 0..height {
            let call = Call::new("GetBlockByNumber")
                .argument(channel)
                .argument(number.to_string());
            blocks.push(Block::decode(&*qscc.evaluate(call).await?)?);
        }
        Ok(blocks)
    }

    /// Finds a transaction and whether it took effect.
    ///
    /// # Errors
    /// When there is none.
    pub async fn transaction(&self, id: &str) -> Result<Transaction> {
        let qscc = self.network.contract("qscc");
        let ask = |function: &'static str| {
            qscc.evaluate(
                Call::new(function)
                    .argument(self.channel.as_str())
                    .argument(id),
            )
        };
        let processed = ProcessedTransaction::decode(&*ask("GetTransactionByID").await?)?;
        let block = Block::decode(&*ask("GetBlockByTxID").await?)?;
        Ok(Transaction {
            is_valid: processed.validation_code == VALID,
            block_number: block.header.context("a block without header")?.number,
            envelope: processed
                .transaction_envelope
                .unwrap_or_default()
                .encode_to_vec(),
        })
    }
}
