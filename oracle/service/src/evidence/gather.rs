//! Gathering the evidence of one record.

use std::collections::BTreeSet;

use contract_interface::evidence::{
    BLOCK_BYTES_MAX, Base64, ChainHeader, DeviceEvidence, Evidence, FORMAT, HEADERS_MAX,
};
use contract_interface::{Digest, Record, Source};
use fabric_msp::block::{Block, BlockError, ChaincodeDefinition, Header};

use super::EvidenceError;
use crate::ledger::{Ledger, Viewer};

/// A block as it came, and read.
struct Fetched {
    bytes: Vec<u8>,
    block: Block,
}

impl Fetched {
    fn read(bytes: Vec<u8>) -> Result<Self, EvidenceError> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(EvidenceError::TooLarge { bytes: bytes.len() });
        }
        let block = Block::decode(&bytes)?;
        Ok(Self { bytes, block })
    }
}

/// Gathers what shows `record`, which the caller may see, to be registered.
///
/// # Errors
///
/// [`EvidenceError`] when a block cannot be had, or is not the one that was asked for.
pub async fn gather(ledger: &Ledger, record: Record) -> Result<Evidence, EvidenceError> {
    let registration = Fetched::read(ledger.block_of(&record.state.tx_id).await?)?;
    let definition = definition(ledger, &registration.block, &record.state.tx_id).await?;
    let (headers, tip) = headers(ledger, registration.block.number()).await?;
    let mut numbers = BTreeSet::from([registration.block.last_config()?, tip.last_config()?]);
    if let Some(definition) = &definition {
        numbers.insert(definition.block.last_config()?);
    }
    let mut configurations = Vec::with_capacity(numbers.len());
    for number in numbers {
        let block = Fetched::read(ledger.block(number).await?)?;
        configurations.push(Base64(block.bytes));
    }
    Ok(Evidence {
        format: FORMAT.to_owned(),
        channel: ledger.channel().to_owned(),
        chaincode: ledger.chaincode().to_owned(),
        device: device(ledger, &record).await?,
        record,
        registration: Base64(registration.bytes),
        definition: definition.map(|definition| Base64(definition.bytes)),
        configurations,
        headers: headers.iter().map(chain_header).collect(),
        tip_signatures: Base64(tip.signatures().to_vec()),
    })
}

/// The block of the definition under which the registration was endorsed. The registration read
/// the definition's sequence number, and with it the place where that was written.
async fn definition(
    ledger: &Ledger,
    registration: &Block,
    tx_id: &str,
) -> Result<Option<Fetched>, EvidenceError> {
    let position = registration
        .position(tx_id)
        .ok_or_else(|| BlockError::NoTransaction {
            number: registration.number(),
            transaction: tx_id.to_owned(),
        })?;
    let transaction = registration.transaction(position)?;
    match ChaincodeDefinition::read_by(&transaction) {
        Some(version) => {
            let bytes = ledger.block(version.block).await?;
            Fetched::read(bytes).map(Some)
        }
        None => Ok(None),
    }
}

/// Headers without gap that hold the registration, and the block of the last one.
async fn headers(
    ledger: &Ledger,
    registration: u64,
) -> Result<(Vec<Header>, Block), EvidenceError> {
    let newest = Fetched::read(ledger.newest_block().await?)?.block;
    let span = HEADERS_MAX as u64;
    // From the start, if that fits: block 0 has no signatures, and only the chain leads to it.
    let from = if newest.number() < span {
        0
    } else {
        registration
    };
    let to = newest.number().min(from + span - 1);
    let last = if to == newest.number() {
        newest
    } else {
        Fetched::read(ledger.block(to).await?)?.block
    };
    Ok((ledger.headers(from, to).await?, last))
}

fn chain_header(header: &Header) -> ChainHeader {
    let previous: Option<[u8; 32]> = header.previous_hash().try_into().ok();
    ChainHeader {
        number: header.number(),
        previous_hash: previous.map(Digest::from_bytes),
        data_hash: Digest::from_bytes(*header.data_hash()),
    }
}

/// The registered certificate of the device, if the own organisation registered it: others'
/// devices are not shown here.
async fn device(ledger: &Ledger, record: &Record) -> Result<Option<DeviceEvidence>, EvidenceError> {
    let Source::DeviceId(id) = &record.metadata.source else {
        return Ok(None);
    };
    if record.state.msp_id.as_str() != ledger.msp_id().as_str() {
        return Ok(None);
    }
    let device = ledger.device(Viewer::Oracle, id).await?;
    Ok(device.map(|device| DeviceEvidence {
        device_id: device.device_id,
        msp_id: device.msp_id,
        thumbprint: device.thumbprint,
    }))
}
