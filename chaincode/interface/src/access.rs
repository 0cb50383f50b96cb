//! Consent and its use: rules, grants, policies, guardians, requests, emergencies, reads, notices.

mod asking;
mod decide;
mod delegation;
mod emergency;
mod grant;
mod notice;
mod policy;
mod purpose;
mod read;
mod rule;
#[cfg(test)]
mod tests;

pub use asking::{
    AccessRequest, AccessRequestChanged, AccessRequestEntry, AccessRequestFilter,
    AccessRequestPage, AccessRequestStatus,
};
pub use decide::{
    Basis, Considered, CountedGrant, Explanation, Question, RuleRef, Verdict, VersionDenials,
};
pub use delegation::{
    Delegation, DelegationBasis, DelegationChanged, DelegationEntry, DelegationFilter,
    DelegationPage, Power,
};
pub use emergency::{
    Emergency, EmergencyChanged, EmergencyEntry, EmergencyFilter, EmergencyPage, EmergencyReason,
    Review, ReviewOutcome,
};
pub use grant::{Grant, GrantChanged, GrantEntry, GrantFilter, GrantPage, GrantStatus};
pub use notice::{Happening, Notice, NoticeFilter, NoticePage, Recipient};
pub use policy::{Policy, PolicyChanged, PolicyEntry, PolicyFilter, PolicyPage};
pub use purpose::Purpose;
pub use read::{Decision, ReadDecided, ReadDecision, ReadEntry, ReadFilter, ReadPage, ReasonCode};
pub use rule::{Author, Confidentiality, GrantPeriod, Grantee, Rule, SecurityLabel};
