//! Data keys that only the patient holds: handing them to those to whom a grant is given, and
//! wrapping them anew when the patient's own key changes.
//!
//! In custody `patient` no oracle can open a record. A grantee's wrap is closed twice: inside for
//! the grantee, outside for the oracle of the organisation that registered the record, which takes
//! its layer off only after a permitted read is on the ledger. Both jobs look at what the ledger
//! has before they change anything, so they may be stopped and run again.
//!
//! The oracle that answers is not believed: keys are wrapped only for a [`Recipient`], whose key is
//! proven by a certificate of a CA that the profile pins, and behind the proven key of an oracle of
//! the organisation that keeps the record.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::{
    Decision, GrantEntry, GrantId, GrantStatus, Grantee, KeyWrap, MspId, PageRequest, Participant,
    ParticipantId, Pseudonym, Record, RecordFilter, RecordStatus, Role,
    record::{WrapChange, WrapChanges},
};
use fabric_msp::Certificate;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sealed_object::{DataKey, PublicKey, gate};

use crate::{
    client::{Client, HeldWraps},
    error::ClientError,
    key_files::EncryptionKeys,
    letters::public_key,
    signing,
    trust::{Recipient, TrustError},
};

/// Questions for wraps that are on their way at one time.
const QUESTIONS_AT_ONCE: usize = 8;
/// Records in one change of wraps. With the longest wraps that an 8192-bit key makes, a change of
/// so many stays below the 256 KiB that an oracle takes.
const CHANGES_AT_ONCE: usize = 32;
/// The oracle's answer about a record that another organisation registered.
const KEY_ELSEWHERE: &str = "KEY_ELSEWHERE";

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records that are done.
    pub done: usize,
    /// Records that are to be done.
    pub total: usize,
}

/// What a job did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records that are as they should be now.
    pub records: usize,
    /// Those of them that this job changed.
    pub changed: usize,
    /// Records whose keys someone else has still to wrap.
    pub pending: usize,
    /// Organisations that registered the other records: theirs are done with their own oracle.
    pub elsewhere: BTreeSet<MspId>,
}

/// Who is to get keys, with an encryption key that is proven; `given` is the certificate that the
/// person gave, where the directory shows none, or to be sure whom one means.
///
/// # Errors
/// [`ClientError::Untrusted`] when it is not proven whose the key is; and as every call.
pub async fn recipient(
    client: &Client,
    id: &ParticipantId,
    given: Option<&Certificate>,
) -> Result<Recipient, ClientError> {
    let participant = client.participant(id).await?;
    let shown = participant.participant_id;
    if shown != *id {
        return Err(TrustError::OtherParticipant { asked: *id, shown }.into());
    }
    if participant.role == Role::Oracle {
        return Err(ClientError::Sharing {
            problem: "keys are handed to persons, and this is an oracle",
        });
    }
    let trust = client.trust()?;
    Ok(trust.recipient(participant, given, signing::now()?)?)
}

/// Whom a grant names, as the oracle tells it.
///
/// # Errors
/// [`ClientError::Sharing`] when the grant is no standing permit of a person; and as every call.
pub async fn named_by(
    client: &Client,
    grant_id: &GrantId,
    patient: Option<Pseudonym>,
) -> Result<ParticipantId, ClientError> {
    grantee(&client.grant(grant_id, patient).await?)
}

/// Hands the keys of all records that a grant covers to the person it names.
///
/// # Errors
/// [`ClientError::Sharing`] when the grant is no standing permit of this person;
/// [`ClientError::Untrusted`] when the oracle's gate is not proven; [`ClientError::Key`] when a
/// record's key is not wrapped for this profile's key; and as every call.
pub async fn share(
    client: &Client,
    grant_id: &GrantId,
    patient: Option<Pseudonym>,
    recipient: &Recipient,
    progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let entry = client.grant(grant_id, patient).await?;
    let reader = &recipient.participant;
    if entry.grant.grant_id != *grant_id || grantee(&entry)? != reader.participant_id {
        return Err(ClientError::Sharing {
            problem: "the grant names someone else",
        });
    }
    let records = own_records(client, entry.patient).await?;
    let covered: Vec<Record> = records
        .into_iter()
        .filter(|record| covers(&entry, reader, record))
        .collect();
    hand_over(client, covered, recipient, Some(*grant_id), progress).await
}

/// Hands the keys of all records of `patient` to a guardian with the power to read.
///
/// # Errors
/// As [`share`].
pub async fn share_with_guardian(
    client: &Client,
    guardian: &Recipient,
    patient: Pseudonym,
    progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let records = own_records(client, patient).await?;
    hand_over(client, records, guardian, None, progress).await
}

async fn hand_over(
    client: &Client,
    records: Vec<Record>,
    recipient: &Recipient,
    grant_id: Option<GrantId>,
    progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let keys = client.keys()?;
    let (trust, now) = (client.trust()?, signing::now()?);
    let oracles = oracles(client, &records).await?;
    let plan = |record: &Record, held: &HeldWraps| {
        let registrar = &record.metadata.registrar;
        let theirs = oracles.get(registrar).map_or(&[][..], Vec::as_slice);
        trust.check_gate(&held.gate, registrar, theirs, now)?;
        shared_change(keys, held, grant_id, recipient.key())
    };
    run(client, records, plan, progress).await
}

/// The oracles of the organisations that keep the records, as the directory shows them.
async fn oracles(
    client: &Client,
    records: &[Record],
) -> Result<BTreeMap<MspId, Vec<Participant>>, ClientError> {
    let mut oracles = BTreeMap::new();
    for record in records {
        let registrar = &record.metadata.registrar;
        if !oracles.contains_key(registrar) {
            let found = client.key_holders(registrar, &[Role::Oracle]).await?;
            oracles.insert(registrar.clone(), found);
        }
    }
    Ok(oracles)
}

/// Wraps the keys of all own records for the key in use, in place of the one before.
///
/// # Errors
/// As [`share`].
pub async fn rewrap(
    client: &Client,
    patient: Pseudonym,
    progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let records = own_records(client, patient).await?;
    let keys = client.keys()?;
    let plan = |_: &Record, held: &HeldWraps| rewrapped_change(keys, held);
    run(client, records, plan, progress).await
}

/// How many of a patient's records are wrapped for the key in use, where the organisations' oracles
/// do it.
///
/// # Errors
/// As every call.
pub async fn survey(
    client: &Client,
    patient: Pseudonym,
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let records = own_records(client, patient).await?;
    let kid = client.encryption_key()?.public_key().thumbprint();
    let total = records.len();
    let mut outcome = Outcome::default();
    let mut answers = questions(client, records);
    while let Some((record, held)) = answers.try_next().await? {
        match held {
            None => {
                outcome.elsewhere.insert(record.metadata.registrar);
            }
            Some(held) if held.plain(kid).is_some() => outcome.records += 1,
            Some(_) => outcome.pending += 1,
        }
        progress(Progress {
            done: outcome.records,
            total,
        });
    }
    Ok(outcome)
}

fn grantee(entry: &GrantEntry) -> Result<ParticipantId, ClientError> {
    let problem = |problem| Err(ClientError::Sharing { problem });
    match entry.grant.rule.grantee {
        _ if entry.status != GrantStatus::Active => problem("the grant was revoked"),
        _ if entry.grant.rule.decision == Decision::Deny => problem("the grant is a denial"),
        Grantee::Participant(id) => Ok(id),
        _ => problem(
            "the grant names no person, and a key is handed to persons only: give each of them a \
             grant",
        ),
    }
}

fn covers(entry: &GrantEntry, reader: &Participant, record: &Record) -> bool {
    let rule = &entry.grant.rule;
    rule.purposes.iter().any(|purpose| {
        rule.misses(reader, &record.metadata, *purpose, rule.project.as_ref())
            .is_none()
    })
}

async fn own_records(client: &Client, patient: Pseudonym) -> Result<Vec<Record>, ClientError> {
    let filter = RecordFilter {
        patient,
        record_type: None,
        from: None,
        to: None,
        page: PageRequest::default(),
    };
    let mut records = client.records(filter).await?;
    records.retain(|record| record.state.status != RecordStatus::Erased);
    Ok(records)
}

/// Asks for the wraps of each record; none where another organisation's oracle has to be asked.
fn questions(
    client: &Client,
    records: Vec<Record>,
) -> impl stream::TryStream<Ok = (Record, Option<HeldWraps>), Error = ClientError> + Unpin + '_ {
    let ask = move |record: Record| async move {
        match client.wraps(&record.metadata.record_id).await {
            Ok(held) if held.record_id != record.metadata.record_id => {
                Err(ClientError::Malformed {
                    what: "the wraps of the record that was asked for",
                })
            }
            Ok(held) => Ok((record, Some(held))),
            Err(ClientError::Refused(problem)) if problem.code == KEY_ELSEWHERE => {
                Ok((record, None))
            }
            Err(error) => Err(error),
        }
    };
    Box::pin(stream::iter(records).map(ask).buffered(QUESTIONS_AT_ONCE))
}

/// Changes the wraps of each record as `plan` says, which answers none where nothing is to be done.
async fn run(
    client: &Client,
    records: Vec<Record>,
    plan: impl Fn(&Record, &HeldWraps) -> Result<Option<WrapChange>, ClientError>,
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, ClientError> {
    let total = records.len();
    let mut outcome = Outcome::default();
    let mut changes = Vec::new();
    let mut answers = questions(client, records);
    while let Some((record, held)) = answers.try_next().await? {
        match held {
            None => {
                outcome.elsewhere.insert(record.metadata.registrar);
            }
            Some(held) => match plan(&record, &held)? {
                Some(change) => changes.push(change),
                None => outcome.records += 1,
            },
        }
        if changes.len() == CHANGES_AT_ONCE {
            submit(client, &mut changes, &mut outcome).await?;
            progress(Progress {
                done: outcome.records,
                total,
            });
        }
    }
    if !changes.is_empty() {
        submit(client, &mut changes, &mut outcome).await?;
    }
    progress(Progress {
        done: outcome.records,
        total,
    });
    Ok(outcome)
}

async fn submit(
    client: &Client,
    changes: &mut Vec<WrapChange>,
    outcome: &mut Outcome,
) -> Result<(), ClientError> {
    let changes = std::mem::take(changes);
    let count = changes.len();
    client.change_wraps(WrapChanges { changes }).await?;
    outcome.records += count;
    outcome.changed += count;
    Ok(())
}

/// The change that hands a record's key to `reader`; none if it is with the reader already.
fn shared_change(
    keys: &EncryptionKeys,
    held: &HeldWraps,
    grant_id: Option<GrantId>,
    reader: &PublicKey,
) -> Result<Option<WrapChange>, ClientError> {
    let gate_key = public_key(&held.gate)?;
    let there = held.wraps.iter().any(|wrap| {
        wrap.kid == reader.thumbprint() && wrap.gate.as_deref() == Some(gate_key.thumbprint())
    });
    if there {
        return Ok(None);
    }
    let refused = |error: sealed_object::WrapError| ClientError::Letter {
        problem: error.to_string(),
    };
    let inner = reader.wrap(&own_data_key(keys, held)?).map_err(refused)?;
    let outdated = held
        .wraps
        .iter()
        .filter(|wrap| grant_id.is_some() && wrap.grant_id == grant_id)
        .filter(|wrap| wrap.kid != reader.thumbprint());
    Ok(Some(WrapChange {
        record_id: held.record_id,
        remove: outdated.map(|wrap| wrap.kid.clone()).collect(),
        add: vec![KeyWrap {
            kid: reader.thumbprint().to_owned(),
            jwe: gate(&gate_key, &inner).map_err(refused)?,
            gate: Some(gate_key.thumbprint().to_owned()),
            grant_id,
        }],
    }))
}

/// The change that wraps a record's key for the key in use; none if it is already.
fn rewrapped_change(
    keys: &EncryptionKeys,
    held: &HeldWraps,
) -> Result<Option<WrapChange>, ClientError> {
    let current = keys.current().public_key();
    if held.plain(current.thumbprint()).is_some() {
        return Ok(None);
    }
    let data_key = own_data_key(keys, held)?;
    let jwe = current
        .wrap(&data_key)
        .map_err(|error| ClientError::Letter {
            problem: error.to_string(),
        })?;
    let outdated = keys
        .previous()
        .map(|key| key.public_key().thumbprint().to_owned());
    Ok(Some(WrapChange {
        record_id: held.record_id,
        remove: outdated.into_iter().collect(),
        add: vec![KeyWrap::plain(current.thumbprint().to_owned(), jwe)],
    }))
}

/// The record's data key, from the wrap for this profile's key or the one before.
fn own_data_key(keys: &EncryptionKeys, held: &HeldWraps) -> Result<DataKey, ClientError> {
    let found = std::iter::once(keys.current())
        .chain(keys.previous())
        .find_map(|key| Some((key, held.plain(key.public_key().thumbprint())?)));
    let problem = |problem: String| ClientError::Key { problem };
    let (key, wrap) = found.ok_or_else(|| {
        problem(format!(
            "the key of record {} is wrapped for none of your keys",
            held.record_id
        ))
    })?;
    key.unwrap(&wrap.jwe)
        .map_err(|error| problem(error.to_string()))
}

#[cfg(test)]
mod tests;
