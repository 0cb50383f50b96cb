//! Grants, policies, guardians, requests for access.

use contract_interface::{
    AccessRequestId, Delegate, Grant, GrantAccess, GrantEntry, GrantFilter, GrantId, GrantPage,
    PolicyId, Pseudonym, RefuseAccess, RequestAccess, RevokeAccess, RevokeDelegation, SetPolicy,
    WithdrawPolicy,
    access::{
        AccessRequest, AccessRequestEntry, AccessRequestFilter, AccessRequestPage, Delegation,
        DelegationEntry, DelegationFilter, DelegationPage, Policy, PolicyEntry, PolicyFilter,
        PolicyPage,
    },
};

use super::{
    Client, Recorded,
    pages::{all, text},
};
use crate::error::ClientError;

impl Client {
    /// Gives a grant, signed. For patients, about their own records; for guardians, about those of
    /// `patient`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the caller may not give it or the grant is malformed.
    pub async fn give_grant(
        &self,
        grant: Grant,
        patient: Option<Pseudonym>,
    ) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/grants", GrantAccess { grant, patient })
            .await
    }

    /// Ends a grant, signed. For the patient who gave it, or a guardian of `patient`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is another's, unknown, or ended already.
    pub async fn revoke_grant(
        &self,
        grant_id: GrantId,
        patient: Option<Pseudonym>,
    ) -> Result<Recorded, ClientError> {
        let path = format!("/v1/grants/{grant_id}/revocation");
        self.post_signed(&path, RevokeAccess { grant_id, patient })
            .await
    }

    /// One grant of the caller, or of `patient`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn grant(
        &self,
        grant_id: &GrantId,
        patient: Option<Pseudonym>,
    ) -> Result<GrantEntry, ClientError> {
        let query = [("patient", text(patient))];
        self.http
            .get(&format!("/v1/grants/{grant_id}"), &query)
            .await
    }

    /// Lists grants by patient or by grantee, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn grants(&self, filter: GrantFilter) -> Result<Vec<GrantEntry>, ClientError> {
        let query = vec![
            ("patient", text(filter.patient)),
            ("grantee", text(filter.grantee)),
        ];
        all::<GrantPage>(&self.http, "/v1/grants", query, filter.page).await
    }

    /// Sets a rule of the caller's organisation, signed. For its administrators.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the policy is malformed.
    pub async fn set_policy(&self, policy: Policy) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/policies", SetPolicy { policy }).await
    }

    /// Ends a rule of the caller's organisation, signed. For its administrators.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when it is unknown or ended already.
    pub async fn withdraw_policy(&self, policy_id: PolicyId) -> Result<Recorded, ClientError> {
        let path = format!("/v1/policies/{policy_id}/withdrawal");
        self.post_signed(&path, WithdrawPolicy { policy_id }).await
    }

    /// Lists an organisation's rules, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn policies(&self, filter: PolicyFilter) -> Result<Vec<PolicyEntry>, ClientError> {
        let query = vec![("msp_id", text(Some(filter.msp_id)))];
        all::<PolicyPage>(&self.http, "/v1/policies", query, filter.page).await
    }

    /// Names a guardian, signed: by the patient, or by an administrator of the patient's
    /// organisation where the basis says so.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the delegation is malformed.
    pub async fn delegate(&self, delegation: Delegation) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/delegations", Delegate { delegation })
            .await
    }

    /// Dismisses a guardian, signed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when it is unknown or ended already.
    pub async fn revoke_delegation(
        &self,
        revocation: RevokeDelegation,
    ) -> Result<Recorded, ClientError> {
        let path = format!("/v1/delegations/{}/revocation", revocation.delegation_id);
        self.post_signed(&path, revocation).await
    }

    /// Lists guardians of a patient, or for whom a guardian may act, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn delegations(
        &self,
        filter: DelegationFilter,
    ) -> Result<Vec<DelegationEntry>, ClientError> {
        let query = vec![
            ("patient", text(filter.patient)),
            ("guardian", text(filter.guardian)),
        ];
        all::<DelegationPage>(&self.http, "/v1/delegations", query, filter.page).await
    }

    /// Asks a patient for access, signed. For providers.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the request is malformed.
    pub async fn request_access(&self, request: AccessRequest) -> Result<Recorded, ClientError> {
        self.post_signed("/v1/access-requests", RequestAccess { request })
            .await
    }

    /// Refuses a request for access, signed: by the patient or a guardian of `patient`. A grant
    /// that answers the request accepts it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is another's, unknown, or answered already.
    pub async fn refuse_access(
        &self,
        request_id: AccessRequestId,
        patient: Option<Pseudonym>,
    ) -> Result<Recorded, ClientError> {
        let path = format!("/v1/access-requests/{request_id}/refusal");
        let body = RefuseAccess {
            request_id,
            patient,
        };
        self.post_signed(&path, body).await
    }

    /// Lists requests for access to a patient or of a provider, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn access_requests(
        &self,
        filter: AccessRequestFilter,
    ) -> Result<Vec<AccessRequestEntry>, ClientError> {
        let query = vec![
            ("patient", text(filter.patient)),
            ("requester", text(filter.requester)),
            ("open_only", filter.open_only.then(|| "true".to_owned())),
        ];
        all::<AccessRequestPage>(&self.http, "/v1/access-requests", query, filter.page).await
    }
}
