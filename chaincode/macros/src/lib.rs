//! Attribute and derive macros of `fabric-shim`; use them through that crate.
//!
//! The grammar is in this crate's README.

use proc_macro::TokenStream;

mod case;
mod contract;
mod contract_type;
mod serde_attributes;
mod transaction;

/// Makes a contract of an `impl` block: `#[contract]` or
/// `#[contract(name = "record-registry", codec = MyCodec)]`.
///
/// Functions marked `#[transaction(submit)]` or `#[transaction(evaluate)]` become transaction
/// functions; `#[before]`, `#[around]`, `#[after]` and `#[unknown]` mark hooks.
#[proc_macro_attribute]
pub fn contract(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = contract::expand(attribute.into(), item.into());
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Describes a type with a JSON schema for the chaincode's metadata, as its serde attributes
/// write it. `#[contract_type(maximum = 10, pattern = "^a")]` on a member adds keywords.
#[proc_macro_derive(ContractType, attributes(contract_type, serde))]
pub fn derive_contract_type(item: TokenStream) -> TokenStream {
    let expanded = contract_type::expand(item.into());
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
