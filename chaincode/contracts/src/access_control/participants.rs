//! The directory of participants.
//!
//! Every participant is in the collection, under blinded keys, and transactions look there only:
//! a read of a public key would put its name into the block in clear. Those who are not patients
//! are in the public state besides, for every member of the channel.
//!
//! An organisation registers its own people only: the CA that issued the creator's certificate,
//! which the peer has verified, must have issued the registered one too. An encryption key is
//! registered with its holder's proof only: `key_proofs`.

use contract_interface::access::Power;
use contract_interface::names::{attributes, collections, transactions, transient};
use contract_interface::{
    Digest, ErrorCode, GrantStatus, Participant, ParticipantFilter, ParticipantId, ParticipantPage,
    ParticipantRegistration, RegistrationOutcome, Role, RotateKey, Salt, Status,
};
use fabric_shim::{Stub, x509::Certificate};

use super::{key_holders, key_proofs, oracles};
use crate::actor::{Creator, Viewer};
use crate::failure::Failure;
use crate::input;
use crate::keys::{self, object_types};
use crate::ledger::{self, Ledger};
use crate::scan::{Prefix, Query, Scan};
use crate::signed::Signed;

/// Who may register: the organisation's oracle and its administrators.
pub(super) const REGISTRARS: [Role; 2] = [Role::Oracle, Role::Admin];

/// Registers, renews, suspends or revokes a participant of the creator's organisation.
pub(super) async fn register(stub: &Stub) -> Result<RegistrationOutcome, Failure> {
    let creator = Creator::of(stub)?;
    let registration: ParticipantRegistration =
        input::json_transient(stub, transient::PARTICIPANT)?;
    let salt = input::salt(stub)?;
    let certificate = input::certificate(registration.certificate.as_bytes())?;
    check_attested(&certificate, &registration)?;
    check_issuer(stub, &certificate)?;
    let ledger = match Ledger::open(stub).await {
        Ok(ledger) => {
            creator.require(&ledger, &REGISTRARS).await?;
            ledger
        }
        Err(Failure::Refused {
            code: ErrorCode::NotInitialized,
            ..
        }) => {
            creator.require_attested(&REGISTRARS)?;
            Ledger::create(stub, &salt).await?
        }
        Err(failure) => return Err(failure),
    };
    let thumbprint = Digest::from_bytes(certificate.thumbprint());
    let new = Participant {
        participant_id: registration.participant_id,
        msp_id: creator.msp_id,
        role: registration.role,
        certificate: certificate.pem(),
        thumbprint,
        encryption_key: registration.encryption_key,
        key_proof: registration.key_proof,
        status: registration.status,
        version: 1,
        salt: Some(salt),
    };
    let holder = ledger.participant_by_thumbprint(&thumbprint).await?;
    if holder.is_some_and(|holder| holder.participant_id != new.participant_id) {
        return Err(conflict("the certificate belongs to another participant"));
    }
    match ledger.participant(&new.participant_id).await? {
        None => {
            key_proofs::check(stub, &new, &certificate)?;
            write(&ledger, &new, salt, None).await?;
            Ok(RegistrationOutcome::Registered)
        }
        Some(old) => update(&ledger, old, new, (&certificate, salt)).await,
    }
}

async fn update(
    ledger: &Ledger<'_>,
    old: Participant,
    new: Participant,
    (certificate, salt): (&Certificate, Salt),
) -> Result<RegistrationOutcome, Failure> {
    if old.msp_id != new.msp_id {
        return Err(conflict("the participant belongs to another organisation"));
    }
    if old.role != new.role {
        return Err(conflict("a participant's role does not change"));
    }
    let new = keep_patients_key(&old, new)?;
    let new = key_proofs::kept_or_checked(ledger.stub, &old, new, certificate)?;
    let version = next_version(&old)?;
    let unchanged = Participant {
        version: old.version,
        salt: old.salt,
        ..new.clone()
    };
    if unchanged == old {
        return Ok(RegistrationOutcome::Unchanged);
    }
    if old.status == Status::Revoked {
        return Err(conflict("the participant has been revoked"));
    }
    let former = (old.thumbprint != new.thumbprint).then_some(&old.thumbprint);
    write(ledger, &Participant { version, ..new }, salt, former).await?;
    Ok(RegistrationOutcome::Updated)
}

/// A patient's encryption key is replaced by the patient's own word only: else an organisation
/// could have the next records wrapped for itself, in a custody that denies it the key.
fn keep_patients_key(old: &Participant, new: Participant) -> Result<Participant, Failure> {
    match (&old.encryption_key, &new.encryption_key) {
        (Some(kept), asked) if old.role == Role::Patient => match asked {
            Some(asked) if asked != kept => Err(conflict(
                "a patient's encryption key is replaced by the patient, with RotateKey",
            )),
            _ => Ok(Participant {
                encryption_key: Some(kept.clone()),
                ..new
            }),
        },
        _ => Ok(new),
    }
}

/// Replaces the signer's encryption key. Wraps for the old one are replaced by who can open them.
pub(super) async fn rotate_key(stub: &Stub) -> Result<RegistrationOutcome, Failure> {
    let ledger = Ledger::open(stub).await?;
    let signed = Signed::<RotateKey>::take(&ledger).await?;
    signed.require_active()?;
    let old = signed.signer;
    let new_key = signed.body.encryption_key;
    if old.encryption_key.as_ref() == Some(&new_key) {
        return Ok(RegistrationOutcome::Unchanged);
    }
    if key_holders::held_by(&ledger, &new_key.thumbprint(), &old.participant_id).await? {
        return Err(Failure::new(
            ErrorCode::StateConflict,
            "a key that was replaced does not come back",
        ));
    }
    let certificate = input::certificate(old.certificate.as_bytes())?;
    let new = Participant {
        encryption_key: Some(new_key),
        key_proof: Some(signed.body.key_proof),
        version: next_version(&old)?,
        salt: Some(signed.salt),
        ..old
    };
    key_proofs::check(stub, &new, &certificate)?;
    write(&ledger, &new, signed.salt, None).await?;
    Ok(RegistrationOutcome::Updated)
}

fn next_version(participant: &Participant) -> Result<u32, Failure> {
    let next = participant.version.checked_add(1);
    next.ok_or_else(|| Failure::corrupt("a participant"))
}

async fn write(
    ledger: &Ledger<'_>,
    participant: &Participant,
    salt: Salt,
    former_thumbprint: Option<&Digest>,
) -> Result<(), Failure> {
    let id = participant.participant_id;
    if let Some(former) = former_thumbprint {
        ledger.delete_thumbprint(former).await?;
    }
    ledger
        .put_thumbprint(&participant.thumbprint, id, salt)
        .await?;
    ledger
        .put(
            collections::RECORDS,
            &ledger.blinding.participant(&id)?,
            participant,
        )
        .await?;
    key_holders::note(ledger, participant, &salt).await?;
    oracles::note(ledger, participant).await?;
    if participant.role != Role::Patient {
        let public = Participant {
            salt: None,
            ..participant.clone()
        };
        ledger
            .put_public(&keys::public_participant(&id)?, &public)
            .await?;
    }
    Ok(())
}

/// If the certificate's CA says who and what its subject is, the registration must not say
/// otherwise.
fn check_attested(
    certificate: &Certificate,
    registration: &ParticipantRegistration,
) -> Result<(), Failure> {
    let attested = certificate.attribute(attributes::ROLE);
    if attested.is_some_and(|role| Role::from_text(role) != Some(registration.role)) {
        return Err(Failure::argument(
            "the certificate's salus.role is not the role to be registered",
        ));
    }
    let attested = certificate.attribute(attributes::PARTICIPANT);
    if attested.is_some_and(|id| id.parse() != Ok(registration.participant_id)) {
        return Err(Failure::argument(
            "the certificate's salus.participant is not the ID to be registered",
        ));
    }
    Ok(())
}

/// The transient issuer must have signed both the creator's and the registered certificate.
fn check_issuer(stub: &Stub, registered: &Certificate) -> Result<(), Failure> {
    let pem = input::transient_field(stub, transient::ISSUER)?;
    let issuer = input::authority(pem)?;
    let creator = stub.client_identity()?;
    if creator.certificate().is_issued_by(&issuer) && registered.is_issued_by(&issuer) {
        Ok(())
    } else {
        Err(Failure::new(
            ErrorCode::CertificateForeign,
            "the creator's and the registered certificate are not of this issuer",
        ))
    }
}

fn conflict(sentence: &'static str) -> Failure {
    Failure::new(ErrorCode::ParticipantConflict, sentence)
}

/// One participant by ID.
pub(super) async fn get(stub: &Stub, id: &ParticipantId) -> Result<Participant, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let found = ledger.participant(id).await?.ok_or_else(not_found)?;
    if viewer.sees_participant(&found) {
        return Ok(shown(found));
    }
    if may_write_to(&ledger, &viewer, &found).await? {
        return Ok(Participant {
            certificate: String::new(),
            ..shown(found)
        });
    }
    Err(not_found())
}

/// Whoever knows a patient's pseudonym and treats or guards it, or has it as guardian, may learn
/// the organisation and the key with its proof, to ask for access and to seal what only that
/// patient is to read; not the certificate, which holds a name.
async fn may_write_to(
    ledger: &Ledger<'_>,
    viewer: &Viewer,
    patient: &Participant,
) -> Result<bool, Failure> {
    if matches!(viewer, Viewer::Provider { .. }) {
        return Ok(true);
    }
    let pseudonym = patient.participant_id.into();
    for power in [Power::Read, Power::Grant, Power::Erase] {
        if viewer.acts_for(ledger, &pseudonym, power).await? {
            return Ok(true);
        }
    }
    let Viewer::Patient { participant, .. } = viewer else {
        return Ok(false);
    };
    let own = participant.participant_id.into();
    let guardian = ledger.delegation(&own, &patient.participant_id).await?;
    Ok(guardian.is_some_and(|entry| entry.status == GrantStatus::Active))
}

/// One participant by certificate.
pub(super) async fn get_by_thumbprint(
    stub: &Stub,
    thumbprint: &Digest,
) -> Result<Participant, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let found = ledger.participant_by_thumbprint(thumbprint).await?;
    found
        .filter(|participant| viewer.sees_participant(participant))
        .map(shown)
        .ok_or_else(not_found)
}

fn shown(participant: Participant) -> Participant {
    Participant {
        salt: None,
        ..participant
    }
}

/// A patient whom the viewer may not see does not exist for it.
fn not_found() -> Failure {
    Failure::new(ErrorCode::ParticipantNotFound, "no such participant")
}

/// Participants by pages.
pub(super) async fn list(
    stub: &Stub,
    filter: &ParticipantFilter,
) -> Result<ParticipantPage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let query = Query::new(transactions::LIST_PARTICIPANTS, filter, &viewer)?;
    if filter.role == Some(Role::Patient) {
        let msp_id = viewer.administers()?;
        if filter
            .msp_id
            .as_ref()
            .is_some_and(|wanted| wanted != msp_id)
        {
            return Err(Failure::forbidden(
                "patients are listed to their own organisation only",
            ));
        }
        let own = ParticipantFilter {
            msp_id: Some(msp_id.clone()),
            ..filter.clone()
        };
        return list_private(&ledger, &own, query).await;
    }
    list_public(&ledger, filter, query).await
}

fn matches(participant: &Participant, filter: &ParticipantFilter) -> bool {
    filter.role.is_none_or(|role| role == participant.role)
        && filter
            .msp_id
            .as_ref()
            .is_none_or(|msp_id| *msp_id == participant.msp_id)
}

async fn list_private(
    ledger: &Ledger<'_>,
    filter: &ParticipantFilter,
    query: Query,
) -> Result<ParticipantPage, Failure> {
    let items = filter.page.items()?;
    let prefix = Prefix::new(object_types::PARTICIPANT, vec![]);
    let mut scan = Scan::new(ledger, vec![prefix], &filter.page, query)?;
    let mut participants = Vec::new();
    while participants.len() < items
        && let Some(found) = scan.next().await?
    {
        let participant: Participant = ledger::parse("a participant", &found.value)?;
        if matches(&participant, filter) {
            participants.push(Participant {
                salt: None,
                ..participant
            });
        }
    }
    Ok(ParticipantPage {
        participants,
        next_page_token: scan.finish().await?,
    })
}

/// Of public state the peer pages itself; its bookmark is inside the token.
async fn list_public(
    ledger: &Ledger<'_>,
    filter: &ParticipantFilter,
    query: Query,
) -> Result<ParticipantPage, Failure> {
    let items = i32::try_from(filter.page.items()?).unwrap_or(i32::MAX);
    let bookmark = match &filter.page.page_token {
        Some(token) => query.open(&ledger.blinding, token)?,
        None => String::new(),
    };
    let (found, metadata) = ledger
        .stub
        .get_state_by_partial_composite_key_with_pagination(
            object_types::PARTICIPANT,
            &[],
            items,
            &bookmark,
        )
        .await?;
    let mut participants = Vec::with_capacity(found.len());
    for entry in found {
        let participant: Participant = ledger::parse("a participant", &entry.value)?;
        if matches(&participant, filter) {
            participants.push(participant);
        }
    }
    let next_page_token = (!metadata.bookmark.is_empty())
        .then(|| query.seal(&ledger.blinding, &metadata.bookmark))
        .transpose()?;
    Ok(ParticipantPage {
        participants,
        next_page_token,
    })
}
