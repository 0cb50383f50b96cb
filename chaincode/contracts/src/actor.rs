//! Who acts and who looks, from certificates alone.

use contract_interface::access::Power;
use contract_interface::names::{attributes, transient};
use contract_interface::{
    Decision, Digest, ErrorCode, GrantEntry, Grantee, MspId, Participant, PolicyEntry, Pseudonym,
    ReadEntry, Role, Status,
};
use fabric_shim::Stub;

use crate::failure::Failure;
use crate::input;
use crate::ledger::Ledger;

/// OU that a NodeOU configuration gives administrators.
const ADMIN_OU: &str = "admin";

/// The creator of a proposal. Its chain was verified by the peer.
#[derive(Debug)]
pub(crate) struct Creator {
    pub(crate) msp_id: MspId,
    pub(crate) thumbprint: Digest,
    /// What its CA says that it is.
    attested: Option<Role>,
}

impl Creator {
    /// Reads the creator of the transaction.
    pub(crate) fn of(stub: &Stub) -> Result<Self, Failure> {
        let identity = stub.client_identity()?;
        let msp_id = identity
            .msp_id()
            .parse()
            .map_err(|_| Failure::argument("the creator's MSP ID is not one that is kept"))?;
        let attested = match identity.attribute(attributes::ROLE) {
            Some(role) => Some(Role::from_text(role).ok_or_else(|| {
                Failure::forbidden("the creator's salus.role is none of the known roles")
            })?),
            None => identity.has_ou(ADMIN_OU).then_some(Role::Admin),
        };
        let thumbprint = Digest::from_bytes(identity.certificate().thumbprint());
        Ok(Self {
            msp_id,
            thumbprint,
            attested,
        })
    }

    /// Requires that the creator's CA attests one of the roles. For the time before anyone is
    /// registered.
    pub(crate) fn require_attested(&self, roles: &[Role]) -> Result<(), Failure> {
        require(self.attested, roles)
    }

    /// What the creator is: as its CA attests, else as it is registered by its own organisation.
    /// Who is registered as suspended or revoked is nothing, whatever its certificate says: that
    /// holds until it ends, or until every peer knows the revocation list that names it.
    async fn role(&self, ledger: &Ledger<'_>) -> Result<Option<Role>, Failure> {
        let registered = ledger.participant_by_thumbprint(&self.thumbprint).await?;
        let registered = registered.filter(|found| found.msp_id == self.msp_id);
        match registered {
            Some(found) if found.status != Status::Active => Ok(None),
            found => Ok(self.attested.or(found.map(|found| found.role))),
        }
    }

    /// Requires that the creator has one of the roles.
    pub(crate) async fn require(&self, ledger: &Ledger<'_>, roles: &[Role]) -> Result<(), Failure> {
        require(self.role(ledger).await?, roles)
    }
}

fn require(role: Option<Role>, roles: &[Role]) -> Result<(), Failure> {
    if role.is_some_and(|role| roles.contains(&role)) {
        Ok(())
    } else {
        Err(Failure::forbidden(
            "the creator does not have a role that may do this",
        ))
    }
}

/// On whose behalf a query is made, and so what it may show.
#[derive(Debug)]
pub(crate) enum Viewer {
    /// An oracle on its own behalf. Its organisation's peer holds all of it anyway.
    Oracle { msp_id: MspId },
    /// An administrator or auditor: what concerns the organisation.
    Organization { msp_id: MspId },
    /// A patient: all about the own records, and about those of whom it is the guardian.
    Patient {
        participant: Participant,
        /// Whether an oracle states the time. Who sends the proposal itself could date it back
        /// into the life of an expired grant or delegation, and so sees nothing by these.
        timed_by_oracle: bool,
    },
    /// A provider: what rules show, and the own reads.
    Provider {
        participant: Participant,
        /// As above.
        timed_by_oracle: bool,
    },
}

impl Viewer {
    /// The viewer of an evaluated transaction: the transient `caller`, for whom only an oracle may
    /// ask, else the creator.
    pub(crate) async fn of(ledger: &Ledger<'_>) -> Result<Self, Failure> {
        let creator = Creator::of(ledger.stub)?;
        if let Some(pem) = input::optional_transient(ledger.stub, transient::CALLER)? {
            creator.require(ledger, &[Role::Oracle]).await?;
            let thumbprint = Digest::from_bytes(input::certificate(pem)?.thumbprint());
            return Self::registered(ledger, &thumbprint, true).await;
        }
        match creator.role(ledger).await? {
            Some(Role::Oracle) => Ok(Self::Oracle {
                msp_id: creator.msp_id,
            }),
            Some(Role::Admin | Role::Auditor) => Ok(Self::Organization {
                msp_id: creator.msp_id,
            }),
            Some(Role::Patient | Role::Provider) | None => {
                Self::registered(ledger, &creator.thumbprint, false).await
            }
        }
    }

    async fn registered(
        ledger: &Ledger<'_>,
        thumbprint: &Digest,
        timed_by_oracle: bool,
    ) -> Result<Self, Failure> {
        let participant = ledger
            .participant_by_thumbprint(thumbprint)
            .await?
            .ok_or_else(unknown_participant)?;
        if participant.status != Status::Active {
            return Err(Failure::forbidden("the caller is suspended or revoked"));
        }
        Ok(match participant.role {
            Role::Oracle => Self::Oracle {
                msp_id: participant.msp_id,
            },
            Role::Admin | Role::Auditor => Self::Organization {
                msp_id: participant.msp_id,
            },
            Role::Patient => Self::Patient {
                participant,
                timed_by_oracle,
            },
            Role::Provider => Self::Provider {
                participant,
                timed_by_oracle,
            },
        })
    }

    /// The organisation whose devices and patients the viewer administers, if it does.
    pub(crate) fn administers(&self) -> Result<&MspId, Failure> {
        match self {
            Self::Oracle { msp_id } | Self::Organization { msp_id } => Ok(msp_id),
            Self::Patient { .. } | Self::Provider { .. } => Err(Failure::forbidden(
                "only an oracle, admin or auditor may see this",
            )),
        }
    }

    /// The person who looks, if it is one who looks for itself.
    pub(crate) fn person(&self) -> Option<&Participant> {
        match self {
            Self::Oracle { .. } | Self::Organization { .. } => None,
            Self::Patient { participant, .. } | Self::Provider { participant, .. } => {
                Some(participant)
            }
        }
    }

    /// What tells this viewer from every other.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Oracle { msp_id } => format!("oracle of {msp_id}"),
            Self::Organization { msp_id } => format!("organization {msp_id}"),
            Self::Patient { participant, .. } | Self::Provider { participant, .. } => {
                format!("participant {}", participant.participant_id)
            }
        }
    }

    /// Whether the viewer is the patient, or a guardian with the power now.
    pub(crate) async fn acts_for(
        &self,
        ledger: &Ledger<'_>,
        patient: &Pseudonym,
        power: Power,
    ) -> Result<bool, Failure> {
        let (Self::Patient {
            participant,
            timed_by_oracle,
        }
        | Self::Provider {
            participant,
            timed_by_oracle,
        }) = self
        else {
            return Ok(false);
        };
        let id = participant.participant_id;
        if matches!(self, Self::Patient { .. }) && *patient == id.into() {
            return Ok(true);
        }
        if !timed_by_oracle {
            return Ok(false);
        }
        let now = input::transaction_time(ledger.stub)?;
        let delegation = ledger.delegation(patient, &id).await?;
        Ok(delegation.is_some_and(|entry| entry.gives(power, &[now])))
    }

    /// Whether the viewer may see all of this participant. Of patients providers and guardians see
    /// less, when they name one: `participants::get`.
    pub(crate) fn sees_participant(&self, seen: &Participant) -> bool {
        seen.role != Role::Patient
            || match self {
                Self::Oracle { .. } => true,
                Self::Organization { msp_id } => seen.msp_id == *msp_id,
                Self::Patient { participant, .. } => {
                    participant.participant_id == seen.participant_id
                }
                Self::Provider { .. } => false,
            }
    }

    /// Whether the viewer may see this read, guardians aside.
    pub(crate) fn sees_read(&self, read: &ReadEntry) -> bool {
        match self {
            Self::Oracle { .. } => true,
            Self::Organization { msp_id } => [
                &read.reader_msp,
                &read.oracle_msp,
                &read.patient_msp,
                &read.registrar,
            ]
            .contains(&msp_id),
            Self::Patient { participant, .. } => {
                let id = participant.participant_id;
                read.reader == id || read.patient == id.into()
            }
            Self::Provider { participant, .. } => read.reader == participant.participant_id,
        }
    }

    /// Whether the viewer may see this grant, guardians aside. Whom it concerns sees a permit; a
    /// denial is the patient's own, and says what the patient keeps from whom.
    pub(crate) fn sees_grant(&self, entry: &GrantEntry) -> bool {
        let rule = &entry.grant.rule;
        let (grantee, is_permit) = (&rule.grantee, rule.decision == Decision::Permit);
        match self {
            Self::Oracle { .. } => true,
            Self::Organization { msp_id } => {
                entry.patient_msp == *msp_id || (is_permit && grantee_msp(grantee) == Some(msp_id))
            }
            Self::Patient { participant, .. } => entry.patient == participant.participant_id.into(),
            Self::Provider { participant, .. } => is_permit && grantee.includes(participant),
        }
    }

    /// Whether the viewer may see this policy. Patients see all: policies are above their grants.
    pub(crate) fn sees_policy(&self, entry: &PolicyEntry) -> bool {
        let grantee = &entry.policy.rule.grantee;
        match self {
            Self::Oracle { .. } | Self::Patient { .. } => true,
            Self::Organization { msp_id } => {
                entry.msp_id == *msp_id
                    || *grantee == Grantee::Anyone
                    || grantee_msp(grantee) == Some(msp_id)
            }
            Self::Provider { participant, .. } => {
                entry.msp_id == participant.msp_id || grantee.includes(participant)
            }
        }
    }
}

fn grantee_msp(grantee: &Grantee) -> Option<&MspId> {
    match grantee {
        Grantee::Organization(msp_id) | Grantee::Role { msp_id, .. } => Some(msp_id),
        Grantee::Participant(_) | Grantee::Anyone => None,
    }
}

/// Nobody is registered with the certificate.
pub(crate) fn unknown_participant() -> Failure {
    Failure::new(
        ErrorCode::UnknownParticipant,
        "no participant is registered with this certificate",
    )
}
