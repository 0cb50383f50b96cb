//! The contract `access-control`: who takes part, who may read, who read.
//!
//! The functions here only take their arguments apart; each module decides one thing.

mod asking;
mod audit;
pub(crate) mod clocks;
mod delegations;
mod devices;
mod emergencies;
mod explain;
mod grants;
pub(crate) mod key_holders;
mod key_proofs;
mod nonces;
pub(crate) mod notices;
pub(crate) mod oracles;
mod participants;
mod policies;
pub(crate) mod reads;
pub(crate) mod rules;
mod slots;

use contract_interface::access::{
    AccessRequestChanged, AccessRequestPage, DelegationChanged, DelegationPage, EmergencyChanged,
    EmergencyPage, Explanation, GrantChanged, NoticePage, PolicyChanged, PolicyPage,
};
use contract_interface::{
    Device, DevicePage, GrantEntry, GrantPage, NoncesPurged, OrganizationClock, Participant,
    ParticipantPage, ReadDecision, ReadEntry, ReadPage, RegistrationOutcome, StaleNonces,
};
use fabric_shim::{ContractError, Stub};

use crate::input::{json_argument, text_argument};

/// The contract `access-control`.
#[derive(Debug, Default)]
pub struct AccessControl;

#[fabric_shim::contract(name = "access-control")]
impl AccessControl {
    /// Registers, renews, suspends or revokes the participant in the transient field
    /// `participant`.
    #[transaction(submit)]
    async fn register_participant(&self, ctx: &Stub) -> Result<RegistrationOutcome, ContractError> {
        ctx.start_write_batch();
        Ok(participants::register(ctx).await?)
    }

    /// Registers, binds, suspends or revokes the device in the transient field `device`.
    #[transaction(submit)]
    async fn register_device(&self, ctx: &Stub) -> Result<RegistrationOutcome, ContractError> {
        ctx.start_write_batch();
        Ok(devices::register(ctx).await?)
    }

    /// One participant by ID.
    #[transaction(evaluate)]
    async fn get_participant(
        &self,
        ctx: &Stub,
        participant_id: String,
    ) -> Result<Participant, ContractError> {
        let id = text_argument("participant_id", &participant_id)?;
        Ok(participants::get(ctx, &id).await?)
    }

    /// One participant by the SHA-256 of its certificate.
    #[transaction(evaluate)]
    async fn get_participant_by_thumbprint(
        &self,
        ctx: &Stub,
        thumbprint: String,
    ) -> Result<Participant, ContractError> {
        let thumbprint = text_argument("thumbprint", &thumbprint)?;
        Ok(participants::get_by_thumbprint(ctx, &thumbprint).await?)
    }

    /// Participants by pages.
    #[transaction(evaluate)]
    async fn list_participants(
        &self,
        ctx: &Stub,
        filter: String,
    ) -> Result<ParticipantPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(participants::list(ctx, &filter).await?)
    }

    /// One device of the caller's organisation.
    #[transaction(evaluate)]
    async fn get_device(&self, ctx: &Stub, device_id: String) -> Result<Device, ContractError> {
        let id = text_argument("device_id", &device_id)?;
        Ok(devices::get(ctx, &id).await?)
    }

    /// The devices of the caller's organisation by pages.
    #[transaction(evaluate)]
    async fn list_devices(&self, ctx: &Stub, page: String) -> Result<DevicePage, ContractError> {
        let page = json_argument("page", &page)?;
        Ok(devices::list(ctx, &page).await?)
    }

    /// Keeps the grant in the signed transient field `request`.
    #[transaction(submit)]
    async fn grant_access(&self, ctx: &Stub) -> Result<GrantChanged, ContractError> {
        ctx.start_write_batch();
        Ok(grants::give(ctx).await?)
    }

    /// Ends the grant named in the signed transient field `request`.
    #[transaction(submit)]
    async fn revoke_access(&self, ctx: &Stub) -> Result<GrantChanged, ContractError> {
        ctx.start_write_batch();
        Ok(grants::revoke(ctx).await?)
    }

    /// Grants by pages.
    #[transaction(evaluate)]
    async fn list_grants(&self, ctx: &Stub, filter: String) -> Result<GrantPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(grants::list(ctx, &filter).await?)
    }

    /// One grant of a patient.
    #[transaction(evaluate)]
    async fn get_grant(
        &self,
        ctx: &Stub,
        patient: String,
        grant_id: String,
    ) -> Result<GrantEntry, ContractError> {
        let patient = text_argument("patient", &patient)?;
        let grant_id = text_argument("grant_id", &grant_id)?;
        Ok(grants::get(ctx, &patient, &grant_id).await?)
    }

    /// Keeps the policy in the signed transient field `request`.
    #[transaction(submit)]
    async fn set_policy(&self, ctx: &Stub) -> Result<PolicyChanged, ContractError> {
        ctx.start_write_batch();
        Ok(policies::set(ctx).await?)
    }

    /// Ends the policy named in the signed transient field `request`.
    #[transaction(submit)]
    async fn withdraw_policy(&self, ctx: &Stub) -> Result<PolicyChanged, ContractError> {
        ctx.start_write_batch();
        Ok(policies::withdraw(ctx).await?)
    }

    /// An organisation's policies by pages.
    #[transaction(evaluate)]
    async fn list_policies(&self, ctx: &Stub, filter: String) -> Result<PolicyPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(policies::list(ctx, &filter).await?)
    }

    /// What `AuthorizeRead` would decide, and why. The project may be empty.
    #[transaction(evaluate)]
    async fn explain_read(
        &self,
        ctx: &Stub,
        record_id: String,
        reader: String,
        purpose: String,
        project: String,
        at: String,
    ) -> Result<Explanation, ContractError> {
        let asked = explain::Imagined {
            record_id: text_argument("record_id", &record_id)?,
            reader: text_argument("reader", &reader)?,
            purpose: text_argument("purpose", &purpose)?,
            project: match project.as_str() {
                "" => None,
                project => Some(text_argument("project", project)?),
            },
            at: text_argument("at", &at)?,
        };
        Ok(explain::explain(ctx, &asked).await?)
    }

    /// Decides on the read in the signed transient field `request`, and records the decision.
    #[transaction(submit)]
    async fn authorize_read(&self, ctx: &Stub) -> Result<ReadDecision, ContractError> {
        ctx.start_write_batch();
        Ok(reads::authorize(ctx).await?)
    }

    /// One recorded read.
    #[transaction(evaluate)]
    async fn get_read(&self, ctx: &Stub, read_id: String) -> Result<ReadEntry, ContractError> {
        let id = text_argument("read_id", &read_id)?;
        Ok(audit::get(ctx, &id).await?)
    }

    /// Recorded reads by pages.
    #[transaction(evaluate)]
    async fn list_reads(&self, ctx: &Stub, filter: String) -> Result<ReadPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(audit::list(ctx, &filter).await?)
    }

    /// Replaces the encryption key of who signed the transient field `request`.
    #[transaction(submit)]
    async fn rotate_key(&self, ctx: &Stub) -> Result<RegistrationOutcome, ContractError> {
        ctx.start_write_batch();
        Ok(participants::rotate_key(ctx).await?)
    }

    /// Keeps the delegation in the signed transient field `request`.
    #[transaction(submit)]
    async fn delegate(&self, ctx: &Stub) -> Result<DelegationChanged, ContractError> {
        ctx.start_write_batch();
        Ok(delegations::delegate(ctx).await?)
    }

    /// Ends the delegation named in the signed transient field `request`.
    #[transaction(submit)]
    async fn revoke_delegation(&self, ctx: &Stub) -> Result<DelegationChanged, ContractError> {
        ctx.start_write_batch();
        Ok(delegations::revoke(ctx).await?)
    }

    /// Delegations by pages.
    #[transaction(evaluate)]
    async fn list_delegations(
        &self,
        ctx: &Stub,
        filter: String,
    ) -> Result<DelegationPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(delegations::list(ctx, &filter).await?)
    }

    /// Keeps the request for access in the signed transient field `request`.
    #[transaction(submit)]
    async fn request_access(&self, ctx: &Stub) -> Result<AccessRequestChanged, ContractError> {
        ctx.start_write_batch();
        Ok(asking::ask(ctx).await?)
    }

    /// Refuses the request for access named in the signed transient field `request`.
    #[transaction(submit)]
    async fn refuse_access(&self, ctx: &Stub) -> Result<AccessRequestChanged, ContractError> {
        ctx.start_write_batch();
        Ok(asking::refuse(ctx).await?)
    }

    /// Requests for access by pages.
    #[transaction(evaluate)]
    async fn list_access_requests(
        &self,
        ctx: &Stub,
        filter: String,
    ) -> Result<AccessRequestPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(asking::list(ctx, &filter).await?)
    }

    /// Declares the emergency in the signed transient field `request`.
    #[transaction(submit)]
    async fn declare_emergency(&self, ctx: &Stub) -> Result<EmergencyChanged, ContractError> {
        ctx.start_write_batch();
        Ok(emergencies::declare(ctx).await?)
    }

    /// Closes the review of the emergency named in the signed transient field `request`.
    #[transaction(submit)]
    async fn review_emergency(&self, ctx: &Stub) -> Result<EmergencyChanged, ContractError> {
        ctx.start_write_batch();
        Ok(emergencies::review(ctx).await?)
    }

    /// Emergencies by pages.
    #[transaction(evaluate)]
    async fn list_emergencies(
        &self,
        ctx: &Stub,
        filter: String,
    ) -> Result<EmergencyPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(emergencies::list(ctx, &filter).await?)
    }

    /// The caller's notices by pages, oldest first.
    #[transaction(evaluate)]
    async fn list_notices(&self, ctx: &Stub, filter: String) -> Result<NoticePage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(notices::list(ctx, &filter).await?)
    }

    /// Moves the clock of the creator's organisation to a time.
    #[transaction(submit)]
    async fn tick(&self, ctx: &Stub, time: String) -> Result<OrganizationClock, ContractError> {
        ctx.start_write_batch();
        let time = text_argument("time", &time)?;
        Ok(clocks::tick(ctx, time).await?)
    }

    /// Keys of used nonces that may be purged.
    #[transaction(evaluate)]
    async fn list_stale_nonces(&self, ctx: &Stub) -> Result<StaleNonces, ContractError> {
        Ok(nonces::list_stale(ctx).await?)
    }

    /// Purges the used nonces whose keys are in the transient field `nonces`.
    #[transaction(submit)]
    async fn purge_nonces(&self, ctx: &Stub) -> Result<NoncesPurged, ContractError> {
        ctx.start_write_batch();
        Ok(nonces::purge(ctx).await?)
    }
}

#[cfg(test)]
mod tests;
