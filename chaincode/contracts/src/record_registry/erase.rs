//! Erasure, in two halves.
//!
//! The first purges the wrapped keys and all that is known of the record, from the state and from
//! the peers' history: from then on nothing opens the object. What stays for the second half is
//! where the object lies. Each organisation removes it from its IPFS node and says so; when all
//! have, the registrar's oracle purges that too. What stays for good is public: the record's ID
//! and hashes, that it was erased, and the transactions that did it.
//!
//! If an organisation does not answer, an administrator of the registrar may end the erasure with
//! a signed word. The tombstone then names who is missing, and they find the object no more.

use contract_interface::access::{Happening, Power, Recipient};
use contract_interface::names::{collections, events, transactions, transient};
use contract_interface::record::{
    ErasingPage, ErasingRecord, Erasure, ErasureBasis, ErasureChanged, Removal,
};
use contract_interface::{
    CompleteErasure, EraseRecord, ErrorCode, MspId, PageRequest, RecordId, RecordPrivate,
    RecordState, RecordStatus, Role, canonical_json,
};
use fabric_shim::Stub;

use super::objects;
use crate::access_control::{notices, oracles, reads::record_not_found};
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::input;
use crate::keys::{self, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// First half: purges keys and metadata. Any organisation's oracle may carry the signed request.
pub(super) async fn erase(stub: &Stub) -> Result<ErasureChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<EraseRecord>::take(&ledger).await?;
    let record_id = signed.body.record_id;
    let record = ledger.record_private(&record_id).await?;
    let record = record.ok_or_else(record_not_found)?;
    check_signer(&ledger, &signed, &record).await?;
    let state = public_half(&ledger, &record_id).await?;
    purge(&ledger, &record).await?;
    let erasing = ErasingRecord {
        record_id,
        patient: record.patient,
        registrar: record.registrar.clone(),
        cid: record.cid.clone(),
        size: record.size,
        basis: signed.body.basis,
        request: signed.jws.clone(),
        salt: signed.salt,
    };
    let key = ledger.blinding.erasing(&record_id)?;
    ledger.put(collections::RECORDS, &key, &erasing).await?;
    put_tombstone(&ledger, &record_id, state).await?;
    notices::put(
        &ledger,
        Recipient::Participant(record.patient.into()),
        record.patient,
        signed.tx_time,
        Happening::RecordErased { record_id },
        &signed.salt,
    )
    .await?;
    announce(stub, Some(events::RECORD_ERASED), record_id)
}

/// Who may have the record erased, by the basis.
async fn check_signer(
    ledger: &Ledger<'_>,
    signed: &Signed<EraseRecord>,
    record: &RecordPrivate,
) -> Result<(), Failure> {
    match signed.body.basis {
        ErasureBasis::PatientRequest => {
            let patient = Some(record.patient);
            signed.acting_for(ledger, patient, Power::Erase).await?;
            Ok(())
        }
        ErasureBasis::RetentionEnded | ErasureBasis::RegisteredInError => {
            check_registrars_admin(signed, &record.registrar)
        }
    }
}

fn check_registrars_admin<B>(signed: &Signed<B>, registrar: &MspId) -> Result<(), Failure> {
    signed.require_role(&[Role::Admin])?;
    if signed.signer.msp_id == *registrar {
        Ok(())
    } else {
        Err(Failure::forbidden(
            "only an administrator of the record's registrar may do this",
        ))
    }
}

async fn public_half(ledger: &Ledger<'_>, id: &RecordId) -> Result<RecordState, Failure> {
    let states = ledger.record_states(&[*id]).await?;
    let state = states.into_iter().next().flatten();
    state
        .filter(|state| state.status != RecordStatus::Erased)
        .ok_or_else(|| Failure::corrupt("a record"))
}

/// Takes everything private about the record out of the state and the history.
async fn purge(ledger: &Ledger<'_>, record: &RecordPrivate) -> Result<(), Failure> {
    let blinding = &ledger.blinding;
    let wraps = blinding.wraps(&record.record_id)?;
    ledger
        .stub
        .purge_private_data(collections::KEYS, &wraps)
        .await?;
    let own = [
        blinding.record(&record.record_id)?,
        blinding.record_by_patient(record)?,
        blinding.record_by_type(record)?,
    ];
    let more = objects::key(ledger, record)?
        .into_iter()
        .chain(blinding.record_long(record)?);
    for key in own.into_iter().chain(more) {
        ledger
            .stub
            .purge_private_data(collections::RECORDS, &key)
            .await?;
    }
    Ok(())
}

async fn put_tombstone(
    ledger: &Ledger<'_>,
    id: &RecordId,
    state: RecordState,
) -> Result<(), Failure> {
    let erasure = Erasure {
        record_id: *id,
        registrar: state.msp_id.clone(),
        registered_tx_id: state.tx_id.clone(),
        object_sha256: state.object_sha256,
        erased_tx_id: ledger.stub.tx_id().to_owned(),
        completed_tx_id: None,
        removals: vec![],
        missing: vec![],
    };
    let erased = RecordState {
        status: RecordStatus::Erased,
        ..state
    };
    ledger
        .put_public(&keys::public_record(id)?, &erased)
        .await?;
    ledger
        .put_public(&keys::public_erasure(id)?, &erasure)
        .await
}

fn announce(
    stub: &Stub,
    event: Option<&str>,
    record_id: RecordId,
) -> Result<ErasureChanged, Failure> {
    let changed = ErasureChanged { record_id };
    if let Some(event) = event {
        stub.set_event(event, canonical_json(&changed)?)?;
    }
    Ok(changed)
}

/// The record that the transient field names.
fn named_record(stub: &Stub) -> Result<RecordId, Failure> {
    let text = std::str::from_utf8(input::transient_field(stub, transient::RECORD_ID)?)
        .map_err(|_| Failure::argument("record_id is not text"))?;
    input::text_argument("record_id", text)
}

/// The tombstone, with no word of any organisation.
async fn tombstone(ledger: &Ledger<'_>, id: &RecordId) -> Result<Erasure, Failure> {
    match ledger.stub.get_state(&keys::public_erasure(id)?).await? {
        Some(bytes) => ledger::parse("an erasure", &bytes),
        None => Err(Failure::new(
            ErrorCode::RecordNotFound,
            "no such record has been erased",
        )),
    }
}

/// An organisation's word that it no longer holds the object. Saying it again changes nothing.
pub(super) async fn confirm(stub: &Stub) -> Result<ErasureChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let record_id = named_record(stub)?;
    tombstone(&ledger, &record_id).await?;
    let key = keys::public_removal(&record_id, &creator.msp_id)?;
    if stub.get_state(&key).await?.is_none() {
        let removal = Removal {
            msp_id: creator.msp_id,
            tx_id: stub.tx_id().to_owned(),
        };
        ledger.put_public(&key, &removal).await?;
    }
    announce(stub, None, record_id)
}

/// Second half: purges where the object lay. `insisted` if not every organisation need have
/// confirmed; an administrator of the registrar must then have signed it.
pub(super) async fn complete(stub: &Stub, insisted: bool) -> Result<ErasureChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let creator = Creator::of(stub)?;
    creator.require(&ledger, &[Role::Oracle]).await?;
    let record_id = named_record(stub)?;
    let mut erasure = tombstone(&ledger, &record_id).await?;
    if erasure.registrar != creator.msp_id {
        return Err(Failure::forbidden("only the registrar ends an erasure"));
    }
    if erasure.completed_tx_id.is_some() {
        return announce(stub, None, record_id);
    }
    erasure.missing = missing(&ledger, &record_id).await?;
    if !erasure.missing.is_empty() {
        if !insisted {
            return Err(Failure::new(
                ErrorCode::StateConflict,
                format!(
                    "{} organisations have not confirmed that they removed the object",
                    erasure.missing.len()
                ),
            ));
        }
        let signed = Signed::<CompleteErasure>::take(&ledger).await?;
        check_registrars_admin(&signed, &erasure.registrar)?;
        if signed.body.record_id != record_id {
            return Err(Failure::argument("the request is for another record"));
        }
    }
    let key = ledger.blinding.erasing(&record_id)?;
    stub.purge_private_data(collections::RECORDS, &key).await?;
    erasure.completed_tx_id = Some(stub.tx_id().to_owned());
    ledger
        .put_public(&keys::public_erasure(&record_id)?, &erasure)
        .await?;
    announce(stub, Some(events::ERASURE_COMPLETED), record_id)
}

/// Organisations with an active oracle that have not confirmed, in the order of their names.
async fn missing(ledger: &Ledger<'_>, id: &RecordId) -> Result<Vec<MspId>, Failure> {
    let organizations = oracles::organizations(ledger).await?;
    let keys = organizations
        .iter()
        .map(|msp_id| keys::public_removal(id, msp_id))
        .collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let words = ledger.stub.get_multiple_states(&keys).await?;
    Ok(organizations
        .into_iter()
        .zip(words)
        .filter(|(_, word)| word.is_none())
        .map(|(msp_id, _)| msp_id)
        .collect())
}

/// Erasures about which the oracle's organisation has something to do: to remove the object, or,
/// as the registrar, to complete.
pub(super) async fn list(stub: &Stub, page: &PageRequest) -> Result<ErasingPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let Viewer::Oracle { msp_id } = &viewer else {
        return Err(Failure::forbidden("only an oracle lists erasures"));
    };
    let items = page.items()?;
    let prefix = Prefix::new(object_types::ERASING, vec![]);
    let query = Query::new(transactions::LIST_ERASURES, &(), &viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], page, query)?;
    let mut records = Vec::new();
    while records.len() < items
        && let Some(found) = scan.next().await?
    {
        let record: ErasingRecord = ledger::parse("an erasure", &found.value)?;
        let word = keys::public_removal(&record.record_id, msp_id)?;
        if record.registrar == *msp_id || stub.get_state(&word).await?.is_none() {
            records.push(record);
        }
    }
    Ok(ErasingPage {
        records,
        next_page_token: scan.finish().await?,
    })
}

/// The tombstone with every organisation's word. All of it is public.
pub(super) async fn get(stub: &Stub, id: &RecordId) -> Result<Erasure, Failure> {
    let ledger = Ledger::open(stub).await?;
    Viewer::of(&ledger).await?;
    let mut erasure = tombstone(&ledger, id).await?;
    let mut words = stub
        .get_state_by_partial_composite_key(object_types::REMOVAL, &[&id.to_string()])
        .await?;
    while let Some(found) = words.next().await? {
        erasure
            .removals
            .push(ledger::parse("a removal", &found.value)?);
    }
    Ok(erasure)
}
