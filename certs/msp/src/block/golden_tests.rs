//! Blocks of a peer of Fabric 3.1.5: the channel's genesis, two approvals and the commit of a
//! chaincode's definition, under `tests/golden/blocks`.

use super::*;

fn blocks() -> Vec<Block> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/blocks");
    let read = |number| std::fs::read(format!("{folder}/{number}.block")).unwrap();
    (0..4)
        .map(|number| Block::decode(&read(number)).unwrap())
        .collect()
}

#[test]
fn blocks_of_fabric_hold() {
    let blocks = blocks();
    let headers: Vec<Header> = blocks.iter().map(|block| block.header().clone()).collect();
    check_chain(&headers).unwrap();
    let config = ChannelConfig::from_block(&blocks[0]).unwrap();
    assert_eq!(config.channel_id(), "mychannel");
    let names: Vec<&str> = config
        .msps()
        .msps()
        .map(|msp| msp.msp_id().as_str())
        .collect();
    assert_eq!(names, ["OrdererMSP", "Org1MSP", "Org2MSP"]);
    for block in &blocks[1..] {
        block.check_data().unwrap();
        assert_eq!(block.last_config().unwrap(), 0);
        let signed = block.verify_orderers(&config).unwrap();
        assert_eq!((signed.valid.len(), signed.refused.len()), (1, 0));
        assert!(block.is_valid(0));
        let transaction = block.transaction(0).unwrap();
        assert_eq!(transaction.chaincode(), "_lifecycle");
        transaction.verify_creator(config.msps()).unwrap();
        for endorser in transaction.verify_endorsers(config.msps()) {
            endorser.unwrap();
        }
    }
}

#[test]
fn the_commit_of_a_definition_is_endorsed_by_the_majority() {
    let blocks = blocks();
    let config = ChannelConfig::from_block(&blocks[0]).unwrap();
    let endorsers = |block: &Block| {
        let transaction = block.transaction(0).unwrap();
        transaction.valid_endorsers(config.msps())
    };
    config.evaluate_lifecycle(&endorsers(&blocks[3])).unwrap();
    // An approval concerns one organisation, and its peer alone endorses it.
    assert!(config.evaluate_lifecycle(&endorsers(&blocks[1])).is_err());
    let commit = blocks[3].transaction(0).unwrap();
    let definition = ChaincodeDefinition::committed_by(&commit).unwrap();
    assert_eq!(
        (definition.name.as_str(), definition.sequence),
        ("salus", 1)
    );
    assert_eq!(definition.version, "1.0");
    let approval = blocks[2].transaction(0).unwrap();
    assert!(ChaincodeDefinition::committed_by(&approval).is_err());
}
