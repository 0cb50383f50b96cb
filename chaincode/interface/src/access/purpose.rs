//! Purposes of use.

use serde::{Deserialize, Serialize};

use crate::error::ParseError;

/// Why someone reads: codes of HL7 v3 PurposeOfUse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Purpose {
    /// Treatment.
    Treat,
    /// Payment.
    Hpaymt,
    /// Health care operations.
    Hoperat,
    /// Research.
    Hresch,
    /// Patient requested.
    Patrqt,
    /// Break the glass.
    Btg,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Treat,
        Self::Hpaymt,
        Self::Hoperat,
        Self::Hresch,
        Self::Patrqt,
        Self::Btg,
    ];

    /// The code as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Treat => "TREAT",
            Self::Hpaymt => "HPAYMT",
            Self::Hoperat => "HOPERAT",
            Self::Hresch => "HRESCH",
            Self::Patrqt => "PATRQT",
            Self::Btg => "BTG",
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or(ParseError::new(
                "one of TREAT, HPAYMT, HOPERAT, HRESCH, PATRQT, BTG",
            ))
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
