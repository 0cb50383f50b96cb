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
    /// Evaluate. The grant to name in `AuthorizeRead`.
    pub const FIND_GRANT: &str = "access-control:FindGrant";
    /// Submit. Decides on a read that its reader signed, and records the decision.
    pub const AUTHORIZE_READ: &str = "access-control:AuthorizeRead";
    /// Evaluate. Recorded read decisions, by pages.
    pub const LIST_READS: &str = "access-control:ListReads";
    /// Submit. Registers up to [`crate::limits::BATCH_RECORDS_MAX`] records.
    pub const REGISTER_RECORDS: &str = "record-registry:RegisterRecords";
    /// Evaluate. One record.
    pub const GET_RECORD: &str = "record-registry:GetRecord";
    /// Evaluate. Records of a patient, by pages.
    pub const LIST_RECORDS: &str = "record-registry:ListRecords";
    /// Evaluate. The wrapped data keys of a record.
    pub const GET_WRAPS: &str = "record-registry:GetWraps";
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
    /// ID of the grant that `FindGrant` named; empty or absent if it named none.
    pub const GRANT_HINT: &str = "grant_hint";
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
    /// Payload [`crate::access::ReadDecided`].
    pub const READ_PERMITTED: &str = "ReadPermitted";
    /// Payload [`crate::access::ReadDecided`].
    pub const READ_DENIED: &str = "ReadDenied";
}

/// Certificate attributes (extension 1.2.3.4.5.6.7.8.1, as fabric-ca writes them).
pub mod attributes {
    /// Its value is a [`crate::Role`].
    pub const ROLE: &str = "salus.role";
}
