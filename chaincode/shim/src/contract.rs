//! What a contract is: named transaction functions that belong together.
//!
//! `#[fabric_shim::contract]` on an `impl` block writes the [`Contract`] implementation.

use std::fmt;

use futures::future::BoxFuture;

use crate::{
    KeyError, Stub, StubError,
    metadata::{Schemas, TransactionMetadata},
};

/// The result of a transaction function, encoded.
pub type TransactionResult = Result<Vec<u8>, ContractError>;

/// A refusal that goes to the client: a status and a sentence.
///
/// Nothing of a refused transaction is kept, so the text reaches the client and the logs of the
/// endorsing peers, and no block. Put no personal data in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ContractError {
    status: i32,
    message: String,
}

impl ContractError {
    /// A refusal with a status from 400 to 599; other statuses become 500, because peers would
    /// endorse a lower one.
    pub fn new(status: i32, message: impl Into<String>) -> Self {
        let known = (400..600).contains(&status);
        Self {
            status: if known { status } else { 500 },
            message: message.into(),
        }
    }

    /// 400: the call makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, message)
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 409: the state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// 500: the contract or the ledger failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// The status, from 400 to 599.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<StubError> for ContractError {
    fn from(error: StubError) -> Self {
        match &error {
            StubError::Key(_) | StubError::PageSize { .. } => Self::bad_request(error.to_string()),
            StubError::Identity(_) => Self::forbidden(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

impl From<KeyError> for ContractError {
    fn from(error: KeyError) -> Self {
        Self::from(StubError::from(error))
    }
}

impl From<crate::ClientIdentityError> for ContractError {
    fn from(error: crate::ClientIdentityError) -> Self {
        Self::forbidden(error.to_string())
    }
}

/// Whether clients should order a transaction or only ask for its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// May write; clients submit it.
    Submit,
    /// Writes nothing, and the stub refuses attempts; clients evaluate it.
    Evaluate,
}

/// A transaction function as the router knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionInfo {
    /// The name on the wire.
    pub name: &'static str,
    /// How clients are meant to call it.
    pub access: Access,
}

/// What a contract is asked to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A function, by its place in [`Contract::transactions`].
    Function(usize),
    /// A name that the contract does not have.
    Unknown(&'a str),
}

/// Named transaction functions that belong together.
pub trait Contract: Send + Sync + 'static {
    /// The name by which clients choose the contract: `name:Function`.
    fn name(&self) -> &str;

    /// The transaction functions.
    fn transactions(&self) -> &'static [TransactionInfo];

    /// Describes the transaction functions for clients.
    fn describe(&self, schemas: &mut Schemas) -> Vec<TransactionMetadata>;

    /// Runs a function, with the contract's hooks. `args` are those behind the function's name.
    fn call<'a>(
        &'a self,
        ctx: &'a Stub,
        target: Target<'a>,
        args: &'a [Vec<u8>],
    ) -> BoxFuture<'a, TransactionResult>;
}

impl fmt::Debug for dyn Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("name", &self.name())
            .finish()
    }
}

/// Finds a function by name; the case of the first letter does not matter unless two functions
/// differ in nothing else.
pub(crate) fn find(transactions: &[TransactionInfo], name: &str) -> Option<usize> {
    let exact = transactions.iter().position(|info| info.name == name);
    exact.or_else(|| {
        transactions
            .iter()
            .position(|info| equal_but_for_first_case(info.name, name))
    })
}

fn equal_but_for_first_case(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.chars(), right.chars());
    match (left.next(), right.next()) {
        (Some(a), Some(b)) => {
            a.to_lowercase().eq(b.to_lowercase()) && left.as_str() == right.as_str()
        }
        _ => false,
    }
}

/// The rest of a call, for a hook that surrounds it.
pub struct Next<'a>(BoxFuture<'a, TransactionResult>);

impl<'a> Next<'a> {
    #[doc(hidden)]
    pub fn new(call: BoxFuture<'a, TransactionResult>) -> Self {
        Self(call)
    }

    /// Runs the transaction function.
    ///
    /// # Errors
    ///
    /// What the function returns.
    pub async fn run(self) -> TransactionResult {
        self.0.await
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &'static str) -> TransactionInfo {
        TransactionInfo {
            name,
            access: Access::Submit,
        }
    }

    #[test]
    fn the_first_letter_may_have_either_case() {
        let functions = [info("CreateAsset"), info("readAsset"), info("X")];
        for (name, found) in [
            ("CreateAsset", Some(0)),
            ("createAsset", Some(0)),
            ("createasset", None),
            ("readAsset", Some(1)),
            ("ReadAsset", Some(1)),
            ("x", Some(2)),
            ("", None),
            ("CreateAsset ", None),
        ] {
            assert_eq!(find(&functions, name), found, "{name:?}");
        }
    }

    #[test]
    fn an_exact_name_comes_first() {
        let functions = [info("Get"), info("get")];
        assert_eq!(find(&functions, "get"), Some(1));
        assert_eq!(find(&functions, "Get"), Some(0));
    }

    #[test]
    fn statuses_that_peers_would_endorse_become_500() {
        for (given, kept) in [(399, 500), (400, 400), (599, 599), (600, 500), (-1, 500)] {
            assert_eq!(ContractError::new(given, "").status(), kept);
        }
    }
}
