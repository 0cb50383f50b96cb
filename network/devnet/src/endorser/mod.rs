//! What a peer does with a proposal: check it, simulate it, sign the result.

mod process;
pub(crate) mod proposal;
#[cfg(test)]
mod tests;

use fabric_protos::protos::ProposalResponse;

pub(crate) use process::process;

/// How a peer answers a proposal. The two refusals differ for whoever called: a gateway takes
/// the first for the client's fault and the second for the peer's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// A response, which may still carry a bad status.
    Response(Box<ProposalResponse>),
    /// The proposal is not acceptable.
    Refused(String),
    /// An authentication filter stopped it before it was looked at.
    Filtered(String),
}
