//! One call of a transaction function.

use std::collections::BTreeMap;
use std::fmt;

use fabric_msp::MspId;

/// A transaction function's name with everything it is called with.
///
/// `Debug` prints the transient map's names only, since its values are private.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Call {
    pub(crate) function: String,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) transient: BTreeMap<String, Vec<u8>>,
    pub(crate) organizations: Vec<MspId>,
}

impl Call {
    /// A call without arguments. `function` is the name as the chaincode knows it, with its
    /// contract in front if it has several: `record-registry:GetRecord`.
    pub fn new(function: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            ..Self::default()
        }
    }

    /// Adds an argument. It stays in the block for ever: nothing private belongs here.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds private data that endorsers see and the ledger does not.
    #[must_use]
    pub fn transient(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.transient.insert(name.into(), value.into());
        self
    }

    /// Names the organisations that shall endorse, or answer a query. Without it the peer chooses
    /// by policy; with private data it does not dare to and wants to be told.
    #[must_use]
    pub fn endorsing_organizations(
        mut self,
        organizations: impl IntoIterator<Item = MspId>,
    ) -> Self {
        self.organizations.extend(organizations);
        self
    }

    /// The function's name.
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("function", &self.function)
            .field("arguments", &self.arguments.len())
            .field("transient", &self.transient.keys().collect::<Vec<_>>())
            .field("organizations", &self.organizations)
            .finish()
    }
}
