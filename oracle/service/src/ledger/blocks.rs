//! The channel's blocks, as the organisation's peers give them.
//!
//! Single blocks come by the query chaincode `qscc`, stretches of them as a stream. Headers are
//! remembered: a committed header never changes, and evidence asks for the same ones again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fabric_gateway::{BlockEvents, Call, Contract, Network, Start};
use fabric_msp::block::{Block, Header};

use super::{Ledger, LedgerError};

/// System chaincode that answers queries about blocks.
const QUERY_CHAINCODE: &str = "qscc";
/// Headers remembered, about 100 bytes each.
const HEADERS_REMEMBERED_MAX: usize = 65_536;

/// Blocks of one channel; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    network: Network,
    query: Contract,
    /// Std lock: never held across an await.
    headers: Arc<Mutex<BTreeMap<u64, Header>>>,
}

impl Blocks {
    pub(super) fn new(network: Network) -> Self {
        Self {
            query: network.contract(QUERY_CHAINCODE),
            network,
            headers: Arc::default(),
        }
    }

    async fn query(&self, function: &str, argument: String) -> Result<Vec<u8>, LedgerError> {
        let call = Call::new(function)
            .argument(self.network.channel().to_owned())
            .argument(argument);
        Ok(self.query.evaluate(call).await?)
    }

    fn remembered(&self, from: u64, to: u64) -> Vec<Header> {
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = headers.range(from..=to).map(|(_, header)| header.clone());
        // Only what is there without gap.
        found
            .zip(from..)
            .take_while(|(header, number)| header.number() == *number)
            .map(|(header, _)| header)
            .collect()
    }

    fn remember(&self, header: Header) {
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert(header.number(), header);
        while headers.len() > HEADERS_REMEMBERED_MAX {
            headers.pop_first();
        }
    }
}

/// A stretch of blocks, from the first to the last, each once.
#[derive(Debug)]
pub struct Stretch {
    events: BlockEvents,
    next: u64,
    last: u64,
}

impl Stretch {
    /// The next block, or none behind the last.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Blocks`] or [`LedgerError::Block`].
    pub async fn next(&mut self) -> Result<Option<Block>, LedgerError> {
        if self.next > self.last {
            return Ok(None);
        }
        let event = match self.events.next().await {
            Some(event) => event.map_err(|error| LedgerError::Blocks(Box::new(error)))?,
            None => return Err(LedgerError::BlocksEnded),
        };
        self.next = event.number.saturating_add(1);
        Block::decode(&event.encoded)
            .map(Some)
            .map_err(LedgerError::Block)
    }
}

impl Ledger {
    /// The block that holds a transaction, as bytes of a `common.Block`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; a transaction that is in no block is [`LedgerError::Contract`].
    pub async fn block_of(&self, transaction_id: &str) -> Result<Vec<u8>, LedgerError> {
        self.blocks
            .query("GetBlockByTxID", transaction_id.to_owned())
            .await
    }

    /// A block, as bytes of a `common.Block`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; a block that is not there yet is [`LedgerError::Contract`].
    pub async fn block(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        self.blocks
            .query("GetBlockByNumber", number.to_string())
            .await
    }

    /// The newest block, as bytes of a `common.Block`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn newest_block(&self) -> Result<Vec<u8>, LedgerError> {
        // The number that no block has means the newest.
        self.block(u64::MAX).await
    }

    /// The blocks from one to another, both included. The last MUST be committed already: a
    /// stretch waits for blocks that are to come.
    pub fn stretch(&self, from: u64, to: u64) -> Stretch {
        Stretch {
            events: self.blocks.network.block_events(Start::Block(from)),
            next: from,
            last: to,
        }
    }

    /// The headers from one committed block to another, both included.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn headers(&self, from: u64, to: u64) -> Result<Vec<Header>, LedgerError> {
        let mut headers = self.blocks.remembered(from, to);
        let missing = headers.last().map_or(from, |last| last.number() + 1);
        if missing > to {
            return Ok(headers);
        }
        let mut stretch = self.stretch(missing, to);
        while let Some(block) = stretch.next().await? {
            self.blocks.remember(block.header().clone());
            headers.push(block.header().clone());
        }
        Ok(headers)
    }
}
