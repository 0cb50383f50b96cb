//! Random transactions, simulated at one height and ordered at another: whatever comes of them,
//! the ledger read back from its log is the same. The seed is in the message of a failure.

use fabric_protos::protos::TxValidationCode as Code;
use prost::Message;

use super::super::{Metadata, ScanItem, Simulator};
use super::world::{CHAINCODE, Tx, World};
use crate::policy::parse_policy;

const COLLECTIONS: &str = r#"[
    {"name":"c","policy":"OR('Org1MSP.member','Org2MSP.member')"},
    {"name":"short","policy":"OR('Org1MSP.member')","blockToLive":3},
    {"name":"strict","policy":"OR('Org1MSP.member')",
     "endorsementPolicy":{"signaturePolicy":"OR('Org3MSP.peer')"}}
]"#;

/// A linear congruential generator: good enough to shuffle, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn key(&mut self) -> String {
        format!("k{:02}", self.roll(20))
    }

    fn collection(&mut self) -> &'static str {
        let names = ["c", "short", "strict", "_implicit_org_Org2MSP"];
        names[usize::try_from(self.roll(4)).unwrap()]
    }

    fn metadata(&mut self) -> Metadata {
        match self.roll(3) {
            0 => Metadata::new(),
            1 => Metadata::from([("note".to_owned(), b"n".to_vec())]),
            _ => {
                let policy = format!("OR('Org{}MSP.peer')", self.roll(3) + 1);
                let policy = parse_policy(&policy).unwrap().encode_to_vec();
                Metadata::from([("VALIDATION_PARAMETER".to_owned(), policy)])
            }
        }
    }
}

fn scan(sim: &mut Simulator, dice: &mut Dice) {
    let (start, end) = (dice.key(), dice.key());
    let end = if dice.roll(4) == 0 { "" } else { end.as_str() };
    let id = sim.range(CHAINCODE, &start, end).unwrap();
    let mut left = dice.roll(30) + 1;
    while left > 0
        && let Some(ScanItem::State(_)) = sim.next(id).unwrap()
    {
        left -= 1;
    }
}

/// One random call. What the ledger refuses is left out.
fn act(sim: &mut Simulator, dice: &mut Dice) {
    let (key, value) = (
        dice.key(),
        vec![b'a' + u8::try_from(dice.roll(20)).unwrap()],
    );
    let collection = dice.collection();
    let outcome = match dice.roll(14) {
        0 | 1 => sim.get_state(CHAINCODE, &key).map(drop),
        2..=4 => sim.put_state(CHAINCODE, &key, value),
        5 => sim.del_state(CHAINCODE, &key),
        6 => {
            scan(sim, dice);
            Ok(())
        }
        7 => sim.set_state_metadata(CHAINCODE, &key, dice.metadata()),
        8 => sim.private_hash(CHAINCODE, collection, &key).map(drop),
        9 => sim.get_private(CHAINCODE, collection, &key).map(drop),
        10 => sim.put_private(CHAINCODE, collection, &key, value),
        11 => sim.del_private(CHAINCODE, collection, &key),
        12 => sim.purge_private(CHAINCODE, collection, &key),
        _ => sim.set_private_metadata(CHAINCODE, collection, &key, dice.metadata()),
    };
    drop(outcome);
}

fn random_tx(world: &mut World, dice: &mut Dice) -> Tx {
    let endorsers: &[usize] = match dice.roll(6) {
        0 => &[1],
        1 => &[2],
        2 => &[1, 3],
        _ => &[1, 2, 3],
    };
    world.tx(CHAINCODE, endorsers, |sim| {
        sim.record_lifecycle_read(CHAINCODE);
        for _ in 0..=dice.roll(4) {
            act(sim, dice);
        }
    })
}

/// Runs so many blocks of random transactions and counts the codes.
pub(super) fn run(seed: u64, blocks: u64) -> (World, Vec<Code>) {
    let mut dice = Dice(seed);
    let mut world = World::with(Some("OR('Org1MSP.peer','Org2MSP.peer')"), COLLECTIONS);
    let keys: Vec<_> = (0..400).map(|i| format!("k05-{i:03}")).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    world.put(&pairs);
    let mut waiting = Vec::new();
    let mut codes = Vec::new();
    for _ in 0..blocks {
        for _ in 0..=dice.roll(4) {
            let tx = random_tx(&mut world, &mut dice);
            waiting.push(tx);
        }
        let ordered = usize::try_from(dice.roll(waiting.len() as u64) + 1).unwrap();
        let block: Vec<_> = waiting.drain(..ordered).collect();
        codes.extend(world.commit(&block.iter().collect::<Vec<_>>()));
    }
    (world, codes)
}

#[test]
fn random_transactions_leave_a_ledger_that_reads_back_the_same() {
    for seed in 1..=3 {
        let (world, codes) = run(seed, 30);
        for code in [
            Code::Valid,
            Code::MvccReadConflict,
            Code::EndorsementPolicyFailure,
        ] {
            assert!(codes.contains(&code), "seed {seed} never gives {code:?}");
        }
        let before = (world.channel.dump(), world.channel.info());
        let world = world.reopen();
        assert!(
            (world.channel.dump(), world.channel.info()) == before,
            "seed {seed}"
        );
    }
}
