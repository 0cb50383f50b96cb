//! What a grant or a policy says, in the same words for both.

use clap::Args;
use contract_interface::{
    Confidentiality, ContextId, GrantPeriod, Grantee, ProjectCode, Purpose, RecordId, RecordType,
    Rule, UtcTime,
    access::{Author, SecurityLabel},
};

use super::forms::{author, grantee, label};

#[derive(Debug, Args)]
pub(crate) struct RuleArgs {
    /// Forbid instead of allow. A denial always wins over a permit.
    #[arg(long)]
    pub(crate) deny: bool,
    /// To whom: participant:ID, organization:MSP, role:MSP/provider or anyone.
    #[arg(long, value_parser = grantee)]
    pub(crate) to: Option<Grantee>,
    /// Which record types; may be repeated. All, if left out.
    #[arg(long = "type", value_name = "CODE")]
    pub(crate) types: Vec<RecordType>,
    /// Which records; may be repeated. All, if left out.
    #[arg(long = "record", value_name = "ID")]
    pub(crate) records: Vec<RecordId>,
    /// Only what these made: participant:ID, device:ID or organization:MSP; may be repeated.
    #[arg(long = "author", value_parser = author, value_name = "WHO")]
    pub(crate) authors: Vec<Author>,
    /// Only data of this encounter, care plan or episode; may be repeated.
    #[arg(long = "context", value_name = "ID")]
    pub(crate) contexts: Vec<ContextId>,
    /// Only data with one of these labels: N, R, V, or a sensitivity such as PSY; may be repeated.
    #[arg(long = "label", value_parser = label, value_name = "CODE")]
    pub(crate) labels: Vec<SecurityLabel>,
    /// Only data that is at most so confidential: N, R or V.
    #[arg(long, value_name = "N|R|V", conflicts_with = "deny")]
    pub(crate) up_to: Option<Confidentiality>,
    /// Only data from this time on.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_from: Option<UtcTime>,
    /// Only data before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) data_until: Option<UtcTime>,
    /// For what: TREAT (treatment), HPAYMT (payment), HOPERAT (operations), HRESCH (research),
    /// PATRQT (a patient's or guardian's own wish), BTG (a declared emergency); may be repeated. A
    /// denial without any is for all but emergencies.
    #[arg(long)]
    pub(crate) purpose: Vec<Purpose>,
    /// Only for this project, such as a study.
    #[arg(long, value_name = "CODE")]
    pub(crate) project: Option<ProjectCode>,
}

impl RuleArgs {
    /// The rule, for `grantee`.
    pub(crate) fn rule(&self, grantee: Grantee) -> Rule {
        let base = if self.deny {
            Rule::deny(grantee)
        } else {
            Rule::permit(grantee, vec![])
        };
        let dated = self.data_from.is_some() || self.data_until.is_some();
        Rule {
            types: self.types.clone(),
            records: self.records.clone(),
            authors: self.authors.clone(),
            contexts: self.contexts.clone(),
            labels: self.labels.clone(),
            confidentiality: self.up_to,
            data_period: dated.then_some(GrantPeriod {
                from: self.data_from,
                until: self.data_until,
            }),
            purposes: self.purpose.clone(),
            project: self.project.clone(),
            ..base
        }
    }
}
