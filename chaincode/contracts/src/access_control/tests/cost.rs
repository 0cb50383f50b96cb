//! What a decision reads does not grow with the patient's grants and records.

use contract_interface::{Grantee, ParticipantId, Purpose, ReasonCode, Rule};

use crate::testing::Who::*;
use crate::testing::*;

/// Keys that the decision on one read asks the ledger for: those in its read set, of which the
/// blocks keep the hashes.
async fn keys_read(world: &mut World) -> (ReasonCode, usize, usize) {
    let record = world.record(1).record_id;
    let tx = world.authorize_read(Provider1, record, Purpose::Treat);
    let result = world.simulate(Oracle1, tx.clone()).await;
    let reads = hashes(&result).keys_read.len();
    let reason = world.decide(tx).await;
    (reason, reads, result.private_writes.len())
}

async fn world_of(grants: u32, records: u32) -> World {
    let mut world = World::populated().await;
    for batch in 0..records.div_ceil(500) {
        let first = batch * 500 + 1;
        let last = (first + 499).min(records);
        let records: Vec<_> = (first..=last).map(|n| world.record(n)).collect();
        let tx = world.register_records(&records);
        world.ok(Oracle1, tx).await;
    }
    world
        .give(
            Patient,
            Rule::permit(Grantee::Participant(Provider1.id()), vec![Purpose::Treat]),
        )
        .await;
    for n in 1..grants {
        let mut id = [0xee; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let grantee = Grantee::Participant(ParticipantId::from_bytes(id));
        world
            .give(Patient, Rule::permit(grantee, vec![Purpose::Treat]))
            .await;
    }
    world
}

#[tokio::test]
async fn ten_or_two_thousand_grants_and_records_cost_the_same() {
    let few = keys_read(&mut world_of(10, 10).await).await;
    let many = keys_read(&mut world_of(2000, 2000).await).await;
    assert_eq!(few, many);
    assert_eq!(few.0, ReasonCode::Granted);
}
