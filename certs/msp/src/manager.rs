//! The MSPs of a channel.

use std::collections::BTreeMap;

use crate::certificate::Certificate;
use crate::error::MspError;
use crate::id::MspId;
use crate::identity::{ValidIdentity, parse_serialized_identity};
use crate::msp::Msp;

/// The MSPs of a channel, or of everybody a service talks to, by ID.
#[derive(Debug, Clone, Default)]
pub struct MspManager {
    msps: BTreeMap<MspId, Msp>,
}

impl MspManager {
    /// Collects MSPs; of two with one ID the later stays.
    pub fn new(msps: Vec<Msp>) -> Self {
        msps.into()
    }

    /// One MSP.
    pub fn msp(&self, msp_id: &MspId) -> Option<&Msp> {
        self.msps.get(msp_id)
    }

    /// All MSPs, by ID.
    pub fn msps(&self) -> impl Iterator<Item = &Msp> {
        self.msps.values()
    }

    /// Reads a creator and validates it with the MSP that it names, as a peer does.
    ///
    /// # Errors
    /// [`MspError::UnknownMsp`], or what reading and [`Msp::validate`] say.
    pub fn identity(&self, serialized: &[u8]) -> Result<ValidIdentity, MspError> {
        let (msp_id, certificate) = parse_serialized_identity(serialized)?;
        match self.msp(&msp_id) {
            Some(msp) => msp.validate(&certificate),
            None => Err(MspError::UnknownMsp { msp_id }),
        }
    }

    /// The MSP whose CAs issued the certificate, where no header names one, as in TLS. Ask it
    /// with [`Msp::validate_at`] whether the certificate is still good.
    pub fn find_for(&self, certificate: &Certificate) -> Option<&Msp> {
        self.msps().find(|msp| msp.issued(certificate))
    }
}

impl From<Vec<Msp>> for MspManager {
    fn from(msps: Vec<Msp>) -> Self {
        msps.into_iter().collect()
    }
}

impl FromIterator<Msp> for MspManager {
    fn from_iter<T: IntoIterator<Item = Msp>>(msps: T) -> Self {
        let msps = msps
            .into_iter()
            .map(|msp| (msp.msp_id().clone(), msp))
            .collect();
        Self { msps }
    }
}
