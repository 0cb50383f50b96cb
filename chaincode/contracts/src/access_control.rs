//! The contract `access-control`: who takes part, who may read, who read.
//!
//! The functions here only take their arguments apart; each module decides one thing.

mod devices;
pub(crate) mod grants;
mod participants;
pub(crate) mod reads;

use contract_interface::access::GrantChanged;
use contract_interface::{
    Device, DevicePage, GrantPage, GrantProposal, Participant, ParticipantPage, ReadDecision,
    ReadPage, RegistrationOutcome,
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

    /// The grant to name in `AuthorizeRead`.
    #[transaction(evaluate)]
    async fn find_grant(
        &self,
        ctx: &Stub,
        record_id: String,
        reader: String,
        purpose: String,
        at: String,
    ) -> Result<GrantProposal, ContractError> {
        let record_id = text_argument("record_id", &record_id)?;
        let reader = text_argument("reader", &reader)?;
        let purpose = text_argument("purpose", &purpose)?;
        let at = text_argument("at", &at)?;
        Ok(grants::find(ctx, &record_id, &reader, purpose, at).await?)
    }

    /// Decides on the read in the signed transient field `request`, and records the decision.
    #[transaction(submit)]
    async fn authorize_read(&self, ctx: &Stub) -> Result<ReadDecision, ContractError> {
        ctx.start_write_batch();
        Ok(reads::authorize(ctx).await?)
    }

    /// Recorded reads by pages.
    #[transaction(evaluate)]
    async fn list_reads(&self, ctx: &Stub, filter: String) -> Result<ReadPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(reads::list(ctx, &filter).await?)
    }
}

#[cfg(test)]
mod tests;
