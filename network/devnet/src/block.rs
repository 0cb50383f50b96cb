//! Reading blocks: headers, validation codes and events of their transactions.

use fabric_protos::common::{
    Block, BlockMetadataIndex, ChannelHeader, Envelope, HeaderType, Payload,
};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, FilteredBlock,
    FilteredChaincodeAction, FilteredTransaction, FilteredTransactionActions,
    ProposalResponsePayload, Transaction, TxValidationCode, filtered_transaction,
};
use prost::Message;

/// One transaction of a block, as far as clients ask for it.
#[derive(Clone, Debug)]
pub(crate) struct BlockTransaction {
    pub(crate) header: ChannelHeader,
    pub(crate) code: TxValidationCode,
    data: Vec<u8>,
}

/// The number of a block.
pub(crate) fn number_of(block: &Block) -> u64 {
    block.header.as_ref().map_or(0, |header| header.number)
}

/// The transactions that can be read at all, in order.
pub(crate) fn transactions(block: &Block) -> Vec<BlockTransaction> {
    let codes = block.metadata.as_ref().and_then(|metadata| {
        let filter = BlockMetadataIndex::TransactionsFilter as usize;
        metadata.metadata.get(filter)
    });
    let code = |index: usize| {
        let code = codes.and_then(|codes| codes.get(index)).copied();
        code.and_then(|code| TxValidationCode::try_from(i32::from(code)).ok())
            .unwrap_or(TxValidationCode::NotValidated)
    };
    let envelopes = block.data.iter().flat_map(|data| &data.data).enumerate();
    envelopes
        .filter_map(|(index, bytes)| {
            let envelope = Envelope::decode(bytes.as_slice()).ok()?;
            let payload = Payload::decode(envelope.payload.as_slice()).ok()?;
            let header = ChannelHeader::decode(payload.header?.channel_header.as_slice()).ok()?;
            Some(BlockTransaction {
                header,
                code: code(index),
                data: payload.data,
            })
        })
        .collect()
}

impl BlockTransaction {
    /// The chaincode events of its actions; a transaction has one action.
    pub(crate) fn events(&self) -> Vec<ChaincodeEvent> {
        let Ok(transaction) = Transaction::decode(self.data.as_slice()) else {
            return Vec::new();
        };
        let events = transaction.actions.iter().filter_map(|action| {
            let payload = ChaincodeActionPayload::decode(action.payload.as_slice()).ok()?;
            let response = payload.action?.proposal_response_payload;
            let response = ProposalResponsePayload::decode(response.as_slice()).ok()?;
            let action = ChaincodeAction::decode(response.extension.as_slice()).ok()?;
            let event = ChaincodeEvent::decode(action.events.as_slice()).ok()?;
            let named = !event.chaincode_id.is_empty()
                && !event.event_name.is_empty()
                && !event.tx_id.is_empty();
            named.then_some(event)
        });
        events.collect()
    }

    fn is_endorsed(&self) -> bool {
        self.header.r#type == i32::from(HeaderType::EndorserTransaction)
    }
}

/// Whether the block holds the channel's configuration.
pub(crate) fn is_config_block(block: &Block) -> bool {
    let config = i32::from(HeaderType::Config);
    transactions(block)
        .first()
        .is_some_and(|first| first.header.r#type == config)
}

/// A block without contents: IDs, codes, event names.
pub(crate) fn filtered_block(block: &Block) -> FilteredBlock {
    let transactions = transactions(block);
    let channel_id = transactions
        .first()
        .map(|first| first.header.channel_id.clone())
        .unwrap_or_default();
    let filtered = transactions.iter().map(|transaction| {
        let actions = transaction.is_endorsed().then(|| {
            let actions = transaction.events().into_iter().map(|event| {
                let event = ChaincodeEvent {
                    payload: Vec::new(),
                    ..event
                };
                FilteredChaincodeAction {
                    chaincode_event: Some(event),
                }
            });
            filtered_transaction::Data::TransactionActions(FilteredTransactionActions {
                chaincode_actions: actions.collect(),
            })
        });
        FilteredTransaction {
            txid: transaction.header.tx_id.clone(),
            r#type: transaction.header.r#type,
            tx_validation_code: transaction.code.into(),
            data: actions,
        }
    });
    FilteredBlock {
        channel_id,
        number: number_of(block),
        filtered_transactions: filtered.collect(),
    }
}
