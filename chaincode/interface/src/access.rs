//! Grants and reads.

mod grant;
mod read;
#[cfg(test)]
mod tests;

pub use grant::{
    Grant, GrantChanged, GrantEntry, GrantFilter, GrantPage, GrantPeriod, GrantProposal,
    GrantStatus, Grantee, Purpose,
};
pub use read::{Decision, ReadDecided, ReadDecision, ReadEntry, ReadFilter, ReadPage, ReasonCode};
