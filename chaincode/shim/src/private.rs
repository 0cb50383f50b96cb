//! What the code written by the macros calls. Not for direct use.

use std::marker::PhantomData;

pub use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Codec, Contract, ContractError, ContractType, TransactionResult, codec,
    metadata::{Schema, Schemas},
};

/// Decodes a required argument.
pub fn argument<T: DeserializeOwned + 'static, C: Codec>(
    args: &[Vec<u8>],
    index: usize,
    name: &str,
) -> Result<T, ContractError> {
    let Some(bytes) = args.get(index) else {
        let message = format!("argument {name} is missing");
        return Err(ContractError::bad_request(message));
    };
    decode::<T, C>(bytes, name)
}

/// Decodes an argument that may be left out at the end, or given as `null` or as nothing.
pub fn optional_argument<T: DeserializeOwned + 'static, C: Codec>(
    args: &[Vec<u8>],
    index: usize,
    name: &str,
) -> Result<Option<T>, ContractError> {
    let Some(bytes) = args.get(index) else {
        return Ok(None);
    };
    let raw = codec::is::<T, String>() || codec::is::<T, Vec<u8>>();
    if !raw && (bytes.is_empty() || bytes == b"null") {
        return Ok(None);
    }
    decode::<T, C>(bytes, name).map(Some)
}

fn decode<T: DeserializeOwned + 'static, C: Codec>(
    bytes: &[u8],
    name: &str,
) -> Result<T, ContractError> {
    C::decode(bytes)
        .map_err(|error| ContractError::bad_request(format!("argument {name}: {error}")))
}

/// Encodes a result.
pub fn encode<T: Serialize + 'static, C: Codec>(value: &T) -> TransactionResult {
    C::encode(value).map_err(|error| ContractError::internal(format!("result: {error}")))
}

/// Refuses arguments that no parameter takes.
pub fn check_count(args: &[Vec<u8>], most: usize) -> Result<(), ContractError> {
    if args.len() > most {
        let message = format!("{} arguments given, at most {most} taken", args.len());
        return Err(ContractError::bad_request(message));
    }
    Ok(())
}

/// The answer to a name that a contract without `unknown` hook does not have.
pub fn unknown_function(contract: &dyn Contract, function: &str) -> ContractError {
    let contract = contract.name();
    ContractError::not_found(format!(
        "function {function} not found in contract {contract}"
    ))
}

/// Finds out, where the type is known, whether it is a [`ContractType`].
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> Probe<T> {
    /// A probe.
    #[expect(clippy::new_without_default, reason = "called by macros only")]
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// Chosen when the type describes itself.
pub trait ViaContractType {
    /// Its schema.
    fn probe_schema(&self, schemas: &mut Schemas) -> Schema;
    /// Whether a member of it may be left out.
    fn probe_optional(&self) -> bool;
}

impl<T: ContractType + ?Sized> ViaContractType for Probe<T> {
    fn probe_schema(&self, schemas: &mut Schemas) -> Schema {
        T::schema(schemas)
    }

    fn probe_optional(&self) -> bool {
        T::is_optional()
    }
}

/// Chosen otherwise: any JSON.
pub trait ViaAnything {
    /// A schema that allows everything.
    fn probe_schema(&self, schemas: &mut Schemas) -> Schema;
    /// Never.
    fn probe_optional(&self) -> bool;
}

impl<T: ?Sized> ViaAnything for &Probe<T> {
    fn probe_schema(&self, _: &mut Schemas) -> Schema {
        Schema::any()
    }

    fn probe_optional(&self) -> bool {
        false
    }
}

/// The schema of a parameter or result: bytes stand as they are, nothing has no schema.
pub fn value_schema<T: 'static>(schema: Schema) -> Option<Schema> {
    if codec::is::<T, ()>() {
        return None;
    }
    if codec::is::<T, Vec<u8>>() {
        return Some(Schema::of_type("string").with("format", "binary"));
    }
    Some(schema)
}

#[doc(hidden)]
#[macro_export]
macro_rules! __schema {
    ($type:ty, $schemas:expr) => {{
        #[allow(unused_imports, reason = "one of the two is chosen by the type")]
        use $crate::__private::{ViaAnything as _, ViaContractType as _};
        (&$crate::__private::Probe::<$type>::new()).probe_schema($schemas)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __is_optional {
    ($type:ty) => {{
        #[allow(unused_imports, reason = "one of the two is chosen by the type")]
        use $crate::__private::{ViaAnything as _, ViaContractType as _};
        (&$crate::__private::Probe::<$type>::new()).probe_optional()
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __value_schema {
    ($type:ty, $schemas:expr) => {
        $crate::__private::value_schema::<$type>($crate::__schema!($type, $schemas))
    };
}
