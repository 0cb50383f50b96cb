//! Questions to the contracts. Evaluated, so nothing of them is on the ledger.

use contract_interface::access::{
    AccessRequestFilter, AccessRequestPage, DelegationFilter, DelegationPage, EmergencyFilter,
    EmergencyPage, Explanation, NoticeFilter, NoticePage, PolicyFilter, PolicyPage,
};
use contract_interface::names::transactions;
use contract_interface::{
    Device, DeviceId, DevicePage, Digest, ErrorCode, GrantEntry, GrantFilter, GrantId, GrantPage,
    PageRequest, Participant, ParticipantFilter, ParticipantId, ParticipantPage, ProjectCode,
    Pseudonym, Purpose, ReadEntry, ReadFilter, ReadId, ReadPage, Record, RecordFilter, RecordId,
    RecordPage, RecordWraps, UtcTime,
};

use super::{Ledger, LedgerError, Viewer, json, query};

/// Who would read, why and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadQuestion {
    /// Who reads.
    pub reader: ParticipantId,
    /// Why.
    pub purpose: Purpose,
    /// For which project.
    pub project: Option<ProjectCode>,
    /// When.
    pub at: UtcTime,
}

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

    /// One grant of a patient, if the viewer may see it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown grant is `None`, no error.
    pub async fn grant(
        &self,
        viewer: Viewer<'_>,
        patient: &Pseudonym,
        id: &GrantId,
    ) -> Result<Option<GrantEntry>, LedgerError> {
        let call = query(transactions::GET_GRANT, viewer)
            .argument(patient.to_string())
            .argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::GrantNotFound)
    }

    /// Policies of an organisation, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn policies(
        &self,
        viewer: Viewer<'_>,
        filter: &PolicyFilter,
    ) -> Result<PolicyPage, LedgerError> {
        let call = query(transactions::LIST_POLICIES, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// Delegations of a patient or to a guardian, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn delegations(
        &self,
        viewer: Viewer<'_>,
        filter: &DelegationFilter,
    ) -> Result<DelegationPage, LedgerError> {
        let call = query(transactions::LIST_DELEGATIONS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// Requests for access to a patient or of a provider, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn access_requests(
        &self,
        viewer: Viewer<'_>,
        filter: &AccessRequestFilter,
    ) -> Result<AccessRequestPage, LedgerError> {
        let call = query(transactions::LIST_ACCESS_REQUESTS, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// Declared emergencies, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn emergencies(
        &self,
        viewer: Viewer<'_>,
        filter: &EmergencyFilter,
    ) -> Result<EmergencyPage, LedgerError> {
        let call = query(transactions::LIST_EMERGENCIES, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// Notices to the viewer, by pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn notices(
        &self,
        viewer: Viewer<'_>,
        filter: &NoticeFilter,
    ) -> Result<NoticePage, LedgerError> {
        let call = query(transactions::LIST_NOTICES, viewer).argument(json(filter)?);
        self.evaluate(call).await
    }

    /// What `AuthorizeRead` would decide at a time, and why. It decides nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown record is `None`, no error.
    pub async fn explain_read(
        &self,
        viewer: Viewer<'_>,
        record: &RecordId,
        question: &ReadQuestion,
    ) -> Result<Option<Explanation>, LedgerError> {
        let project = question.project.as_ref().map(ProjectCode::as_str);
        let call = query(transactions::EXPLAIN_READ, viewer)
            .argument(record.to_string())
            .argument(question.reader.to_string())
            .argument(question.purpose.to_string())
            .argument(project.unwrap_or_default())
            .argument(question.at.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::RecordNotFound)
    }

    /// One recorded decision on a read, if the viewer may see it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; an unknown read is `None`, no error.
    pub async fn read(
        &self,
        viewer: Viewer<'_>,
        id: &ReadId,
    ) -> Result<Option<ReadEntry>, LedgerError> {
        let call = query(transactions::GET_READ, viewer).argument(id.to_string());
        absent_as_none(self.evaluate(call).await, ErrorCode::ReadNotFound)
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
pub(super) fn absent_as_none<T>(
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
