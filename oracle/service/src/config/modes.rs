//! What a process does, and who holds the keys: choices that change what is built.

use std::str::FromStr;

/// `[service] role`: what one process of an oracle does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceRole {
    /// Takes readings and serves people.
    #[default]
    All,
    /// Takes readings, seals and registers them; has no private decryption key and no REST port.
    Ingest,
    /// Serves people and does the background jobs; has no MQTT port and no journal.
    Api,
}

/// `[organization] custody`: who holds the data keys of the records that an organisation registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Custody {
    /// The patient and the organisation's oracle, which wraps keys for permitted readers.
    #[default]
    Organization,
    /// The patient alone, whose client wraps keys for those to whom a grant is given. The oracle
    /// never can open.
    Patient,
}

/// A word that names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {expected}")]
pub struct UnknownMode {
    /// The words there are.
    pub expected: &'static str,
}

impl ServiceRole {
    /// Whether devices connect to this process.
    #[must_use]
    pub const fn takes_readings(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    /// Whether people connect to this process.
    #[must_use]
    pub const fn serves_people(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }
}

impl FromStr for ServiceRole {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "all" => Ok(Self::All),
            "ingest" => Ok(Self::Ingest),
            "api" => Ok(Self::Api),
            _ => Err(UnknownMode {
                expected: "all, ingest, api",
            }),
        }
    }
}

impl FromStr for Custody {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "organization" => Ok(Self::Organization),
            "patient" => Ok(Self::Patient),
            _ => Err(UnknownMode {
                expected: "organization, patient",
            }),
        }
    }
}
