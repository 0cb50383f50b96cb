//! Emergencies: a provider breaks the glass, patient and privacy officers are told, and an auditor
//! or administrator of the patient's organisation reviews it.
//!
//! A decision finds the latest emergency of a reader for a patient by key; earlier ones stay for
//! review.

use contract_interface::access::{
    Emergency, EmergencyChanged, EmergencyEntry, EmergencyFilter, EmergencyPage, Happening, Power,
    Recipient, Review,
};
use contract_interface::limits::EMERGENCY_SECONDS_MAX;
use contract_interface::names::{attributes, collections, events, transactions};
use contract_interface::{
    DeclareEmergency, EmergencyId, ErrorCode, MspId, Participant, Pseudonym, ReviewEmergency, Role,
    Salt, UtcTime, canonical_json,
};
use fabric_shim::{Stub, x509::Certificate};
use serde::{Deserialize, Serialize};

use super::notices;
use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::object_types;
use crate::ledger::{self, EmergencyPointer, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Value of the certificate attribute `salus.emergency` of who may declare.
const MAY_DECLARE: &str = "true";

/// Value of an index entry from an organisation to an emergency of one of its patients.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrganizationIndexValue {
    patient: Pseudonym,
    emergency_id: EmergencyId,
    salt: Salt,
}

/// Keeps a declaration: from the next transaction on, its signer may read for BTG.
pub(super) async fn declare(stub: &Stub) -> Result<EmergencyChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<DeclareEmergency>::take(&ledger).await?;
    let emergency = &signed.body.emergency;
    let reader = &signed.signer;
    signed.require_role(&[Role::Provider])?;
    check_attested(reader)?;
    check_length(emergency, signed.signed_at, signed.tx_time)?;
    let patient_msp = patient_msp(&ledger, &emergency.patient).await?;
    if load(&ledger, &emergency.patient, &emergency.emergency_id)
        .await?
        .is_some()
    {
        return Err(conflict("an emergency with this ID has been declared"));
    }
    let entry = EmergencyEntry {
        emergency: emergency.clone(),
        patient_msp,
        reader: reader.participant_id,
        reader_msp: reader.msp_id.clone(),
        declared_at: signed.signed_at,
        request: signed.jws.clone(),
        review: None,
        salt: signed.salt,
    };
    put(&ledger, &entry).await?;
    put_indexes(&ledger, &entry).await?;
    let mut told = vec![
        Recipient::Participant(emergency.patient.into()),
        Recipient::PrivacyOfficers(entry.patient_msp.clone()),
    ];
    if entry.reader_msp != entry.patient_msp {
        told.push(Recipient::PrivacyOfficers(entry.reader_msp.clone()));
    }
    let emergency_id = emergency.emergency_id;
    let happening = Happening::EmergencyDeclared { emergency_id };
    tell(&ledger, told, &entry, signed.tx_time, &happening).await?;
    announce(stub, events::EMERGENCY_DECLARED, emergency_id)
}

/// Closes the review of an emergency.
pub(super) async fn review(stub: &Stub) -> Result<EmergencyChanged, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<ReviewEmergency>::take(&ledger).await?;
    let ReviewEmergency {
        emergency_id,
        patient,
        reader,
        outcome,
    } = signed.body;
    let reviewer = &signed.signer;
    signed.require_role(&[Role::Admin, Role::Auditor])?;
    let found = load(&ledger, &patient, &emergency_id).await?;
    let Some(mut entry) =
        found.filter(|entry| entry.reader == reader && entry.patient_msp == reviewer.msp_id)
    else {
        return Err(Failure::new(
            ErrorCode::EmergencyNotFound,
            "no such emergency of a patient of the signer's organisation",
        ));
    };
    if entry.reader == reviewer.participant_id {
        return Err(Failure::forbidden("nobody reviews an own emergency"));
    }
    if entry.review.is_some() {
        return Err(conflict("the emergency has been reviewed"));
    }
    entry.review = Some(Review {
        reviewer: reviewer.participant_id,
        outcome,
        reviewed_at: signed.signed_at,
        request: signed.jws.clone(),
    });
    entry.salt = signed.salt;
    put(&ledger, &entry).await?;
    let told = vec![
        Recipient::Participant(patient.into()),
        Recipient::Participant(reader),
        Recipient::PrivacyOfficers(entry.patient_msp.clone()),
    ];
    let happening = Happening::EmergencyReviewed { emergency_id };
    tell(&ledger, told, &entry, signed.tx_time, &happening).await?;
    announce(stub, events::EMERGENCY_REVIEWED, emergency_id)
}

/// The reader's CA must say that it may break the glass.
fn check_attested(reader: &Participant) -> Result<(), Failure> {
    let certificate = Certificate::from_pem(reader.certificate.as_bytes())
        .map_err(|_| Failure::corrupt("a certificate"))?;
    if certificate.attribute(attributes::EMERGENCY) == Some(MAY_DECLARE) {
        Ok(())
    } else {
        Err(Failure::forbidden(
            "the signer's certificate does not allow to declare emergencies",
        ))
    }
}

/// Four hours at most, by the signer's clock and by the transaction's.
fn check_length(
    emergency: &Emergency,
    signed_at: UtcTime,
    tx_time: UtcTime,
) -> Result<(), Failure> {
    emergency.validate(signed_at)?;
    let until = emergency.valid_until;
    if until <= tx_time || until.abs_diff(tx_time) > EMERGENCY_SECONDS_MAX {
        return Err(Failure::argument(
            "an emergency lasts at most four hours from now",
        ));
    }
    Ok(())
}

/// The organisation whose officers are told.
async fn patient_msp(ledger: &Ledger<'_>, patient: &Pseudonym) -> Result<MspId, Failure> {
    let registered = ledger.participant(&(*patient).into()).await?;
    registered
        .filter(|found| found.role == Role::Patient)
        .map(|found| found.msp_id)
        .ok_or_else(|| {
            Failure::new(
                ErrorCode::ParticipantNotFound,
                "no patient is registered with this pseudonym",
            )
        })
}

async fn load(
    ledger: &Ledger<'_>,
    patient: &Pseudonym,
    id: &EmergencyId,
) -> Result<Option<EmergencyEntry>, Failure> {
    let key = ledger.blinding.emergency(patient, id)?;
    ledger.get(collections::RECORDS, &key, "an emergency").await
}

async fn put(ledger: &Ledger<'_>, entry: &EmergencyEntry) -> Result<(), Failure> {
    let Emergency {
        emergency_id,
        patient,
        ..
    } = &entry.emergency;
    let key = ledger.blinding.emergency(patient, emergency_id)?;
    ledger.put(collections::RECORDS, &key, entry).await
}

async fn put_indexes(ledger: &Ledger<'_>, entry: &EmergencyEntry) -> Result<(), Failure> {
    let Emergency {
        emergency_id,
        patient,
        ..
    } = entry.emergency;
    let latest = ledger.blinding.latest_emergency(&patient, &entry.reader)?;
    let pointer = EmergencyPointer { emergency_id };
    ledger.put_salted(&latest, &pointer, &entry.salt).await?;
    let key = ledger.blinding.emergency_by_organization(
        &entry.patient_msp,
        entry.declared_at,
        &emergency_id,
    )?;
    let value = OrganizationIndexValue {
        patient,
        emergency_id,
        salt: entry.salt,
    };
    ledger.put(collections::RECORDS, &key, &value).await
}

async fn tell(
    ledger: &Ledger<'_>,
    recipients: Vec<Recipient>,
    entry: &EmergencyEntry,
    at: UtcTime,
    happening: &Happening,
) -> Result<(), Failure> {
    let patient = entry.emergency.patient;
    for recipient in recipients {
        let happening = happening.clone();
        notices::put(ledger, recipient, patient, at, happening, &entry.salt).await?;
    }
    Ok(())
}

fn announce(
    stub: &Stub,
    event: &str,
    emergency_id: EmergencyId,
) -> Result<EmergencyChanged, Failure> {
    let changed = EmergencyChanged { emergency_id };
    stub.set_event(event, canonical_json(&changed)?)?;
    Ok(changed)
}

fn conflict(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::StateConflict, sentence)
}

/// Emergencies by pages: of a patient, or of an organisation's patients in the order of time.
pub(super) async fn list(stub: &Stub, filter: &EmergencyFilter) -> Result<EmergencyPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let items = filter.page.items()?;
    let mut acts_for = None;
    let prefix = match (filter.patient, &filter.patient_msp) {
        (Some(patient), None) => {
            if viewer.acts_for(&ledger, &patient, Power::Read).await? {
                acts_for = Some(patient);
            }
            Prefix::new(
                object_types::EMERGENCY,
                vec![ledger.blinding.patient(&patient)],
            )
        }
        (None, Some(msp_id)) => {
            let object_type = object_types::EMERGENCY_BY_ORGANIZATION;
            let part = ledger.blinding.organization(object_type, msp_id);
            Prefix::new(object_type, vec![part])
        }
        _ => {
            return Err(Failure::argument(
                "name either the patient or the patients' organisation",
            ));
        }
    };
    let query = Query::new(transactions::LIST_EMERGENCIES, filter, &viewer)?;
    let mut scan = Scan::new(&ledger, vec![prefix], &filter.page, query)?;
    let mut emergencies = Vec::new();
    while emergencies.len() < items
        && let Some(found) = scan.next().await?
    {
        let entry: EmergencyEntry = if filter.patient.is_some() {
            ledger::parse("an emergency", &found.value)?
        } else {
            let index: OrganizationIndexValue = ledger::parse("an index entry", &found.value)?;
            let entry = load(&ledger, &index.patient, &index.emergency_id).await?;
            entry.ok_or_else(|| Failure::corrupt("an emergency"))?
        };
        let wanted = !filter.open_only || entry.review.is_none();
        if wanted && (acts_for == Some(entry.emergency.patient) || sees(&viewer, &entry)) {
            emergencies.push(entry);
        }
    }
    Ok(EmergencyPage {
        emergencies,
        next_page_token: scan.finish().await?,
    })
}

fn sees(viewer: &Viewer, entry: &EmergencyEntry) -> bool {
    match viewer {
        Viewer::Oracle { .. } => true,
        Viewer::Organization { msp_id } => entry.patient_msp == *msp_id,
        Viewer::Patient { participant, .. } => {
            entry.emergency.patient == participant.participant_id.into()
        }
        Viewer::Provider { participant, .. } => entry.reader == participant.participant_id,
    }
}
