//! Names that go over the wire: chaincode, transactions, collections, transient fields, events.

/// Name under which the chaincode is deployed.
pub const CHAINCODE: &str = "salus";

/// Contract that registers records.
pub const RECORD_REGISTRY: &str = "record-registry";
/// Contract that keeps the directory, grants and reads.
pub const ACCESS_CONTROL: &str = "access-control";

/// Transactions. Each constant is `contract:Function`, as a proposal's first argument has it.
pub mod transactions {
    /// Submit. Registers, renews or suspends a participant.
    pub const REGISTER_PARTICIPANT: &str = "access-control:RegisterParticipant";
    /// Submit. Registers a device, binds it to a patient, suspends or revokes it.
    pub const REGISTER_DEVICE: &str = "access-control:RegisterDevice";
    /// Evaluate. One participant by ID.
    pub const GET_PARTICIPANT: &str = "access-control:GetParticipant";
    /// Evaluate. One participant by the SHA-256 of its certificate.
    pub const GET_PARTICIPANT_BY_THUMBPRINT: &str = "access-control:GetParticipantByThumbprint";
    /// Evaluate. Participants, by pages.
    pub const LIST_PARTICIPANTS: &str = "access-control:ListParticipants";
    /// Evaluate. One device of the caller's organisation.
    pub const GET_DEVICE: &str = "access-control:GetDevice";
    /// Evaluate. The devices of the caller's organisation, by pages.
    pub const LIST_DEVICES: &str = "access-control:ListDevices";
    /// Submit. Keeps a grant that its patient signed.
    pub const GRANT_ACCESS: &str = "access-control:GrantAccess";
    /// Submit. Ends a grant; its patient signed the request.
    pub const REVOKE_ACCESS: &str = "access-control:RevokeAccess";
    /// Evaluate. Grants of a patient or given to a participant, by pages.
    pub const LIST_GRANTS: &str = "access-control:ListGrants";
    /// Evaluate. One grant: the patient's pseudonym, the grant's ID.
    pub const GET_GRANT: &str = "access-control:GetGrant";
    /// Evaluate. What `AuthorizeRead` would decide and why, with every rule that has a say: record,
    /// reader, purpose, project (may be empty), time.
    pub const EXPLAIN_READ: &str = "access-control:ExplainRead";
    /// Submit. Decides on a read that its reader signed, and records the decision.
    pub const AUTHORIZE_READ: &str = "access-control:AuthorizeRead";
    /// Evaluate. Recorded read decisions, by pages.
    pub const LIST_READS: &str = "access-control:ListReads";
    /// Evaluate. One recorded read decision, by its ID.
    pub const GET_READ: &str = "access-control:GetRead";
    /// Submit. Keeps a rule of an organisation; its administrator signed it.
    pub const SET_POLICY: &str = "access-control:SetPolicy";
    /// Submit. Ends an organisation's rule; its administrator signed the request.
    pub const WITHDRAW_POLICY: &str = "access-control:WithdrawPolicy";
    /// Evaluate. Organisations' rules, by pages.
    pub const LIST_POLICIES: &str = "access-control:ListPolicies";
    /// Submit. Lets a guardian act for a patient; the patient, or an administrator of the
    /// patient's organisation, signed it.
    pub const DELEGATE: &str = "access-control:Delegate";
    /// Submit. Ends a delegation.
    pub const REVOKE_DELEGATION: &str = "access-control:RevokeDelegation";
    /// Evaluate. Delegations of a patient or to a guardian, by pages.
    pub const LIST_DELEGATIONS: &str = "access-control:ListDelegations";
    /// Submit. Asks a patient for access; the provider signed it.
    pub const REQUEST_ACCESS: &str = "access-control:RequestAccess";
    /// Submit. Refuses a request for access; a grant that names the request accepts it.
    pub const REFUSE_ACCESS: &str = "access-control:RefuseAccess";
    /// Evaluate. Requests for access to a patient or of a provider, by pages.
    pub const LIST_ACCESS_REQUESTS: &str = "access-control:ListAccessRequests";
    /// Submit. Declares an emergency: the provider, whose certificate MUST allow it, signed it.
    pub const DECLARE_EMERGENCY: &str = "access-control:DeclareEmergency";
    /// Submit. Closes the review of an emergency; an auditor or administrator signed it.
    pub const REVIEW_EMERGENCY: &str = "access-control:ReviewEmergency";
    /// Evaluate. Declared emergencies, by pages.
    pub const LIST_EMERGENCIES: &str = "access-control:ListEmergencies";
    /// Evaluate. Notices to the caller, by pages.
    pub const LIST_NOTICES: &str = "access-control:ListNotices";
    /// Submit. Replaces the signer's own encryption key.
    pub const ROTATE_KEY: &str = "access-control:RotateKey";
    /// Submit. Moves the organisation's clock on the channel forward.
    pub const TICK: &str = "access-control:Tick";
    /// Evaluate. Keys of used nonces that no longer protect anything.
    pub const LIST_STALE_NONCES: &str = "access-control:ListStaleNonces";
    /// Submit. Purges used nonces that no longer protect anything.
    pub const PURGE_NONCES: &str = "access-control:PurgeNonces";
    /// Submit. Registers up to [`crate::limits::BATCH_RECORDS_MAX`] records.
    pub const REGISTER_RECORDS: &str = "record-registry:RegisterRecords";
    /// Evaluate. One record.
    pub const GET_RECORD: &str = "record-registry:GetRecord";
    /// Evaluate. Records of a patient, by pages.
    pub const LIST_RECORDS: &str = "record-registry:ListRecords";
    /// Evaluate. The wrapped data keys of a record.
    pub const GET_WRAPS: &str = "record-registry:GetWraps";
    /// Evaluate. Public halves of the records that the caller's organisation registered, by pages.
    pub const LIST_REGISTERED: &str = "record-registry:ListRegistered";
    /// Evaluate. The versions of a record, oldest first.
    pub const LIST_VERSIONS: &str = "record-registry:ListVersions";
    /// Submit. Adds wraps that a grant allows, or that replace a rotated key's.
    pub const CHANGE_WRAPS: &str = "record-registry:ChangeWraps";
    /// Submit. First half of an erasure: the wrapped keys are purged, the object is to go.
    pub const ERASE_RECORD: &str = "record-registry:EraseRecord";
    /// Evaluate. Records under erasure about which the caller's organisation has still something
    /// to do: to remove the object or, as the registrar, to complete the erasure.
    pub const LIST_ERASURES: &str = "record-registry:ListErasures";
    /// Submit. An organisation's word that it no longer holds the object.
    pub const CONFIRM_REMOVAL: &str = "record-registry:ConfirmRemoval";
    /// Submit. Second half of an erasure: the metadata is purged.
    pub const COMPLETE_ERASURE: &str = "record-registry:CompleteErasure";
    /// Evaluate. What the channel says of an erasure.
    pub const GET_ERASURE: &str = "record-registry:GetErasure";
}

/// Private data collections.
pub mod collections {
    /// Everything about records, patients, devices, grants and reads that names a patient.
    pub const RECORDS: &str = "records";
    /// The wrapped data keys; purged when a record is erased.
    pub const KEYS: &str = "keys";
    /// Every collection of the chaincode.
    pub const ALL: [&str; 2] = [RECORDS, KEYS];
}

/// Fields of the transient map.
pub mod transient {
    /// Canonical JSON of a [`crate::ParticipantRegistration`].
    pub const PARTICIPANT: &str = "participant";
    /// Canonical JSON of a [`crate::DeviceRegistration`].
    pub const DEVICE: &str = "device";
    /// JSON array of [`crate::RecordPrivate`], in the order of the public argument.
    pub const RECORDS: &str = "records";
    /// JSON array of [`crate::RecordWraps`], in the order of the public argument.
    pub const WRAPS: &str = "wraps";
    /// A compact JWS whose payload is a [`crate::SignedRequest`].
    pub const REQUEST: &str = "request";
    /// PEM certificate of the CA that issued both the creator's and the registered certificate.
    pub const ISSUER: &str = "issuer";
    /// JSON of a [`crate::record::WrapChanges`].
    pub const WRAP_CHANGES: &str = "wrap_changes";
    /// JSON array of ledger keys, of `PurgeNonces`.
    pub const NONCES: &str = "nonces";
    /// ID of the record that `ConfirmRemoval` or `CompleteErasure` is about, as text.
    pub const RECORD_ID: &str = "record_id";
    /// PEM certificate of the REST caller for whom an oracle evaluates.
    pub const CALLER: &str = "caller";
    /// 32 random bytes, fresh for each transaction, in every submit except `RegisterRecords`,
    /// whose records carry a salt each.
    pub const SALT: &str = "salt";
}

/// Chaincode events. Payloads are canonical JSON and hold random IDs only.
pub mod events {
    /// Payload [`crate::record::RecordsRegistered`].
    pub const RECORDS_REGISTERED: &str = "RecordsRegistered";
    /// Payload [`crate::access::GrantChanged`].
    pub const GRANT_GIVEN: &str = "GrantGiven";
    /// Payload [`crate::access::GrantChanged`].
    pub const GRANT_REVOKED: &str = "GrantRevoked";
    /// Payload [`crate::access::PolicyChanged`].
    pub const POLICY_CHANGED: &str = "PolicyChanged";
    /// Payload [`crate::access::DelegationChanged`].
    pub const DELEGATION_CHANGED: &str = "DelegationChanged";
    /// Payload [`crate::access::AccessRequestChanged`].
    pub const ACCESS_REQUEST_CHANGED: &str = "AccessRequestChanged";
    /// Payload [`crate::access::EmergencyChanged`].
    pub const EMERGENCY_DECLARED: &str = "EmergencyDeclared";
    /// Payload [`crate::access::EmergencyChanged`].
    pub const EMERGENCY_REVIEWED: &str = "EmergencyReviewed";
    /// Payload [`crate::record::ErasureChanged`].
    pub const RECORD_ERASED: &str = "RecordErased";
    /// Payload [`crate::record::ErasureChanged`].
    pub const ERASURE_COMPLETED: &str = "ErasureCompleted";
    /// Payload [`crate::access::ReadDecided`].
    pub const READ_PERMITTED: &str = "ReadPermitted";
    /// Payload [`crate::access::ReadDecided`].
    pub const READ_DENIED: &str = "ReadDenied";
}

/// Certificate attributes (extension 1.2.3.4.5.6.7.8.1, as fabric-ca writes them).
pub mod attributes {
    /// Its value is a [`crate::Role`].
    pub const ROLE: &str = "salus.role";
    /// `true` for staff who may declare an emergency.
    pub const EMERGENCY: &str = "salus.emergency";
    /// The subject's [`crate::ParticipantId`], by which a CA may vouch that the ID is this person's.
    pub const PARTICIPANT: &str = "salus.participant";
}
