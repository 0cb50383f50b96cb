//! Organisations' clocks on the channel.
//!
//! Who submits a transaction states its time, so who goes back in time could revive what has
//! ended. Each organisation's oracle therefore writes its time on the channel now and then, and a
//! transaction whose time lies well before the upper median of these clocks is refused. To hold
//! the bound back more than half of the organisations must help, to push it forward at least half.
//! A clock that was pushed too far stays there: its organisation has to be talked to.

use std::collections::BTreeSet;

use contract_interface::limits::{CLOCKS_MAX, REQUEST_WINDOW_SECONDS};
use contract_interface::{ErrorCode, MspId, OrganizationClock, Role, UtcTime};
use fabric_shim::Stub;

use crate::actor::Creator;
use crate::failure::Failure;
use crate::input;
use crate::keys;
use crate::ledger::{self, Ledger};

/// Moves the clock of the creator's organisation to `time`, which must be about the transaction's.
pub(super) async fn tick(stub: &Stub, time: UtcTime) -> Result<OrganizationClock, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let tx_time = input::transaction_time(stub)?;
    if time.abs_diff(tx_time) > REQUEST_WINDOW_SECONDS.unsigned_abs() {
        return Err(Failure::argument(
            "time is not about the transaction's time",
        ));
    }
    let key = keys::public_clock(&creator.msp_id)?;
    let clock = OrganizationClock {
        msp_id: creator.msp_id,
        time,
    };
    let old: Option<OrganizationClock> = match stub.get_state(&key).await? {
        Some(bytes) => Some(ledger::parse("a clock", &bytes)?),
        None => None,
    };
    match old {
        Some(old) if old.time > time => {
            return Err(time_refused("the organisation's clock stands later"));
        }
        Some(old) if old.time == time => return Ok(old),
        Some(_) => {}
        None => add_to_directory(&ledger, &clock.msp_id).await?,
    }
    ledger.put_public(&key, &clock).await?;
    Ok(clock)
}

async fn add_to_directory(ledger: &Ledger<'_>, msp_id: &MspId) -> Result<(), Failure> {
    let mut msp_ids = directory(ledger).await?;
    msp_ids.insert(msp_id.clone());
    if msp_ids.len() > CLOCKS_MAX {
        return Err(Failure::limit(format!(
            "the channel has {CLOCKS_MAX} clocks already"
        )));
    }
    ledger.put_public(&keys::public_clocks()?, &msp_ids).await
}

/// Organisations that have a clock.
async fn directory(ledger: &Ledger<'_>) -> Result<BTreeSet<MspId>, Failure> {
    match ledger.stub.get_state(&keys::public_clocks()?).await? {
        Some(bytes) => ledger::parse("the list of clocks", &bytes),
        None => Ok(BTreeSet::new()),
    }
}

/// The earliest time that a transaction may state; none before the first tick.
pub(crate) async fn lower_bound(ledger: &Ledger<'_>) -> Result<Option<UtcTime>, Failure> {
    let clocks = directory(ledger).await?;
    if clocks.is_empty() {
        return Ok(None);
    }
    let keys = clocks
        .iter()
        .map(keys::public_clock)
        .collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut times = Vec::with_capacity(keys.len());
    for value in ledger.stub.get_multiple_states(&keys).await? {
        let bytes = value.ok_or_else(|| Failure::corrupt("a clock"))?;
        let clock: OrganizationClock = ledger::parse("a clock", &bytes)?;
        times.push(clock.time);
    }
    Ok(upper_median(times).map(window_before))
}

/// Of an even number of times the later of the two in the middle.
fn upper_median(mut times: Vec<UtcTime>) -> Option<UtcTime> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn window_before(time: UtcTime) -> UtcTime {
    UtcTime::from_unix_seconds(time.unix_seconds() - REQUEST_WINDOW_SECONDS).unwrap_or(UtcTime::MIN)
}

pub(super) fn time_refused(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::TimeRefused, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_median_needs_a_majority_to_go_back() {
        for (times, median) in [
            (vec![], None),
            (vec![5], Some(5)),
            (vec![9, 1], Some(9)),
            (vec![1, 9, 5], Some(5)),
            (vec![9, 1, 7, 3], Some(7)),
            (vec![0, 0, 9, 9, 9], Some(9)),
            (vec![0, 0, 0, 9, 9], Some(0)),
        ] {
            let time = |seconds: &i64| UtcTime::from_unix_seconds(*seconds).unwrap();
            let found = upper_median(times.iter().map(time).collect());
            assert_eq!(found, median.as_ref().map(time), "{times:?}");
        }
    }

    #[test]
    fn the_window_before_the_first_time_is_the_first_time() {
        assert_eq!(window_before(UtcTime::MIN), UtcTime::MIN);
    }
}
