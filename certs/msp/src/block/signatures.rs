//! Orderers' signatures over a header.

use fabric_protos::common::{IdentifierHeader, Metadata, MetadataSignature, SignatureHeader};
use prost::Message as _;

use super::config::{BLOCK_VALIDATION, ChannelConfig};
use super::error::{BlockError, malformed};
use super::header::Header;
use super::policy::distinct;
use super::read::Block;
use crate::error::MspError;
use crate::identity::ValidIdentity;
use crate::manager::MspManager;

/// Signatures of one block that are looked at; a channel has fewer orderers.
const MAX_SIGNATURES: usize = 128;

/// Who signed a block's header.
#[derive(Debug)]
pub struct OrdererSignatures {
    /// Identities whose signature holds, each once.
    pub valid: Vec<ValidIdentity>,
    /// Why others do not count.
    pub refused: Vec<BlockError>,
}

impl Block {
    /// Checks the orderers' signatures, as [`verify_orderers`].
    ///
    /// # Errors
    /// [`BlockError::NotSatisfied`], or what makes the signatures unreadable.
    pub fn verify_orderers(&self, config: &ChannelConfig) -> Result<OrdererSignatures, BlockError> {
        verify_orderers(self.header(), self.signatures(), config)
    }
}

/// Checks the signatures in a block's metadata (`common.Metadata`) over its header, against the
/// policy that the channel has for blocks.
///
/// # Errors
/// [`BlockError::NotSatisfied`], or what makes the signatures unreadable.
pub fn verify_orderers(
    header: &Header,
    metadata: &[u8],
    config: &ChannelConfig,
) -> Result<OrdererSignatures, BlockError> {
    let found = signers(header, metadata, config)?;
    config.evaluate(BLOCK_VALIDATION, &found.valid)?;
    Ok(found)
}

fn signers(
    header: &Header,
    metadata: &[u8],
    config: &ChannelConfig,
) -> Result<OrdererSignatures, BlockError> {
    let metadata = Metadata::decode(metadata).map_err(|_| malformed("signatures of orderers"))?;
    if metadata.signatures.len() > MAX_SIGNATURES {
        return Err(malformed("signatures of orderers: too many"));
    }
    let (mut valid, mut refused) = (Vec::new(), Vec::new());
    for signature in &metadata.signatures {
        match signer(header, &metadata.value, signature, config) {
            Ok(identity) => valid.push(identity),
            Err(error) => refused.push(error),
        }
    }
    Ok(OrdererSignatures {
        valid: distinct(valid),
        refused,
    })
}

/// One signature: over the metadata's value, what names the signer, and the header.
fn signer(
    header: &Header,
    value: &[u8],
    signature: &MetadataSignature,
    config: &ChannelConfig,
) -> Result<ValidIdentity, BlockError> {
    // Orderers under BFT name themselves by their number in the configuration.
    let by_number = signature.signature_header.is_empty();
    let named = match by_number {
        true => &signature.identifier_header,
        false => &signature.signature_header,
    };
    let serialized = match by_number {
        true => {
            let header = IdentifierHeader::decode(named.as_slice())
                .map_err(|_| malformed("identifier of an orderer"))?;
            config
                .consenter(header.identifier)
                .ok_or(malformed("identifier of an orderer"))?
        }
        false => {
            SignatureHeader::decode(named.as_slice())
                .map_err(|_| malformed("signature header of an orderer"))?
                .creator
        }
    };
    let signed = [value, named, &header.to_der()].concat();
    verified(
        config.msps(),
        "orderer",
        &serialized,
        &signed,
        &signature.signature,
    )
}

/// The identity, if it is valid on the channel and signed the message.
pub(super) fn verified(
    msps: &MspManager,
    who: &'static str,
    serialized: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<ValidIdentity, BlockError> {
    let refused = |source: MspError| BlockError::Identity { who, source };
    let identity = msps.identity(serialized).map_err(refused)?;
    match identity.verify(message, signature) {
        Ok(()) => Ok(identity),
        Err(source) => Err(BlockError::Signature {
            who: format!(
                "{who} {} of {}",
                identity.certificate.subject(),
                identity.msp_id
            ),
            source,
        }),
    }
}
