//! One channel.

use std::sync::Arc;

use crate::contract::Contract;
use crate::events::{BlockEvents, ChaincodeEvents, FilteredBlockEvents, Start};
use crate::gateway::Gateway;

/// A channel; cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) gateway: Gateway,
    pub(crate) channel: Arc<str>,
}

impl Network {
    pub(crate) fn new(gateway: Gateway, channel: String) -> Self {
        Self {
            gateway,
            channel: channel.into(),
        }
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// A chaincode on the channel.
    pub fn contract(&self, chaincode: impl Into<String>) -> Contract {
        Contract::new(self.clone(), chaincode.into())
    }

    /// Events of a chaincode's valid transactions. The stream survives the loss of a peer.
    pub fn chaincode_events(&self, chaincode: impl Into<String>, start: Start) -> ChaincodeEvents {
        ChaincodeEvents::open(self.clone(), chaincode.into(), start)
    }

    /// Whole blocks. The identity needs the channel's reading right for blocks.
    pub fn block_events(&self, start: Start) -> BlockEvents {
        BlockEvents::open(self.clone(), start)
    }

    /// Blocks reduced to transaction IDs, validation codes and names of events.
    pub fn filtered_block_events(&self, start: Start) -> FilteredBlockEvents {
        FilteredBlockEvents::open(self.clone(), start)
    }
}
