//! Used nonces that no longer protect anything are purged, so that they do not pile up.
//!
//! A used nonce keeps its request from being taken twice. When the request is so old that no
//! transaction that the channel's clocks let through would take it, its nonce may go. Both the
//! clocks and the transaction's time must say so, with a whole window to spare; without clocks on
//! the channel nothing tells a stale nonce from a proposal dated into the future.

use std::collections::BTreeSet;

use contract_interface::limits::{NONCE_BATCH_MAX, REQUEST_WINDOW_SECONDS};
use contract_interface::names::{collections, transient};
use contract_interface::{ErrorCode, NoncesPurged, Role, StaleNonces, UtcTime};
use fabric_shim::{Stub, split_composite_key};

use super::clocks;
use crate::actor::Creator;
use crate::failure::Failure;
use crate::input;
use crate::keys::object_types;
use crate::ledger::{self, Ledger};
use crate::signed::UsedNonce;

/// Windows that must lie between a request and what the clocks say.
const WINDOWS_TO_SPARE: i64 = 2;
/// Nonces looked at by one [`list_stale`]. They lie in no order, and this is more than are used
/// within the windows.
const NONCES_SCANNED_MAX: usize = 20_000;

/// Keys of nonces that may be purged, as many as fit one [`purge`].
pub(super) async fn list_stale(stub: &Stub) -> Result<StaleNonces, Failure> {
    let ledger = Ledger::open(stub).await?;
    Creator::of(stub)?.require(&ledger, &[Role::Oracle]).await?;
    let mut keys = Vec::new();
    let Some(limit) = limit(&ledger).await? else {
        return Ok(StaleNonces { keys });
    };
    let mut nonces = stub
        .get_private_data_by_partial_composite_key(collections::RECORDS, object_types::NONCE, &[])
        .await?;
    let mut scanned = 0;
    while keys.len() < NONCE_BATCH_MAX
        && scanned < NONCES_SCANNED_MAX
        && let Some(found) = nonces.next().await?
    {
        scanned += 1;
        let value: UsedNonce = ledger::parse_salted("a nonce", &found.value)?;
        if value.iat < limit {
            keys.push(found.key);
        }
    }
    nonces.close().await?;
    Ok(StaleNonces { keys })
}

/// Purges the nonces whose keys are in the transient field `nonces`.
pub(super) async fn purge(stub: &Stub) -> Result<NoncesPurged, Failure> {
    let ledger = Ledger::open(stub).await?;
    Creator::of(stub)?.require(&ledger, &[Role::Oracle]).await?;
    let keys: BTreeSet<String> = input::json_transient(stub, transient::NONCES)?;
    if keys.len() > NONCE_BATCH_MAX {
        return Err(Failure::limit(format!(
            "more than {NONCE_BATCH_MAX} nonces at once"
        )));
    }
    if !keys.iter().all(|key| is_nonce_key(key)) {
        return Err(Failure::argument("a key is not that of a used nonce"));
    }
    let limit = limit(&ledger)
        .await?
        .ok_or_else(|| clocks::time_refused("the channel has no clocks yet"))?;
    let keys: Vec<String> = keys.into_iter().collect();
    let values: Vec<Option<UsedNonce>> = ledger.get_many_salted(&keys, "a nonce").await?;
    let mut purged = 0;
    for (key, value) in keys.iter().zip(values) {
        let Some(value) = value else { continue };
        if value.iat >= limit {
            return Err(Failure::new(
                ErrorCode::StateConflict,
                "a nonce still protects its request",
            ));
        }
        stub.purge_private_data(collections::RECORDS, key).await?;
        purged += 1;
    }
    Ok(NoncesPurged { purged })
}

fn is_nonce_key(key: &str) -> bool {
    split_composite_key(key).is_ok_and(|(object_type, _)| object_type == object_types::NONCE)
}

/// Nonces of requests signed before this time may go; none without clocks.
async fn limit(ledger: &Ledger<'_>) -> Result<Option<UtcTime>, Failure> {
    let Some(bound) = clocks::lower_bound(ledger).await? else {
        return Ok(None);
    };
    let now = bound.min(input::transaction_time(ledger.stub)?);
    let seconds = now.unix_seconds() - WINDOWS_TO_SPARE * REQUEST_WINDOW_SECONDS;
    Ok(Some(
        UtcTime::from_unix_seconds(seconds).unwrap_or(UtcTime::MIN),
    ))
}
