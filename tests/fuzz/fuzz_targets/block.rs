//! A Fabric block, as evidence: everything that is read of it before and after its signatures are checked.
#![no_main]

use aws_lc_rs::digest::{Context, SHA256};
use fabric_msp::block::{Block, ChaincodeDefinition, ChannelConfig};
use fabric_protos::common;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(mut block) = common::Block::decode(data) else {
        return;
    };
    // What the envelopes say is reached only below a header that commits to them.
    if let Some(header) = &mut block.header {
        let mut hash = Context::new(&SHA256);
        let envelopes = block.data.iter().flat_map(|data| &data.data);
        envelopes.for_each(|envelope| hash.update(envelope));
        header.data_hash = hash.finish().as_ref().to_vec();
    }
    let Ok(block) = Block::decode(&block.encode_to_vec()) else {
        return;
    };
    assert!(block.check_data().is_ok() && block.number() == block.header().number());
    drop((block.last_config(), block.header().hash()));
    let config = ChannelConfig::from_block(&block);
    for index in 0..block.envelopes().len() {
        let Ok(transaction) = block.transaction(index) else {
            continue;
        };
        drop(ChaincodeDefinition::committed_by(&transaction));
        drop((transaction.event(), transaction.unix_seconds()));
        drop(transaction.purged("salus", "records"));
        if let Ok(config) = &config {
            drop(transaction.verify_creator(config.msps()));
            drop(block.verify_orderers(config));
        }
    }
    if let Ok(config) = config {
        for path in [
            "/Channel/Application/Endorsement",
            "/Channel/Readers",
            "/Channel/Orderer/BlockValidation",
        ] {
            drop(config.evaluate(path, &[]));
        }
    }
});
