//! Who holds keys, looked up on the ledger and remembered for one pass.

use std::collections::HashMap;

use contract_interface::access::{Decision, DelegationFilter, Grant, Power};
use contract_interface::{
    GrantFilter, GrantStatus, Grantee, PageRequest, Participant, ParticipantFilter, ParticipantId,
    Pseudonym, Role, Status,
};
use sealed_object::PublicKey;

use super::plan::{Holder, Wants};
use crate::clock;
use crate::jobs::JobError;
use crate::ledger::{Ledger, LedgerError, Viewer};

/// Readers remembered in one pass.
const READERS_MAX: usize = 10_000;
/// Readers of one patient's records; a record has no room for more wraps.
const HOLDERS_MAX: usize = 256;

/// Look-ups of one pass.
#[derive(Debug)]
pub(super) struct Persons {
    ledger: Ledger,
    /// Keys of the organisation's own active oracles.
    oracles: Vec<PublicKey>,
    readers: HashMap<ParticipantId, Option<Participant>>,
}

/// The registered key, if it can be used.
fn key_of(participant: &Participant) -> Option<PublicKey> {
    let json = serde_json::to_string(participant.encryption_key.as_ref()?).ok()?;
    PublicKey::from_jwk(&json).ok()
}

impl Persons {
    pub(super) async fn new(ledger: Ledger) -> Result<Self, LedgerError> {
        let own = ledger.msp_id().as_str().parse().ok();
        let mut oracles: Vec<PublicKey> = Vec::new();
        let mut page_token = None;
        loop {
            let filter = ParticipantFilter {
                role: Some(Role::Oracle),
                msp_id: own.clone(),
                page: PageRequest {
                    page_size: None,
                    page_token: page_token.take(),
                },
            };
            let page = ledger.participants(Viewer::Oracle, &filter).await?;
            let own_active = page.participants.iter().filter(|participant| {
                participant.status == Status::Active
                    && participant.msp_id.as_str() == ledger.msp_id().as_str()
            });
            for key in own_active.filter_map(key_of) {
                if !oracles.contains(&key) {
                    oracles.push(key);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_none() {
                break;
            }
        }
        Ok(Self {
            ledger,
            oracles,
            readers: HashMap::new(),
        })
    }

    /// Who is to hold keys of a patient's records now.
    pub(super) async fn wants(&mut self, patient: &Participant) -> Result<Wants, JobError> {
        let mut holders = self.granted(patient.participant_id.into()).await?;
        holders.extend(self.guardians(patient.participant_id.into()).await?);
        holders.truncate(HOLDERS_MAX);
        Ok(Wants {
            patient: key_of(patient),
            oracles: self.oracles.clone(),
            holders,
        })
    }

    /// Persons to whom a grant that stands now gives something.
    async fn granted(&mut self, patient: Pseudonym) -> Result<Vec<Holder>, JobError> {
        let mut holders = Vec::new();
        let mut filter = GrantFilter {
            patient: Some(patient),
            ..GrantFilter::default()
        };
        loop {
            let page = self.ledger.grants(Viewer::Oracle, &filter).await?;
            for entry in page.grants {
                let stands =
                    entry.status == GrantStatus::Active && entry.grant.valid_at(clock::now());
                let grant: Grant = entry.grant;
                if let Grantee::Participant(id) = grant.rule.grantee
                    && stands
                    && grant.rule.decision == Decision::Permit
                    && let Some(reader) = self.reader(id).await?
                    && let Some(key) = key_of(&reader)
                {
                    holders.push(Holder {
                        reader,
                        key,
                        grant: Some(grant),
                    });
                }
            }
            filter.page.page_token = page.next_page_token;
            if filter.page.page_token.is_none() {
                return Ok(holders);
            }
        }
    }

    /// Guardians who may read for the patient.
    async fn guardians(&mut self, patient: Pseudonym) -> Result<Vec<Holder>, JobError> {
        let mut holders = Vec::new();
        let mut filter = DelegationFilter {
            patient: Some(patient),
            ..DelegationFilter::default()
        };
        loop {
            let page = self.ledger.delegations(Viewer::Oracle, &filter).await?;
            for entry in page.delegations {
                if entry.gives(Power::Read, &[clock::now()])
                    && let Some(reader) = self.reader(entry.delegation.guardian).await?
                    && let Some(key) = key_of(&reader)
                {
                    holders.push(Holder {
                        reader,
                        key,
                        grant: None,
                    });
                }
            }
            filter.page.page_token = page.next_page_token;
            if filter.page.page_token.is_none() {
                return Ok(holders);
            }
        }
    }

    async fn reader(&mut self, id: ParticipantId) -> Result<Option<Participant>, LedgerError> {
        if let Some(known) = self.readers.get(&id) {
            return Ok(known.clone());
        }
        let found = self.ledger.participant(Viewer::Oracle, &id).await?;
        let active = found.filter(|participant| participant.status == Status::Active);
        if self.readers.len() < READERS_MAX {
            self.readers.insert(id, active.clone());
        }
        Ok(active)
    }
}
