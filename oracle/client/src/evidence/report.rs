//! What was checked and what was found.

use std::fmt;

use serde::Serialize;

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// A step of the verification; its name is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Check {
            /// The check's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

checks! {
    /// The bundle is of a known format, for the expected record, channel and chaincode.
    Format = "format";
    /// The metadata has the commitment that the public state names.
    Commitment = "commitment";
    /// The block of the registration can be read, and its envelopes have the hash in its header.
    Block = "block";
    /// Headers follow one another without gap, up to the newest, and the blocks are among them.
    Chain = "chain";
    /// The channel's configurations can be read and are those that the blocks name.
    Configuration = "configuration";
    /// Enough orderers signed the blocks and the newest header.
    Orderers = "orderers";
    /// The transaction is whole, its creator signed it, and the peer found it valid.
    Transaction = "transaction";
    /// The transaction wrote the record's public state.
    State = "state";
    /// The chaincode's definition is the one that was in force, and says which policy applies.
    Definition = "definition";
    /// Enough peers endorsed the transaction.
    Endorsements = "endorsements";
    /// What is trusted vouches for all this.
    Anchor = "anchor";
    /// The sealed object has the registered size and SHA-256.
    Object = "object";
    /// The sealed object has the CID.
    Cid = "cid";
    /// The content has the registered size, and as many readings as registered.
    Content = "content";
    /// The readings have the registered Merkle root.
    Merkle = "merkle";
    /// The reading is a leaf of the tree with the registered root.
    Inclusion = "inclusion";
    /// The manifest of a large object was signed with the device's certificate.
    Manifest = "manifest";
    /// Readings that are signed were signed with the device's certificate; a large object is the one that the signed
    /// manifest describes.
    Device = "device";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It could not be made.
    Skipped,
}

/// One check with what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, or why not, in a sentence.
    pub detail: String,
}

/// All checks, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing failed.
    #[must_use]
    pub fn holds(&self) -> bool {
        let failed = |finding: &Finding| finding.outcome == Outcome::Failed;
        !self.findings.is_empty() && !self.findings.iter().any(failed)
    }

    /// The checks that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<Check> {
        let failed = self.findings.iter();
        failed
            .filter(|finding| finding.outcome == Outcome::Failed)
            .map(|finding| finding.check)
            .collect()
    }

    /// How a check came out, if it was made.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<Outcome> {
        let mut findings = self.findings.iter();
        findings
            .find(|finding| finding.check == check)
            .map(|finding| finding.outcome)
    }

    /// Adds the findings of another part of the verification.
    pub fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
    }

    pub(crate) fn passed(&mut self, check: Check, detail: impl Into<String>) {
        self.add(check, Outcome::Passed, detail.into());
    }

    pub(crate) fn failed_with(&mut self, check: Check, detail: impl fmt::Display) {
        self.add(check, Outcome::Failed, detail.to_string());
    }

    pub(crate) fn skipped(&mut self, check: Check, detail: impl Into<String>) {
        self.add(check, Outcome::Skipped, detail.into());
    }

    /// Adds what a check found and gives on what it yields.
    pub(crate) fn judge<T, E: fmt::Display>(
        &mut self,
        check: Check,
        result: Result<(T, String), E>,
    ) -> Option<T> {
        match result {
            Ok((value, detail)) => {
                self.passed(check, detail);
                Some(value)
            }
            Err(error) => {
                self.failed_with(check, error);
                None
            }
        }
    }

    fn add(&mut self, check: Check, outcome: Outcome, detail: String) {
        self.findings.push(Finding {
            check,
            outcome,
            detail,
        });
    }
}
