//! The contract `record-registry`: which records there are.

mod query;
mod register;

use contract_interface::{Record, RecordPage, RecordWraps, RegisterRecordsResult};
use fabric_shim::{ContractError, Stub};

use crate::input::{json_argument, text_argument};

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
}

#[cfg(test)]
mod tests;
