//! What records there are, for those who may know.

use contract_interface::access::Power;
use contract_interface::names::transactions;
use contract_interface::{
    Participant, Pseudonym, Record, RecordFilter, RecordId, RecordPage, RecordPrivate, RecordState,
    RecordWraps, Role, UtcTime,
};
use fabric_shim::Stub;

use crate::access_control::{reads::record_not_found, rules::RuleBook};
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::input;
use crate::keys::{LONG_RECORD_SECONDS, RecordIndexEntry, object_types};
use crate::ledger::Ledger;
use crate::scan::{Prefix, Query, Scan};

/// What a viewer may see of one patient's records.
enum Sight<'a> {
    /// All of them.
    All,
    /// Those that this organisation registered.
    Registered(contract_interface::MspId),
    /// Those that rules or an emergency open to a provider now.
    Ruled {
        book: Box<RuleBook<'a>>,
        now: UtcTime,
    },
}

impl<'a> Sight<'a> {
    async fn of(
        ledger: &'a Ledger<'a>,
        viewer: &Viewer,
        patient: &Pseudonym,
    ) -> Result<Self, Failure> {
        if viewer.acts_for(ledger, patient, Power::Read).await? {
            return Ok(Self::All);
        }
        match viewer {
            Viewer::Oracle { .. } => Ok(Self::All),
            Viewer::Organization { msp_id } => Ok(Self::Registered(msp_id.clone())),
            Viewer::Patient { .. } => Err(Failure::forbidden(
                "a patient sees own records, and those of whom it is the guardian",
            )),
            Viewer::Provider {
                participant,
                timed_by_oracle: true,
            } => Self::ruled(ledger, participant),
            Viewer::Provider {
                timed_by_oracle: false,
                ..
            } => Err(Failure::forbidden("a provider asks through an oracle")),
        }
    }

    fn ruled(ledger: &'a Ledger<'a>, reader: &Participant) -> Result<Self, Failure> {
        Ok(Self::Ruled {
            book: Box::new(RuleBook::new(ledger, reader)),
            now: input::transaction_time(ledger.stub)?,
        })
    }

    /// The records that the viewer may see, in their order.
    async fn visible(&mut self, records: Vec<Record>) -> Result<Vec<Record>, Failure> {
        match self {
            Self::All => Ok(records),
            Self::Registered(msp_id) => Ok(records
                .into_iter()
                .filter(|record| record.state.msp_id == *msp_id)
                .collect()),
            Self::Ruled { book, now } => {
                let privates: Vec<RecordPrivate> =
                    records.iter().map(|r| r.metadata.clone()).collect();
                book.gather(&privates).await?;
                let mut visible = Vec::new();
                for record in records {
                    if book.shows(&record.metadata, *now)? {
                        visible.push(record);
                    }
                }
                Ok(visible)
            }
        }
    }
}

pub(super) async fn get(stub: &Stub, id: &RecordId) -> Result<Record, Failure> {
    let ledger = Ledger::open(stub).await?;
    let metadata = ledger.record_private(id).await?;
    let states = ledger.record_states(&[*id]).await?;
    let (Some(metadata), Some(Some(state))) = (metadata, states.into_iter().next()) else {
        // Who is nobody here learns the same of every record.
        Viewer::of(&ledger).await?;
        return Err(record_not_found());
    };
    let viewer = Viewer::of(&ledger).await?;
    let mut sight = Sight::of(&ledger, &viewer, &metadata.patient).await?;
    let visible = sight.visible(vec![Record { state, metadata }]).await?;
    visible
        .into_iter()
        .next()
        .ok_or_else(|| Failure::forbidden("the caller may not see this record"))
}

pub(super) async fn wraps(stub: &Stub, id: &RecordId) -> Result<RecordWraps, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let wraps = ledger.wraps(id).await?.ok_or_else(record_not_found)?;
    // A query leaves nothing on the ledger, so the log keeps which oracle took them.
    tracing::info!(
        tx_id = stub.tx_id(),
        msp_id = %creator.msp_id,
        certificate = %creator.thumbprint,
        record_id = %id,
        "wraps shown"
    );
    Ok(wraps)
}

pub(super) async fn list(stub: &Stub, filter: &RecordFilter) -> Result<RecordPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let mut sight = Sight::of(&ledger, &viewer, &filter.patient).await?;
    let query = Query::new(transactions::LIST_RECORDS, filter, &viewer)?;
    let prefixes = prefixes(&ledger, filter);
    let mut scan = Scan::new(&ledger, prefixes, &filter.page, query)?;
    let mut records = Vec::new();
    let mut more = true;
    while more && records.len() < items {
        // As many keys at once as may still fit, so that their values come in one message.
        let mut ids = Vec::new();
        while ids.len() < items - records.len() {
            let Some(found) = scan.next().await? else {
                more = false;
                break;
            };
            let entry = RecordIndexEntry::parse(&found.key)?;
            if matches(&entry, filter) {
                ids.push(entry.record_id);
            }
        }
        records.extend(sight.visible(whole(&ledger, &ids).await?).await?);
    }
    Ok(RecordPage {
        records,
        next_page_token: scan.finish().await?,
    })
}

/// The index is in the order of the periods' ends, so a query for readings at or after a time
/// starts at that time. A query up to a time ends a day later, since most records are no longer
/// than that; those that are have an index of their own, where it goes on.
fn prefixes(ledger: &Ledger<'_>, filter: &RecordFilter) -> Vec<Prefix> {
    let patient = ledger.blinding.patient(&filter.patient);
    let prefix = match &filter.record_type {
        Some(record_type) => Prefix::new(
            object_types::RECORD_BY_TYPE,
            vec![patient.clone(), record_type.to_string()],
        ),
        None => Prefix::new(object_types::RECORD_BY_PATIENT, vec![patient.clone()]),
    };
    let text = |time: UtcTime| time.to_string();
    let all = prefix.starting_at(filter.from.map(text));
    let Some((last, next)) = filter.to.and_then(day_after) else {
        return vec![all];
    };
    let long = Prefix::new(object_types::RECORD_LONG, vec![patient]);
    let from = filter.from.map_or(next, |from| from.max(next));
    vec![
        all.ending_at(Some(text(last))),
        long.starting_at(Some(text(from))),
    ]
}

/// The latest end of a record that starts by `to` and is not long, and the second after; none at
/// the end of time.
fn day_after(to: UtcTime) -> Option<(UtcTime, UtcTime)> {
    let last = to.unix_seconds() + LONG_RECORD_SECONDS;
    let time = |seconds| UtcTime::from_unix_seconds(seconds).ok();
    Some((time(last)?, time(last + 1)?))
}

fn matches(entry: &RecordIndexEntry, filter: &RecordFilter) -> bool {
    filter.from.is_none_or(|from| entry.end >= from)
        && filter.to.is_none_or(|to| entry.start <= to)
        && (filter.record_type.as_ref()).is_none_or(|wanted| entry.record_type == *wanted)
}

/// Reads both halves of records. One whose private half is gone is left out.
async fn whole(ledger: &Ledger<'_>, ids: &[RecordId]) -> Result<Vec<Record>, Failure> {
    let states: Vec<Option<RecordState>> = ledger.record_states(ids).await?;
    let privates = ledger.records_private(ids).await?;
    Ok(states
        .into_iter()
        .zip(privates)
        .filter_map(|(state, metadata)| {
            Some(Record {
                state: state?,
                metadata: metadata?,
            })
        })
        .collect())
}
