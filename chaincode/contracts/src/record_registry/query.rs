//! What records there are, for those who may know.

use contract_interface::{
    GrantEntry, Period, Record, RecordFilter, RecordId, RecordPage, RecordPrivate, RecordState,
    RecordType, RecordWraps, Role, UtcTime,
};
use fabric_shim::Stub;

use crate::access_control::{grants, reads::record_not_found};
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::input;
use crate::keys::{RecordIndexEntry, object_types};
use crate::ledger::Ledger;
use crate::scan::{Prefix, Scan};

/// What a viewer may see of one patient's records.
struct Sight {
    viewer: Viewer,
    /// For a provider: the patient's grants to it that are live now.
    grants: Vec<GrantEntry>,
}

impl Sight {
    async fn of(
        ledger: &Ledger<'_>,
        patient: &contract_interface::Pseudonym,
    ) -> Result<Self, Failure> {
        let viewer = Viewer::of(ledger).await?;
        let grants = match &viewer {
            Viewer::Provider {
                participant,
                timed_by_oracle: true,
            } => {
                let now: UtcTime = input::transaction_time(ledger.stub)?;
                let mut grants = grants::of_patient(ledger, patient).await?;
                grants.retain(|entry| entry.live_for(participant, now));
                grants
            }
            Viewer::Provider {
                timed_by_oracle: false,
                ..
            } => {
                return Err(Failure::forbidden("a provider asks through an oracle"));
            }
            Viewer::Patient(own) if *patient != own.participant_id.into() => {
                return Err(Failure::forbidden("a patient sees own records only"));
            }
            Viewer::Oracle { .. } | Viewer::Organization { .. } | Viewer::Patient(_) => vec![],
        };
        Ok(Self { viewer, grants })
    }

    /// Whether type and period alone let the viewer see a record. Cheap, since an index key holds
    /// both.
    fn admits(&self, record_type: &RecordType, period: &Period) -> bool {
        match self.viewer {
            Viewer::Provider { .. } => self
                .grants
                .iter()
                .any(|entry| entry.grant.covers(record_type, period)),
            _ => true,
        }
    }

    /// Whether the viewer may see a record that it [admits](Self::admits).
    fn sees(&self, state: &RecordState, record: &RecordPrivate) -> bool {
        match &self.viewer {
            Viewer::Oracle { .. } => true,
            Viewer::Organization { msp_id } => state.msp_id == *msp_id,
            Viewer::Patient(patient) => record.patient == patient.participant_id.into(),
            Viewer::Provider { .. } => self.admits(&record.record_type, &record.period),
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
    let sight = Sight::of(&ledger, &metadata.patient).await?;
    if sight.sees(&state, &metadata) {
        Ok(Record { state, metadata })
    } else {
        Err(Failure::forbidden("the caller may not see this record"))
    }
}

pub(super) async fn wraps(stub: &Stub, id: &RecordId) -> Result<RecordWraps, Failure> {
    let ledger = Ledger::open(stub).await?;
    Creator::of(stub)?.require(&ledger, &[Role::Oracle]).await?;
    ledger.wraps(id).await?.ok_or_else(record_not_found)
}

pub(super) async fn list(stub: &Stub, filter: &RecordFilter) -> Result<RecordPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let items = filter.page.items()?;
    let sight = Sight::of(&ledger, &filter.patient).await?;
    let mut scan = Scan::new(stub, vec![prefix(filter)], &filter.page)?;
    let mut records = Vec::new();
    'page: while records.len() < items {
        // As many keys at once as may still fit, so that their values come in one message.
        let mut ids = Vec::new();
        while ids.len() < items - records.len() {
            let Some(found) = scan.next().await? else {
                records.extend(visible(&ledger, &sight, &ids).await?);
                break 'page;
            };
            let entry = RecordIndexEntry::parse(&found.key)?;
            let period = Period {
                start: entry.start,
                end: entry.end,
            };
            if matches(&entry, filter) && sight.admits(&entry.record_type, &period) {
                ids.push(entry.record_id);
            }
        }
        records.extend(visible(&ledger, &sight, &ids).await?);
    }
    Ok(RecordPage {
        records,
        next_page_token: scan.finish().await?,
    })
}

/// The index is in the order of the periods' ends, so a query for readings at or after a time
/// starts at that time.
fn prefix(filter: &RecordFilter) -> Prefix {
    let patient = filter.patient.to_string();
    let prefix = match &filter.record_type {
        Some(record_type) => Prefix::new(
            object_types::RECORD_BY_TYPE,
            vec![patient, record_type.to_string()],
        ),
        None => Prefix::new(object_types::RECORD_BY_PATIENT, vec![patient]),
    };
    prefix.starting_at(filter.from.map(|from| from.to_string()))
}

fn matches(entry: &RecordIndexEntry, filter: &RecordFilter) -> bool {
    filter.from.is_none_or(|from| entry.end >= from) && filter.to.is_none_or(|to| entry.start <= to)
}

/// Reads both halves of the records and keeps those that the viewer may see. A record whose
/// private half is gone is left out.
async fn visible(
    ledger: &Ledger<'_>,
    sight: &Sight,
    ids: &[RecordId],
) -> Result<Vec<Record>, Failure> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let states = ledger.record_states(ids).await?;
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
        .filter(|record| sight.sees(&record.state, &record.metadata))
        .collect())
}
