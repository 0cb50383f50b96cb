//! The contract `record-registry`: which records there are.

mod erase;
mod listing;
mod objects;
mod query;
mod register;
mod sources;
mod wraps;

use contract_interface::record::{
    ErasingPage, Erasure, ErasureChanged, RegisteredPage, WrapsChanged,
};
use contract_interface::{Record, RecordPage, RecordWraps, RegisterRecordsResult};
use fabric_shim::{ContractError, Stub};

use crate::failure::Failure;
use crate::input::{json_argument, text_argument};

/// Argument of `CompleteErasure` that does not wait for every organisation.
const FORCE: &str = "force";

/// The contract `record-registry`.
#[derive(Debug, Default)]
pub struct RecordRegistry;

#[fabric_shim::contract(name = "record-registry")]
impl RecordRegistry {
    /// Registers the records of the public argument with their private halves in the transient
    /// fields `records` and `wraps`.
    #[transaction(submit)]
    async fn register_records(
        &self,
        ctx: &Stub,
        batch: String,
    ) -> Result<RegisterRecordsResult, ContractError> {
        ctx.start_write_batch();
        let batch = json_argument("batch", &batch)?;
        Ok(register::register(ctx, batch).await?)
    }

    /// One record.
    #[transaction(evaluate)]
    async fn get_record(&self, ctx: &Stub, record_id: String) -> Result<Record, ContractError> {
        let id = text_argument("record_id", &record_id)?;
        Ok(query::get(ctx, &id).await?)
    }

    /// Records of a patient by pages.
    #[transaction(evaluate)]
    async fn list_records(&self, ctx: &Stub, filter: String) -> Result<RecordPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(query::list(ctx, &filter).await?)
    }

    /// The wrapped data keys of a record.
    #[transaction(evaluate)]
    async fn get_wraps(&self, ctx: &Stub, record_id: String) -> Result<RecordWraps, ContractError> {
        let id = text_argument("record_id", &record_id)?;
        Ok(query::wraps(ctx, &id).await?)
    }

    /// Public halves of the records that the caller's organisation registered, by pages.
    #[transaction(evaluate)]
    async fn list_registered(
        &self,
        ctx: &Stub,
        filter: String,
    ) -> Result<RegisteredPage, ContractError> {
        let filter = json_argument("filter", &filter)?;
        Ok(listing::registered(ctx, &filter).await?)
    }

    /// A record's public half and those of all versions before it, oldest first.
    #[transaction(evaluate)]
    async fn list_versions(
        &self,
        ctx: &Stub,
        record_id: String,
    ) -> Result<RegisteredPage, ContractError> {
        let id = text_argument("record_id", &record_id)?;
        Ok(listing::versions(ctx, &id).await?)
    }

    /// Makes the changes in the transient field `wrap_changes`, where only the patient holds the
    /// key with the patient's word in `request`.
    #[transaction(submit)]
    async fn change_wraps(&self, ctx: &Stub) -> Result<WrapsChanged, ContractError> {
        ctx.start_write_batch();
        Ok(wraps::change(ctx).await?)
    }

    /// Purges keys and metadata of the record named in the signed transient field `request`.
    #[transaction(submit)]
    async fn erase_record(&self, ctx: &Stub) -> Result<ErasureChanged, ContractError> {
        ctx.start_write_batch();
        Ok(erase::erase(ctx).await?)
    }

    /// Records under erasure about which the caller's organisation has something to do, by pages.
    #[transaction(evaluate)]
    async fn list_erasures(&self, ctx: &Stub, page: String) -> Result<ErasingPage, ContractError> {
        let page = json_argument("page", &page)?;
        Ok(erase::list(ctx, &page).await?)
    }

    /// Keeps the word of the creator's organisation that it no longer holds the object of the
    /// record in the transient field `record_id`.
    #[transaction(submit)]
    async fn confirm_removal(&self, ctx: &Stub) -> Result<ErasureChanged, ContractError> {
        ctx.start_write_batch();
        Ok(erase::confirm(ctx).await?)
    }

    /// Purges what is left of the record in the transient field `record_id`: with an empty
    /// argument when every organisation has confirmed, with `force` when an administrator signed
    /// the transient field `request`.
    #[transaction(submit)]
    async fn complete_erasure(
        &self,
        ctx: &Stub,
        force: String,
    ) -> Result<ErasureChanged, ContractError> {
        ctx.start_write_batch();
        let insisted = match force.as_str() {
            "" => false,
            FORCE => true,
            _ => return Err(Failure::argument("force is empty or \"force\"").into()),
        };
        Ok(erase::complete(ctx, insisted).await?)
    }

    /// The tombstone of an erased record, with every organisation's word.
    #[transaction(evaluate)]
    async fn get_erasure(&self, ctx: &Stub, record_id: String) -> Result<Erasure, ContractError> {
        let id = text_argument("record_id", &record_id)?;
        Ok(erase::get(ctx, &id).await?)
    }
}

#[cfg(test)]
mod tests;
