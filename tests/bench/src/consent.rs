//! What granting, deciding and listing cost as a patient's records and grants grow.
//!
//! Only the contract is measured: one endorsement of each transaction over a ledger in memory, with
//! its signatures checked. A channel adds the network, a second endorser, ordering and validation.

mod channel;

use std::{fmt::Write as _, time::Instant};

use anyhow::{Result, ensure};
use clap::Args;
use contract_interface::{
    PageRequest, Purpose, ReasonCode,
    access::{GrantFilter, ReadFilter},
    names::transactions,
    record::RecordFilter,
};
use fabric_protos::{kvrwset::HashedRwSet, rwset::TxReadWriteSet};
use fabric_shim::testing::{Tx, TxResult};
use prost::Message as _;

use crate::stopwatch::median;
use channel::{Channel, period, record_id};

/// How far the ledger grows.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Numbers of records and of grants at which to measure, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    sizes: Vec<u32>,
    /// Measurements of each operation; the table has the medians.
    #[arg(long, default_value_t = 51)]
    repeat: u32,
}

/// One operation at one size.
struct Cost {
    name: &'static str,
    milliseconds: f64,
    /// Keys that it reads, without those of ranges; of a range every key is read once.
    keys: usize,
}

/// Measures and writes the table.
pub(crate) fn run(options: &Options) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let measured = runtime.block_on(async {
        let mut channel = Channel::new().await?;
        let mut measured = Vec::new();
        for size in &options.sizes {
            let size = *size;
            channel.grow_records(size).await?;
            channel.grow_grants(size).await?;
            measured.push((size, costs(&mut channel, size, options.repeat).await?));
        }
        anyhow::Ok(measured)
    })?;
    table(&measured)
}

async fn costs(channel: &mut Channel, size: u32, repeat: u32) -> Result<Vec<Cost>> {
    let patient = channel.patient_id();
    let mut costs = Vec::new();
    for (name, even, reason) in [
        (
            "decide, permitted (AuthorizeRead)",
            true,
            ReasonCode::Granted,
        ),
        ("decide, denied (AuthorizeRead)", false, ReasonCode::NoGrant),
    ] {
        let mut timed = Timed::default();
        for turn in 0..repeat {
            let number = spread(turn, repeat, size, even);
            let tx = channel.reading(number)?;
            let result = timed.run(channel, tx).await?;
            ensure!(channel.reason(&result)? == reason, "{name} {number}");
            channel.commit(&result)?;
        }
        costs.push(timed.cost(name));
    }
    costs.push(explain(channel, size, repeat).await?);
    let page = PageRequest::default();
    let middle = period(size / 2)?;
    let records = RecordFilter {
        patient: patient.into(),
        record_type: None,
        from: None,
        to: None,
        page: page.clone(),
    };
    let of_an_hour = RecordFilter {
        from: Some(middle.start),
        to: Some(middle.start),
        ..records.clone()
    };
    let grants = GrantFilter {
        patient: Some(patient.into()),
        page: page.clone(),
        ..GrantFilter::default()
    };
    let reads = ReadFilter {
        patient: Some(patient.into()),
        page,
        ..ReadFilter::default()
    };
    for (name, transaction, filter) in [
        (
            "page of 50 records (ListRecords)",
            transactions::LIST_RECORDS,
            serde_json::to_vec(&records)?,
        ),
        (
            "records of an hour (ListRecords)",
            transactions::LIST_RECORDS,
            serde_json::to_vec(&of_an_hour)?,
        ),
        (
            "page of 50 grants (ListGrants)",
            transactions::LIST_GRANTS,
            serde_json::to_vec(&grants)?,
        ),
        (
            "page of 50 reads (ListReads)",
            transactions::LIST_READS,
            serde_json::to_vec(&reads)?,
        ),
    ] {
        let mut timed = Timed::default();
        for _ in 0..repeat {
            let tx = Tx::evaluate(transaction).argument(filter.clone());
            timed.run(channel, tx).await?;
        }
        costs.push(timed.cost(name));
    }
    costs.extend(granting(channel, size, repeat).await?);
    Ok(costs)
}

async fn explain(channel: &Channel, size: u32, repeat: u32) -> Result<Cost> {
    let mut timed = Timed::default();
    for turn in 0..repeat {
        let tx = Tx::evaluate(transactions::EXPLAIN_READ)
            .argument(record_id(spread(turn, repeat, size, true)).to_string())
            .argument(channel.provider_id().to_string())
            .argument(Purpose::Treat.to_string())
            .argument("")
            .argument(channel.time(0)?.to_string());
        timed.run(channel, tx).await?;
    }
    Ok(timed.cost("explain (ExplainRead)"))
}

/// Gives grants and ends them again, so that there are as many as before. Their numbers are the
/// highest, which the others never reach.
async fn granting(channel: &mut Channel, size: u32, repeat: u32) -> Result<[Cost; 2]> {
    let (mut given, mut ended) = (Timed::default(), Timed::default());
    let (turns, provider) = (0..repeat, channel.provider_id());
    let number = |turn: u32| u32::MAX - size - turn;
    for turn in turns.clone() {
        let record = spread(turn, repeat, size, true);
        let tx = channel.granting(number(turn), provider, Some(record))?;
        let result = given.run(channel, tx).await?;
        channel.commit(&result)?;
    }
    for turn in turns {
        let tx = channel.revocation(number(turn))?;
        let result = ended.run(channel, tx).await?;
        channel.commit(&result)?;
    }
    Ok([
        given.cost("give a grant (GrantAccess)"),
        ended.cost("end a grant (RevokeAccess)"),
    ])
}

/// The measurements of one operation.
#[derive(Default)]
struct Timed {
    milliseconds: Vec<f64>,
    keys: Vec<f64>,
}

impl Timed {
    async fn run(&mut self, channel: &Channel, tx: Tx) -> Result<TxResult> {
        let start = Instant::now();
        let result = channel.run(tx).await?;
        self.milliseconds
            .push(start.elapsed().as_secs_f64() * 1000.0);
        self.keys.push(keys_read(&result)? as f64);
        Ok(result)
    }

    fn cost(&self, name: &'static str) -> Cost {
        Cost {
            name,
            milliseconds: median(&self.milliseconds),
            keys: median(&self.keys) as usize,
        }
    }
}

/// The `turn`th of `turns` numbers below `size` that lie evenly over the whole; all are even or
/// all odd.
fn spread(turn: u32, turns: u32, size: u32, even: bool) -> u32 {
    let pairs = u64::from(size / 2).max(1);
    let pair = u64::from(turn) * pairs / u64::from(turns);
    u32::try_from(2 * pair).unwrap_or(0) + u32::from(!even)
}

/// Single keys read, public and private, as the read-write set has them.
fn keys_read(result: &TxResult) -> Result<usize> {
    let mut count = result.reads.len();
    for namespace in TxReadWriteSet::decode(result.rwset.as_slice())?.ns_rwset {
        for collection in namespace.collection_hashed_rwset {
            let hashed = HashedRwSet::decode(collection.hashed_rwset.as_slice())?;
            count += hashed.hashed_reads.len();
        }
    }
    Ok(count)
}

fn table(measured: &[(u32, Vec<Cost>)]) -> Result<String> {
    let mut report = String::from(
        "# Consent\n\nMilliseconds of one endorsement (keys read one by one), by the number of a \
         patient's records and of the patient's grants. The index of records is in the order of \
         the periods' ends: a query by time looks through what ended later, up to the bound of \
         one page. Decisions read no range.\n\n|",
    );
    for (size, _) in measured {
        write!(report, " | {size}")?;
    }
    report.push_str(" | last ÷ first |\n|---|");
    report.push_str(&"---|".repeat(measured.len() + 1));
    report.push('\n');
    let (Some((_, first)), Some((_, last))) = (measured.first(), measured.last()) else {
        return Ok(report);
    };
    for (row, (small, large)) in first.iter().zip(last).enumerate() {
        write!(report, "| {}", small.name)?;
        for cost in measured.iter().filter_map(|(_, costs)| costs.get(row)) {
            write!(report, " | {:.2} ({})", cost.milliseconds, cost.keys)?;
        }
        writeln!(
            report,
            " | {:.2} |",
            large.milliseconds / small.milliseconds
        )?;
    }
    Ok(report)
}
