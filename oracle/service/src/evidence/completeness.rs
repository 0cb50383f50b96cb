//! Whether every decision on a read that is in the blocks is recorded, and the other way round.
//!
//! The blocks are the judge: they come in order, each carries the hash of the one before, and
//! nobody can take a transaction out. A decision's entry is private data, which an organisation
//! could lose or withhold. So each valid `AuthorizeRead` of a stretch of blocks is looked up, and
//! each entry of the time that the stretch covers is looked for in the blocks.

use std::collections::BTreeSet;

use contract_interface::evidence::{AUDIT_BLOCKS_MAX, AUDIT_FINDINGS_MAX, AuditCompleteness};
use contract_interface::names::{events, transactions};
use contract_interface::{Digest, PageRequest, ReadFilter, ReadId, UtcTime};
use fabric_msp::block::{Block, Header, Transaction};
use futures::{StreamExt as _, TryStreamExt as _};

use super::EvidenceError;
use crate::ledger::{Ledger, LedgerError, Viewer};

/// Entries looked up at the same time.
const LOOKUPS: usize = 8;
/// Pages of entries looked through for those without a decision in the blocks.
const PAGES_MAX: usize = 500;
/// Type of an endorsed transaction in a channel header.
const ENDORSED: i32 = 3;

/// What the blocks say.
struct Walked {
    first: Header,
    last: Header,
    chain_holds: bool,
    data_holds: bool,
    reads: BTreeSet<ReadId>,
    /// The earliest and the latest time that a transaction of these blocks has.
    time: Option<(i64, i64)>,
}

/// Compares the blocks `from` to `to`, or to the newest and at most [`AUDIT_BLOCKS_MAX`], with the
/// recorded reads. `viewer` sees the entries that are looked for in the blocks; the decisions in
/// the blocks are looked up by the oracle for itself, since blocks do not say whose they are.
///
/// # Errors
///
/// [`EvidenceError`]; what is amiss with the records is a finding, no error.
pub async fn completeness(
    ledger: &Ledger,
    viewer: Viewer<'_>,
    from: u64,
    to: Option<u64>,
) -> Result<AuditCompleteness, EvidenceError> {
    let newest = Block::decode(&ledger.newest_block().await?)?.number();
    let to = to
        .unwrap_or(newest)
        .min(from.saturating_add(AUDIT_BLOCKS_MAX - 1));
    if from > to || to > newest {
        return Err(EvidenceError::Beyond { newest });
    }
    let walked = walk(ledger, from, to).await?;
    let missing = missing(ledger, &walked.reads).await?;
    let unfounded = unfounded(ledger, viewer, &walked).await?;
    let count = walked.reads.len() as u64;
    let previous: Option<[u8; 32]> = walked.first.previous_hash().try_into().ok();
    Ok(AuditCompleteness {
        from_block: from,
        previous_hash: previous.map(Digest::from_bytes),
        to_block: to,
        to_block_hash: Digest::from_bytes(walked.last.hash()),
        chain_holds: walked.chain_holds,
        data_holds: walked.data_holds,
        decided: count,
        recorded: count - missing.len() as u64,
        complete: walked.chain_holds
            && walked.data_holds
            && missing.is_empty()
            && unfounded.is_empty(),
        missing: missing.into_iter().take(AUDIT_FINDINGS_MAX).collect(),
        unfounded: unfounded.into_iter().take(AUDIT_FINDINGS_MAX).collect(),
    })
}

async fn walk(ledger: &Ledger, from: u64, to: u64) -> Result<Walked, EvidenceError> {
    let mut stretch = ledger.stretch(from, to);
    let (mut first, mut previous): (Option<Header>, Option<Header>) = (None, None);
    let (mut chain_holds, mut data_holds) = (true, true);
    let mut reads = BTreeSet::new();
    let mut time: Option<(i64, i64)> = None;
    while let Some(block) = stretch.next().await? {
        let header = block.header();
        chain_holds &= match &previous {
            Some(previous) => header.follows(previous),
            None => header.number() == from,
        };
        data_holds &= block.check_data().is_ok();
        for transaction in endorsed(&block) {
            if let Some(at) = transaction.unix_seconds() {
                let (first, last) = time.unwrap_or((at, at));
                time = Some((first.min(at), last.max(at)));
            }
            if let Some(read_id) = read_of(&transaction, ledger.chaincode()) {
                reads.insert(read_id);
            }
        }
        first.get_or_insert_with(|| header.clone());
        previous = Some(header.clone());
    }
    let (Some(first), Some(last)) = (first, previous) else {
        return Err(LedgerError::BlocksEnded.into());
    };
    Ok(Walked {
        first,
        chain_holds: chain_holds && last.number() == to,
        last,
        data_holds,
        reads,
        time,
    })
}

/// The valid endorsed transactions of a block. One that the peer found valid and that cannot be
/// read here would be a difference between Fabric's reading and ours: none of ours is like that.
fn endorsed(block: &Block) -> impl Iterator<Item = Transaction> {
    let places = (0..block.envelopes().len()).filter(|place| {
        let header = block.channel_header(*place);
        block.is_valid(*place) && header.is_ok_and(|header| header.r#type == ENDORSED)
    });
    places.filter_map(|place| block.transaction(place).ok())
}

/// The read that a transaction decided. It is known by its function, whose first letter chaincode
/// takes in either case, or by its event, should another contract's function have led there.
fn read_of(transaction: &Transaction, chaincode: &str) -> Option<ReadId> {
    if transaction.chaincode() != chaincode {
        return None;
    }
    let function = transaction.arguments().first()?;
    let called = function.eq_ignore_ascii_case(transactions::AUTHORIZE_READ.as_bytes());
    let event = transaction.event();
    let told = event
        .is_some_and(|(name, _)| name == events::READ_PERMITTED || name == events::READ_DENIED);
    (called || told)
        .then(|| transaction.tx_id().parse().ok())
        .flatten()
}

/// The decisions of which there is no entry.
async fn missing(ledger: &Ledger, reads: &BTreeSet<ReadId>) -> Result<Vec<ReadId>, EvidenceError> {
    let looked_up = futures::stream::iter(reads.iter().copied()).map(|id| async move {
        let entry = ledger.read(Viewer::Oracle, &id).await?;
        Ok::<_, LedgerError>((id, entry.is_some_and(|entry| entry.read_id == id)))
    });
    let looked_up: Vec<(ReadId, bool)> = looked_up.buffered(LOOKUPS).try_collect().await?;
    let missing = looked_up.into_iter().filter(|(_, recorded)| !recorded);
    Ok(missing.map(|(id, _)| id).collect())
}

/// Entries of the blocks' time that no valid transaction decided, neither in these blocks nor in
/// others.
async fn unfounded(
    ledger: &Ledger,
    viewer: Viewer<'_>,
    walked: &Walked,
) -> Result<Vec<ReadId>, EvidenceError> {
    let time = |seconds| UtcTime::from_unix_seconds(seconds).ok();
    let Some((Some(from), Some(to))) = walked.time.map(|(from, to)| (time(from), time(to))) else {
        return Ok(Vec::new());
    };
    let mut filter = ReadFilter {
        from: Some(from),
        to: Some(to),
        page: PageRequest::default(),
        ..ReadFilter::default()
    };
    let mut unfounded = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = ledger.reads(viewer, &filter).await?;
        for entry in page.reads {
            if !walked.reads.contains(&entry.read_id) && !is_decided(ledger, &entry.read_id).await?
            {
                unfounded.push(entry.read_id);
            }
        }
        match page.next_page_token {
            Some(next) => filter.page.page_token = Some(next),
            None => break,
        }
    }
    Ok(unfounded)
}

/// Whether a valid transaction anywhere on the channel decided the read.
async fn is_decided(ledger: &Ledger, id: &ReadId) -> Result<bool, EvidenceError> {
    let bytes = match ledger.block_of(&id.to_string()).await {
        Ok(bytes) => bytes,
        // Peers have no code of their own for a transaction that is not there.
        Err(LedgerError::Contract { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let block = Block::decode(&bytes)?;
    let decided = endorsed(&block).any(|transaction| {
        read_of(&transaction, ledger.chaincode()).is_some_and(|found| found == *id)
    });
    Ok(decided)
}
