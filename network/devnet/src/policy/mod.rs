//! Endorsement and access policies: evaluation, the text form people write, and which sets of
//! organisations satisfy them.

mod collections;
mod error;
mod evaluate;
mod layout;
mod text;

pub use collections::{
    CollectionParseError, application_policy, implicit_collection_organization, parse_collections,
};
pub use error::{PolicyError, PolicyParseError};
pub use evaluate::{SignedData, evaluate_signature_policy, valid_identities};
pub use layout::{LAYOUTS_MAX, Layout, Requirement, combine};
pub use text::parse_policy;
