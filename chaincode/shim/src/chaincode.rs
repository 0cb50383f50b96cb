//! Contracts that are deployed together, and the way from a call's name to a function.

use std::sync::Arc;

use crate::{
    Access, ChaincodeError, ClientIdentity, Contract, ContractError, Response, Stub, contract,
    contract::{Target, TransactionResult},
    metadata,
};

/// The contract that every chaincode has beside its own.
pub(crate) const SYSTEM_CONTRACT: &str = "org.hyperledger.fabric";

/// The function of the system contract that describes the chaincode.
pub(crate) const GET_METADATA: &str = "GetMetadata";

/// Contracts that are deployed together under one chaincode name.
#[derive(Debug, Default)]
pub struct Chaincode {
    contracts: Vec<Arc<dyn Contract>>,
    title: String,
    version: String,
    metadata: Option<Vec<u8>>,
}

impl Chaincode {
    /// A chaincode without contracts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            title: "undefined".to_owned(),
            version: "latest".to_owned(),
            ..Self::default()
        }
    }

    /// Adds a contract. The first one added takes the calls that name no contract.
    #[must_use]
    pub fn with(mut self, contract: impl Contract) -> Self {
        self.contracts.push(Arc::new(contract));
        self
    }

    /// Sets title and version in the metadata.
    #[must_use]
    pub fn with_info(mut self, title: impl Into<String>, version: impl Into<String>) -> Self {
        self.title = title.into();
        self.version = version.into();
        self
    }

    /// Serves this JSON document, for instance the text of a `META-INF/metadata.json`, instead of
    /// the metadata made from the contracts.
    ///
    /// # Errors
    ///
    /// [`ChaincodeError::Metadata`] when it is not a JSON object.
    pub fn with_metadata(mut self, json: &[u8]) -> Result<Self, ChaincodeError> {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json)
            .map_err(|source| ChaincodeError::Metadata { source })?;
        self.metadata = Some(json.to_vec());
        Ok(self)
    }

    /// Checks that every contract can be reached.
    ///
    /// # Errors
    ///
    /// [`ChaincodeError::DuplicateContract`].
    pub fn check(&self) -> Result<(), ChaincodeError> {
        let mut names = std::collections::BTreeSet::from([SYSTEM_CONTRACT]);
        for contract in &self.contracts {
            if !names.insert(contract.name()) {
                let name = contract.name().to_owned();
                return Err(ChaincodeError::DuplicateContract { name });
            }
        }
        Ok(())
    }

    /// The metadata document as `org.hyperledger.fabric:GetMetadata` returns it.
    #[must_use]
    pub fn metadata(&self) -> Vec<u8> {
        let generate = || metadata::document(&self.contracts, &self.title, &self.version);
        self.metadata.clone().unwrap_or_else(generate)
    }

    /// Runs the transaction that the stub stands for, up to and including its batched writes.
    ///
    /// A transaction that is refused leaves nothing on the ledger, so the log keeps who asked for
    /// what; the message, which may name private things, is left out.
    pub async fn invoke(&self, stub: &Stub) -> Response {
        let result = self.route(stub).await;
        if let Err(error) = &result {
            let creator = stub.client_identity().ok();
            tracing::warn!(
                function = stub.function(),
                tx_id = stub.tx_id(),
                status = error.status(),
                msp_id = creator.map(ClientIdentity::msp_id),
                certificate =
                    creator.map(|creator| hex::encode(creator.certificate().thumbprint())),
                "transaction refused"
            );
        }
        result.into()
    }

    /// Runs the chaincode's initialisation: a call without arguments succeeds, any other is
    /// routed like a transaction.
    pub async fn init(&self, stub: &Stub) -> Response {
        if stub.args().is_empty() {
            return Response::success(vec![]);
        }
        self.invoke(stub).await
    }

    async fn route(&self, stub: &Stub) -> TransactionResult {
        let args = stub.args();
        let (called, args) = args
            .split_first()
            .map_or((&[][..], args), |(called, rest)| (called.as_slice(), rest));
        let called = std::str::from_utf8(called)
            .map_err(|_| ContractError::bad_request("the name of the function is not UTF-8"))?;
        let (namespace, function) = match called.rsplit_once(':') {
            Some((namespace, function)) => (Some(namespace), function),
            None => (None, called),
        };
        if namespace == Some(SYSTEM_CONTRACT) {
            return self.system_call(stub, function);
        }
        let contract = self.contract(namespace)?;
        if function.is_empty() {
            return Err(ContractError::bad_request("no function is named"));
        }
        let target = match contract::find(contract.transactions(), function) {
            Some(index) => {
                let info = &contract.transactions()[index];
                stub.set_function(info.name);
                if info.access == Access::Evaluate {
                    stub.forbid_writes();
                }
                Target::Function(index)
            }
            None => Target::Unknown(function),
        };
        let result = contract.call(stub, target, args).await?;
        stub.finish_write_batch().await?;
        Ok(result)
    }

    fn contract(&self, namespace: Option<&str>) -> Result<&Arc<dyn Contract>, ContractError> {
        let found = match namespace {
            None => self.contracts.first(),
            Some(name) => self.contracts.iter().find(|known| known.name() == name),
        };
        found.ok_or_else(|| {
            let name = namespace.unwrap_or_default();
            ContractError::not_found(format!("contract not found with name {name}"))
        })
    }

    fn system_call(&self, stub: &Stub, function: &str) -> TransactionResult {
        stub.forbid_writes();
        if function.eq_ignore_ascii_case(GET_METADATA) {
            return Ok(self.metadata());
        }
        Err(ContractError::not_found(format!(
            "function {function} not found in contract {SYSTEM_CONTRACT}"
        )))
    }
}

#[cfg(test)]
mod tests;
