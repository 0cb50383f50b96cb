//! Lists of public halves: what an organisation registered, and the versions of a record.

use contract_interface::limits::RECORD_VERSIONS_MAX;
use contract_interface::names::transactions;
use contract_interface::record::{RegisteredFilter, RegisteredPage, RegisteredRecord};
use contract_interface::{RecordId, RecordState};
use fabric_shim::{KeyValue, Stub};

use crate::access_control::reads::record_not_found;
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::{last_attribute, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::Query;

/// Portions of public state that one page looks at, each as many keys as the page may still hold.
const PORTIONS_MAX: usize = 16;

/// The records that the viewer's organisation registered, in the order of their IDs.
pub(super) async fn registered(
    stub: &Stub,
    filter: &RegisteredFilter,
) -> Result<RegisteredPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let msp_id = viewer.administers()?;
    let items = filter.page.items()?;
    let query = Query::new(transactions::LIST_REGISTERED, filter, &viewer)?;
    // Of public state the peer pages itself; its bookmark is inside the token.
    let mut bookmark = match &filter.page.page_token {
        Some(token) => query.open(&ledger.blinding, token)?,
        None => String::new(),
    };
    let mut records = Vec::new();
    for _ in 0..PORTIONS_MAX {
        let portion = i32::try_from(items - records.len()).unwrap_or(i32::MAX);
        let (found, metadata) = stub
            .get_state_by_partial_composite_key_with_pagination(
                object_types::RECORD,
                &[],
                portion,
                &bookmark,
            )
            .await?;
        for entry in found {
            let record = read(&entry)?;
            if record.state.msp_id == *msp_id {
                records.push(record);
            }
        }
        bookmark = metadata.bookmark;
        if bookmark.is_empty() || records.len() >= items {
            break;
        }
    }
    let next_page_token = (!bookmark.is_empty())
        .then(|| query.seal(&ledger.blinding, &bookmark))
        .transpose()?;
    Ok(RegisteredPage {
        records,
        next_page_token,
    })
}

fn read(entry: &KeyValue) -> Result<RegisteredRecord, Failure> {
    Ok(RegisteredRecord {
        record_id: last_attribute(&entry.key)?,
        state: ledger::parse("a record", &entry.value)?,
    })
}

/// The record and all versions before it, oldest first. Erased ones are among them: their public
/// halves link the others. None of this is more than the channel's members see anyway.
pub(super) async fn versions(stub: &Stub, id: &RecordId) -> Result<RegisteredPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    Viewer::of(&ledger).await?;
    let mut records = Vec::new();
    let mut next = Some(*id);
    while let Some(record_id) = next {
        let states = ledger.record_states(&[record_id]).await?;
        let Some(Some(state)) = states.into_iter().next() else {
            return Err(record_not_found());
        };
        next = previous(&state)?;
        records.push(RegisteredRecord { record_id, state });
    }
    records.reverse();
    Ok(RegisteredPage {
        records,
        next_page_token: None,
    })
}

/// The version before. Versions count down to 1, which bounds the chain.
fn previous(state: &RecordState) -> Result<Option<RecordId>, Failure> {
    let ends = state.version == 1;
    if ends != state.previous.is_none() || state.version > RECORD_VERSIONS_MAX {
        return Err(Failure::corrupt("a record's version"));
    }
    Ok(state.previous)
}
