//! Questions to the contracts. Evaluated, so nothing of them is on the ledger.

use contract_interface::names::transactions;
use contract_interface::{
    Device, DeviceId, DevicePage, Digest, ErrorCode, GrantFilter, GrantPage, GrantProposal,
    PageRequest, Participant, ParticipantFilter, ParticipantId, ParticipantPage, Purpose,
    ReadFilter, ReadPage, Record, RecordFilter, RecordId, RecordPage, RecordWraps, UtcTime,
};

use super::{Ledger, LedgerError, Viewer, json, query};

impl Ledger {
    /// A participant by ID.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown participant is `None`, no error.
    pub async fn participant(
        &self,
        viewer: Viewer<'_>,
        id: &ParticipantId,
    ) -> Result<Option<Participant>, LedgerError> {
        let call = query(transactions::GET_PARTICIPANT, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::ParticipantNotFound)
    }

    /// A participant by the SHA-256 of its certificate.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown participant is `None`, no error.
    pub async fn participant_by_thumbprint(
        &self,
        viewer: Viewer<'_>,
        thumbprint: &Digest,
    ) -> Result<Option<Participant>, LedgerError> {
        let call = query(transactions::GET_PARTICIPANT_BY_THUMBPRINT, viewer)
            .argument(thumbprint.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::ParticipantNotFound)
    }

    /// Participants, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn participants(
        &self,
        viewer: Viewer<'_>,
        filter: &ParticipantFilter,
    ) -> Result<ParticipantPage, LedgerError> {
        let call = query(transactions::LIST_PARTICIPANTS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// A device of the oracle's organisation.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown device is `None`, no error.
    pub async fn device(
        &self,
        viewer: Viewer<'_>,
        id: &DeviceId,
    ) -> Result<Option<Device>, LedgerError> {
        let call = query(transactions::GET_DEVICE, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::DeviceNotFound)
    }

    /// The devices of the oracle's organisation, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn devices(
        &self,
        viewer: Viewer<'_>,
        page: &PageRequest,
    ) -> Result<DevicePage, LedgerError> {
        let call = query(transactions::LIST_DEVICES, viewer).argument(json(page)?);
        self.evaluate(call).await
    }

    /// A record, if the viewer may see it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown record is `None`, no error.
    pub async fn record(
        &self,
        viewer: Viewer<'_>,
        id: &RecordId,
    ) -> Result<Option<Record>, LedgerError> {
        let call = query(transactions::GET_RECORD, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::RecordNotFound)
    }

    /// The records of a patient that the viewer may see, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn records(
        &self,
        viewer: Viewer<'_>,
        filter: &RecordFilter,
    ) -> Result<RecordPage, LedgerError> {
        let call = query(transactions::LIST_RECORDS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// The wrapped data keys of a record, for the oracle's own use.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn wraps(&self, id: &RecordId) -> Result<RecordWraps, LedgerError> {
        let call = query(transactions::GET_WRAPS, Viewer::Oracle).argument(id.to_string());
        self.evaluate(call).await
    }

    /// Grants of a patient or to a participant, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn grants(
        &self,
        viewer: Viewer<'_>,
        filter: &GrantFilter,
    ) -> Result<GrantPage, LedgerError> {
        let call = query(transactions::LIST_GRANTS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// The grant to name in `AuthorizeRead`: a submitted transaction cannot search private data.
    /// It decides nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn find_grant(
        &self,
        record: &RecordId,
        reader: &ParticipantId,
        purpose: Purpose,
        at: UtcTime,
    ) -> Result<GrantProposal, LedgerError> {
        let call = query(transactions::FIND_GRANT, Viewer::Oracle)
            .argument(record.to_string())
            .argument(reader.to_string())
            .argument(purpose.to_string())
            .argument(at.to_string());
        self.evaluate(call).await
    }

    /// Recorded decisions on reads that the viewer may see, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn reads(
        &self,
        viewer: Viewer<'_>,
        filter: &ReadFilter,
    ) -> Result<ReadPage, LedgerError> {
        let call = query(transactions::LIST_READS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }
}

/// Turns the contract's "there is no such thing" into `None`.
fn absent_as_none<T>(
    answer: Result<T, LedgerError>,
    absent: ErrorCode,
) -> Result<Option<T>, LedgerError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(LedgerError::Contract {
            code: Some(code), ..
        }) if code == absent => Ok(None),
        Err(error) => Err(error),
    }
}
