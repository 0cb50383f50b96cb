//! Recorded reads, for those whom they concern.

use contract_interface::access::Power;
use contract_interface::names::transactions;
use contract_interface::{ErrorCode, ReadEntry, ReadFilter, ReadId, ReadPage};
use fabric_shim::Stub;

use super::reads::{ORGANIZATION_ENTRIES, organizations, within};
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::{last_attribute, object_types};
use crate::ledger::Ledger;
use crate::scan::{Prefix, Query, Scan};

/// Index entries whose reads are fetched in one message.
const READS_AT_ONCE: usize = 50;

/// One recorded read.
pub(super) async fn get(stub: &Stub, id: &ReadId) -> Result<ReadEntry, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let found: Option<ReadEntry> = ledger.reads(&[*id]).await?.into_iter().next().flatten();
    let not_found = || Failure::new(ErrorCode::ReadNotFound, "no such read");
    let entry = found.ok_or_else(not_found)?;
    let guardian = viewer
        .acts_for(&ledger, &entry.patient, Power::Read)
        .await?;
    // A read that the viewer may not see does not exist for it.
    if guardian || viewer.sees_read(&entry) {
        Ok(entry)
    } else {
        Err(not_found())
    }
}

/// Recorded reads by pages, in the order of their transactions' times.
pub(super) async fn list(stub: &Stub, filter: &ReadFilter) -> Result<ReadPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let guardian = is_guardian(&ledger, &viewer, filter).await?;
    let (object_type, part) = index(&ledger, &viewer, filter)?;
    let prefix =
        Prefix::new(object_type, vec![part]).starting_at(filter.from.map(|from| from.to_string()));
    let query = Query::new(transactions::LIST_READS, filter, &viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], &filter.page, query)?;
    let mut reads = Vec::new();
    while reads.len() < items {
        // As many entries at once as may still fit, so that the reads come in one message.
        let wanted = (items - reads.len()).min(READS_AT_ONCE);
        let mut ids: Vec<ReadId> = Vec::new();
        let mut roles = Vec::new();
        while ids.len() < wanted
            && let Some(found) = scan.next().await?
        {
            ids.push(last_attribute(&found.key)?);
            roles.push(organization_role(&found.key));
        }
        if ids.is_empty() {
            break;
        }
        for (read, role) in ledger.reads(&ids).await?.into_iter().zip(roles) {
            let read = read.ok_or_else(|| Failure::corrupt("a read"))?;
            if filter.to.is_some_and(|to| read.tx_time > to) {
                return Ok(ReadPage {
                    reads,
                    next_page_token: None,
                });
            }
            let once = role.is_none_or(|role| first_of_its_organization(&read, role));
            if once && matches(&read, filter) && (guardian || viewer.sees_read(&read)) {
                reads.push(read);
            }
        }
    }
    Ok(ReadPage {
        reads,
        next_page_token: scan.finish().await?,
    })
}

/// Whether the viewer is, or may read for, the patient whose reads are asked for.
async fn is_guardian(
    ledger: &Ledger<'_>,
    viewer: &Viewer,
    filter: &ReadFilter,
) -> Result<bool, Failure> {
    let patient = match (filter.patient, &filter.record_id) {
        (Some(patient), _) => Some(patient),
        (None, Some(id)) => ledger.record_private(id).await?.map(|found| found.patient),
        (None, None) => None,
    };
    match patient {
        Some(patient) => viewer.acts_for(ledger, &patient, Power::Read).await,
        None => Ok(false),
    }
}

/// The narrowest index for a filter.
fn index(
    ledger: &Ledger<'_>,
    viewer: &Viewer,
    filter: &ReadFilter,
) -> Result<(&'static str, String), Failure> {
    let blinding = &ledger.blinding;
    if let Some(id) = &filter.record_id {
        return Ok((object_types::READ_BY_RECORD, blinding.reads_of_record(id)));
    }
    if let Some(patient) = &filter.patient {
        return Ok((object_types::READ_BY_PATIENT, blinding.patient(patient)));
    }
    if let Some(reader) = &filter.reader {
        let object_type = object_types::READ_BY_READER;
        return Ok((object_type, blinding.person(object_type, reader)));
    }
    if filter.from.is_none() || filter.to.is_none() {
        return Err(Failure::argument(
            "name the patient, the reader, the record, or a period with both ends",
        ));
    }
    let object_type = object_types::READ_BY_ORGANIZATION;
    Ok((
        object_type,
        blinding.organization(object_type, viewer.administers()?),
    ))
}

/// As what an entry of the organisations' index stands there.
fn organization_role(key: &str) -> Option<usize> {
    let (object_type, attributes) = fabric_shim::split_composite_key(key).ok()?;
    if object_type != object_types::READ_BY_ORGANIZATION {
        return None;
    }
    let role = attributes.get(2)?;
    ORGANIZATION_ENTRIES.iter().position(|known| known == role)
}

/// Of the entries that one read has in one organisation's index, the first shows it.
fn first_of_its_organization(read: &ReadEntry, role: usize) -> bool {
    let organizations = organizations(read);
    organizations
        .get(role)
        .is_some_and(|own| organizations.iter().position(|other| other == own) == Some(role))
}

fn matches(read: &ReadEntry, filter: &ReadFilter) -> bool {
    filter.patient.is_none_or(|patient| patient == read.patient)
        && filter.record_id.is_none_or(|id| id == read.record_id)
        && filter.reader.is_none_or(|reader| reader == read.reader)
        && within(read.tx_time, filter.from, filter.to)
}
