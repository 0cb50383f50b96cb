//! Deploying a chaincode the way administrators do: package, install, approve, commit.
//!
//! Everything goes through the ordinary services of the peers, signed by each organisation's
//! admin; nothing here touches the network's files except to find endpoints and keys.

mod client;
mod error;

use std::path::PathBuf;

use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ApproveChaincodeDefinitionForMyOrgResult,
    ChaincodeSource, CommitChaincodeDefinitionArgs, CommitChaincodeDefinitionResult,
    InstallChaincodeArgs, InstallChaincodeResult, QueryApprovedChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionArgs,
    QueryChaincodeDefinitionResult, QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult,
    chaincode_source,
};
use fabric_protos::protos::CollectionConfigPackage;
use prost::Message;

use crate::description::Control;
use crate::package::{self, Package};
use crate::policy::{application_policy, parse_collections};
use client::Admin;
pub use error::DeployError;

/// Version of a chaincode unless told otherwise.
pub const DEFAULT_VERSION: &str = "1.0";
const DEFAULT_POLICY: &str = "/Channel/Application/Endorsement";

/// A chaincode to be deployed on all peers of a running network.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Folder of the network.
    pub dir: PathBuf,
    /// Name of the chaincode.
    pub name: String,
    /// `host:port` at which the chaincode listens, or will.
    pub address: String,
    /// Version in the definition and in the package's label.
    pub version: String,
    /// Sequence to commit; the next one when absent.
    pub sequence: Option<i64>,
    /// Private data collections, in the JSON form that the `peer` command reads.
    pub collections: Option<Vec<u8>>,
    /// Endorsement policy: `OR('Org1MSP.peer',…)`, or the path of a channel policy.
    pub policy: Option<String>,
    /// Whether the chaincode must be initialised before use.
    pub init_required: bool,
}

/// What came of a deployment.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Deployed {
    /// ID under which the chaincode has to register.
    pub package_id: String,
    /// Sequence of the committed definition.
    pub sequence: i64,
}

/// The definition as all organisations are to approve it.
#[derive(Clone, Debug)]
struct Wanted {
    version: String,
    validation_parameter: Vec<u8>,
    collections: CollectionConfigPackage,
    init_required: bool,
}

impl Deployment {
    /// The package that will be installed.
    ///
    /// # Errors
    /// [`DeployError::Package`] for a name or version that cannot be a label.
    pub fn package(&self) -> Result<Package, DeployError> {
        let label = format!("{}_{}", self.name, self.version);
        Ok(package::ccaas(&label, &self.address)?)
    }

    /// Installs, approves and commits; what is there already is left as it is, so that a
    /// repetition changes nothing.
    ///
    /// # Errors
    /// [`DeployError`], with the peers' own words.
    pub async fn run(&self) -> Result<Deployed, DeployError> {
        let package = self.package()?;
        let wanted = self.wanted()?;
        let control = Control::read(&self.dir)?.filter(Control::is_running);
        let network = control.ok_or(DeployError::NotRunning)?.network;
        let mut admins = Vec::new();
        for organization in &network.organizations {
            admins.push(Admin::connect(&network.channel, organization)?);
        }
        for admin in &mut admins {
            install(admin, &package).await?;
        }
        let committed = self.committed(&mut admins).await?;
        let same = committed
            .as_ref()
            .is_some_and(|c| wanted.is_committed_as(c));
        let current = committed.map_or(0, |committed| committed.sequence);
        let next = if same { current } else { current + 1 };
        let sequence = self.sequence.unwrap_or(next);
        if sequence != next {
            return Err(DeployError::Sequence { sequence, next });
        }
        for admin in &mut admins {
            self.approve(admin, &wanted, sequence, &package.id).await?;
        }
        if !same {
            self.commit(&mut admins, &wanted, sequence).await?;
        }
        Ok(Deployed {
            package_id: package.id,
            sequence,
        })
    }

    fn wanted(&self) -> Result<Wanted, DeployError> {
        let policy = self.policy.as_deref().unwrap_or(DEFAULT_POLICY);
        let policy = match policy.starts_with('/') {
            true => application_policy(None, Some(policy))?,
            false => application_policy(Some(policy), None)?,
        };
        let collections = self.collections.as_deref();
        Ok(Wanted {
            version: self.version.clone(),
            validation_parameter: policy.unwrap_or_default().encode_to_vec(),
            collections: collections
                .map(parse_collections)
                .transpose()?
                .unwrap_or_default(),
            init_required: self.init_required,
        })
    }

    async fn committed(
        &self,
        admins: &mut [Admin],
    ) -> Result<Option<QueryChaincodeDefinitionResult>, DeployError> {
        let arguments = QueryChaincodeDefinitionArgs {
            name: self.name.clone(),
        };
        let first = admins.first_mut().ok_or(DeployError::NotRunning)?;
        first.query("QueryChaincodeDefinition", &arguments).await
    }

    async fn approve(
        &self,
        admin: &mut Admin,
        wanted: &Wanted,
        sequence: i64,
        package_id: &str,
    ) -> Result<(), DeployError> {
        let query = QueryApprovedChaincodeDefinitionArgs {
            name: self.name.clone(),
            sequence,
        };
        let approved: Option<QueryApprovedChaincodeDefinitionResult> = admin
            .query_or_none("QueryApprovedChaincodeDefinition", &query)
            .await?;
        let local = chaincode_source::Type::LocalPackage(chaincode_source::Local {
            package_id: package_id.to_owned(),
        });
        let source = Some(ChaincodeSource {
            r#type: Some(local),
        });
        if approved.is_some_and(|approved| wanted.is_approved_as(&approved, &source)) {
            return Ok(());
        }
        let arguments = ApproveChaincodeDefinitionForMyOrgArgs {
            sequence,
            name: self.name.clone(),
            version: wanted.version.clone(),
            validation_parameter: wanted.validation_parameter.clone(),
            collections: Some(wanted.collections.clone()),
            init_required: wanted.init_required,
            source,
            ..ApproveChaincodeDefinitionForMyOrgArgs::default()
        };
        let organizations = vec![admin.msp_id().to_owned()];
        let function = "ApproveChaincodeDefinitionForMyOrg";
        let _: ApproveChaincodeDefinitionForMyOrgResult =
            admin.submit(function, &arguments, organizations).await?;
        Ok(())
    }

    async fn commit(
        &self,
        admins: &mut [Admin],
        wanted: &Wanted,
        sequence: i64,
    ) -> Result<(), DeployError> {
        let organizations = admins
            .iter()
            .map(|admin| admin.msp_id().to_owned())
            .collect();
        let arguments = CommitChaincodeDefinitionArgs {
            sequence,
            name: self.name.clone(),
            version: wanted.version.clone(),
            validation_parameter: wanted.validation_parameter.clone(),
            collections: Some(wanted.collections.clone()),
            init_required: wanted.init_required,
            ..CommitChaincodeDefinitionArgs::default()
        };
        let first = admins.first_mut().ok_or(DeployError::NotRunning)?;
        let function = "CommitChaincodeDefinition";
        let _: CommitChaincodeDefinitionResult =
            first.submit(function, &arguments, organizations).await?;
        Ok(())
    }
}

impl Wanted {
    fn is_committed_as(&self, committed: &QueryChaincodeDefinitionResult) -> bool {
        self.version == committed.version
            && self.validation_parameter == committed.validation_parameter
            && self.init_required == committed.init_required
            && Some(&self.collections) == committed.collections.as_ref()
    }

    fn is_approved_as(
        &self,
        approved: &QueryApprovedChaincodeDefinitionResult,
        source: &Option<ChaincodeSource>,
    ) -> bool {
        self.version == approved.version
            && self.validation_parameter == approved.validation_parameter
            && self.init_required == approved.init_required
            && Some(&self.collections) == approved.collections.as_ref()
            && *source == approved.source
    }
}

async fn install(admin: &mut Admin, package: &Package) -> Result<(), DeployError> {
    let query = QueryInstalledChaincodeArgs {
        package_id: package.id.clone(),
    };
    let installed: Option<QueryInstalledChaincodeResult> =
        admin.query_peer("QueryInstalledChaincode", &query).await?;
    if installed.is_some() {
        return Ok(());
    }
    let arguments = InstallChaincodeArgs {
        chaincode_install_package: package.bytes.clone(),
    };
    let result: Option<InstallChaincodeResult> =
        admin.query_peer("InstallChaincode", &arguments).await?;
    let package_id = result.map(|result| result.package_id).unwrap_or_default();
    if package_id == package.id {
        Ok(())
    } else {
        Err(DeployError::PackageId {
            expected: package.id.clone(),
            installed: package_id,
        })
    }
}
