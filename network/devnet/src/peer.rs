//! One virtual peer: an identity, its packages and its chaincode streams, on the shared channel.
//!
//! Every organisation has one. They share the committed blocks and state, since all live in one
//! process; what a peer of an organisation may know of private data, the ledger decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fabric_msp::{MspId, SigningIdentity, ValidIdentity};
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{MspPrincipal, MspRole};
use fabric_protos::protos::Endorsement;
use prost::Message;

use crate::chaincode::ChaincodeHost;
use crate::ledger::{ChaincodeDefinition, Channel, Simulator};
use crate::lifecycle::{Approval, LIFECYCLE, PackageStore, approved_package};
use crate::package::{ExpandedConnection, ParsedPackage};

/// Key under which a chaincode that must be initialised notes the version that was.
const INITIALIZED_KEY: &str = "\u{0}\u{10ffff}initialized";

/// One organisation's peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) msp_id: MspId,
    /// Host name, as in its certificates.
    pub(crate) name: String,
    /// Where clients reach it; shown in error details.
    pub(crate) address: String,
    pub(crate) signer: SigningIdentity,
    pub(crate) channel: Channel,
    pub(crate) packages: PackageStore,
    pub(crate) chaincodes: ChaincodeHost,
    pub(crate) execute_timeout: Duration,
    pub(crate) served: ServedCache,
}

/// Which package serves which chaincode, as found out at a height of the chain: finding out
/// compares a dozen hashes, and every proposal asks several times.
#[derive(Debug, Default)]
pub(crate) struct ServedCache(Mutex<HashMap<String, Served>>);

#[derive(Clone, Debug)]
struct Served {
    height: u64,
    sequence: i64,
    package: Result<(String, Arc<ParsedPackage>), String>,
}

/// Chaincodes remembered; far more than one network runs.
const SERVED_MAX: usize = 1000;

impl ServedCache {
    fn get(&self, chaincode: &str, height: u64, sequence: i64) -> Option<Served> {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = served.get(chaincode).cloned();
        found.filter(|found| found.height == height && found.sequence == sequence)
    }

    fn put(&self, chaincode: &str, found: Served) {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() >= SERVED_MAX {
            served.clear();
        }
        served.insert(chaincode.to_owned(), found);
    }
}

/// Where a call of a chaincode goes.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) package_id: String,
    pub(crate) connection: ExpandedConnection,
}

impl Peer {
    /// A view of the committed state whose reads nobody records.
    pub(crate) fn reader(&self) -> Simulator {
        self.channel.simulator("", &self.msp_id)
    }

    /// The definition that rules a chaincode, or why it cannot be endorsed here; the read of its
    /// sequence becomes part of the transaction.
    pub(crate) fn endorsable(
        &self,
        simulator: &mut Simulator,
        chaincode: &str,
    ) -> Result<ChaincodeDefinition, String> {
        let definition = simulator
            .definition(chaincode)
            .ok_or_else(|| format!("chaincode {chaincode} not found"))?;
        simulator.record_lifecycle_read(chaincode);
        self.package_of_definition(&definition)?;
        Ok(definition)
    }

    /// The installed package that serves a committed chaincode at this peer.
    pub(crate) fn package_of(
        &self,
        chaincode: &str,
    ) -> Result<(String, Arc<ParsedPackage>), String> {
        let definition = self.channel.definition(chaincode);
        let definition = definition.ok_or_else(|| format!("chaincode {chaincode} not found"))?;
        self.package_of_definition(&definition)
    }

    fn package_of_definition(
        &self,
        definition: &ChaincodeDefinition,
    ) -> Result<(String, Arc<ParsedPackage>), String> {
        let (name, sequence) = (definition.name.as_str(), definition.sequence);
        let mut reader = self.reader();
        let height = reader.height();
        if let Some(served) = self.served.get(name, height, sequence) {
            return served.package;
        }
        let package = self.find_package(&mut reader, definition);
        // An installation changes the answer without a block, so only what is there is kept.
        if package.is_ok() {
            let served = Served {
                height,
                sequence,
                package: package.clone(),
            };
            self.served.put(name, served);
        }
        package
    }

    fn find_package(
        &self,
        reader: &mut Simulator,
        definition: &ChaincodeDefinition,
    ) -> Result<(String, Arc<ParsedPackage>), String> {
        let name = &definition.name;
        let approval = approved_package(reader, self.msp_id.as_str(), definition)?;
        let package_id = match approval {
            Approval::Given { package_id } => package_id,
            Approval::Missing => {
                let (sequence, channel) = (definition.sequence, self.channel.channel_id());
                return Err(format!(
                    "chaincode definition for '{name}' at sequence {sequence} on channel '{channel}' has not yet been approved by this org"
                ));
            }
        };
        match self.packages.get(&package_id) {
            Some(package) => Ok((package_id, package)),
            None => Err(format!(
                "chaincode definition for '{name}' exists, but chaincode is not installed"
            )),
        }
    }

    /// Whether this peer can endorse for a chaincode.
    pub(crate) fn has_chaincode(&self, chaincode: &str) -> bool {
        crate::system::SystemChaincode::named(chaincode).is_some()
            || self.package_of(chaincode).is_ok()
    }

    /// Where a call goes, after the rules of initialisation were applied.
    pub(crate) fn invocation(
        &self,
        simulator: &mut Simulator,
        chaincode: &str,
        is_init: bool,
    ) -> Result<Invocation, String> {
        let channel = self.channel.channel_id();
        let definition = self.endorsable(simulator, chaincode).map_err(|error| {
            format!("[channel {channel}] failed to get chaincode container info for {chaincode}: {error}")
        })?;
        apply_init_rules(simulator, &definition, is_init)?;
        let (package_id, package) = self.package_of_definition(&definition)?;
        let connection = package.connection.expand(&self.name);
        let connection = connection
            .map_err(|error| format!("invalid connection of package {package_id}: {error}"))?;
        Ok(Invocation {
            package_id,
            connection,
        })
    }

    /// Whether the creator may propose on the channel.
    pub(crate) fn check_writers(&self, creator: &ValidIdentity) -> Result<(), String> {
        self.check_channel_policy("/Channel/Application/Writers", creator)
    }

    /// Evaluates a channel policy for an identity whose signature was verified before.
    pub(crate) fn check_channel_policy(
        &self,
        policy: &str,
        identity: &ValidIdentity,
    ) -> Result<(), String> {
        let config = self.channel.config();
        let result = config.evaluate_identities(policy, std::slice::from_ref(identity));
        result.map_err(|error| {
            let channel = self.channel.channel_id();
            format!(
                "Failed evaluating policy on signed data during check policy on channel [{channel}] with policy [{policy}]: [{error}]"
            )
        })
    }

    /// Whether the identity is an admin, or at least a member, of this peer's own organisation.
    pub(crate) fn check_local(&self, policy: &str, identity: &ValidIdentity) -> Result<(), String> {
        let role = match policy {
            "Admins" => MspRoleType::Admin,
            _ => MspRoleType::Member,
        };
        let role = MspRole {
            msp_identifier: self.msp_id.to_string(),
            role: role.into(),
        };
        let principal = MspPrincipal {
            principal_classification: Classification::Role.into(),
            principal: role.encode_to_vec(),
        };
        if identity.msp_id != self.msp_id {
            return Err(format!(
                "Failed deserializing proposal creator during channelless check policy with policy [{policy}]: [expected MSP ID {}, received {}]",
                self.msp_id, identity.msp_id
            ));
        }
        if identity.satisfies(&principal) {
            return Ok(());
        }
        Err(format!(
            "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [{policy}]: [The identity is not an admin under this MSP [{0}]: The identity does not contain OU [ADMIN], MSP: [{0}]]",
            self.msp_id
        ))
    }

    /// Signs a proposal response payload.
    pub(crate) fn endorse(
        &self,
        payload: &[u8],
    ) -> Result<Endorsement, fabric_msp::SignatureError> {
        let endorser = self.signer.serialized();
        let mut message = payload.to_vec();
        message.extend_from_slice(&endorser);
        let signature = self.signer.sign(&message)?;
        Ok(Endorsement {
            endorser,
            signature,
        })
    }

    /// The version that goes into a chaincode action.
    pub(crate) fn version(
        &self,
        simulator: Option<&mut Simulator>,
        chaincode: &str,
    ) -> Result<String, String> {
        match simulator {
            Some(simulator) if chaincode != LIFECYCLE => {
                Ok(self.endorsable(simulator, chaincode)?.version)
            }
            _ => Ok("syscc".to_owned()),
        }
    }
}

fn apply_init_rules(
    simulator: &mut Simulator,
    definition: &ChaincodeDefinition,
    is_init: bool,
) -> Result<(), String> {
    let name = definition.name.as_str();
    if !definition.init_required {
        return match is_init {
            true => Err(format!(
                "chaincode '{name}' does not require initialization but called as init"
            )),
            false => Ok(()),
        };
    }
    let version = definition.version.as_bytes();
    let initialized = simulator
        .get_state(name, INITIALIZED_KEY)
        .map_err(|error| format!("could not get 'initialized' key: {error}"))?;
    let initialized = initialized.is_some_and(|value| value == version);
    match (is_init, initialized) {
        (true, true) => Err(format!(
            "chaincode '{name}' is already initialized but called as init"
        )),
        (true, false) => simulator
            .put_state(name, INITIALIZED_KEY, version.to_vec())
            .map_err(|error| format!("could not set 'initialized' key: {error}")),
        (false, true) => Ok(()),
        (false, false) => Err(format!(
            "chaincode '{name}' has not been initialized for this version, must call as init first"
        )),
    }
}
