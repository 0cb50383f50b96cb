//! What came of a change: where it is on the ledger.

use contract_interface::access::{
    AccessRequestChanged, DelegationChanged, EmergencyChanged, GrantChanged, PolicyChanged,
};
use contract_interface::{DeviceId, ParticipantId, RegistrationOutcome};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::scalars::{Hash, Id, Name, Outcome};
use crate::ledger::Receipt;

/// What came of registering a participant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ParticipantRegistered {
    /// The participant.
    #[schema(value_type = Id)]
    participant_id: ParticipantId,
    #[serde(flatten)]
    registered: Registered,
}

/// What came of registering a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceRegistered {
    /// The device.
    #[schema(value_type = Name)]
    device_id: DeviceId,
    #[serde(flatten)]
    registered: Registered,
}

/// Where a registration is on the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Registered {
    /// What changed.
    #[schema(value_type = Outcome)]
    outcome: RegistrationOutcome,
    /// The transaction that did it.
    #[schema(value_type = Hash)]
    transaction_id: String,
    /// The block that the transaction is in.
    block_number: u64,
}

impl From<&Receipt<RegistrationOutcome>> for Registered {
    fn from(receipt: &Receipt<RegistrationOutcome>) -> Self {
        Self {
            outcome: receipt.result,
            transaction_id: receipt.transaction_id.clone(),
            block_number: receipt.block_number,
        }
    }
}

impl Registered {
    /// 201 for something new, 200 for what was there.
    fn status(&self) -> StatusCode {
        match self.outcome {
            RegistrationOutcome::Registered => StatusCode::CREATED,
            RegistrationOutcome::Updated | RegistrationOutcome::Unchanged => StatusCode::OK,
        }
    }
}

impl ParticipantRegistered {
    pub(crate) fn new(
        participant_id: ParticipantId,
        receipt: &Receipt<RegistrationOutcome>,
    ) -> Self {
        Self {
            participant_id,
            registered: receipt.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.registered.status()
    }
}

impl DeviceRegistered {
    pub(crate) fn new(device_id: DeviceId, receipt: &Receipt<RegistrationOutcome>) -> Self {
        Self {
            device_id,
            registered: receipt.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.registered.status()
    }
}

macro_rules! changed {
    ($($(#[$doc:meta])* $name:ident { $(#[$id_doc:meta])* $id:ident } from $result:ty;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize, ToSchema)]
            pub(crate) struct $name {
                $(#[$id_doc])*
                #[schema(value_type = Id)]
                $id: String,
                /// The transaction that did it.
                #[schema(value_type = Hash)]
                transaction_id: String,
                /// The block that the transaction is in.
                block_number: u64,
            }

            impl $name {
                pub(crate) fn new(receipt: &Receipt<$result>) -> Self {
                    Self {
                        $id: receipt.result.$id.to_string(),
                        transaction_id: receipt.transaction_id.clone(),
                        block_number: receipt.block_number,
                    }
                }
            }
        )+
    };
}

changed! {
    /// Where the change of a grant is on the ledger.
    GrantReceipt {
        /// The grant.
        grant_id
    } from GrantChanged;
    /// Where the change of a policy is on the ledger.
    PolicyReceipt {
        /// The policy.
        policy_id
    } from PolicyChanged;
    /// Where the change of a delegation is on the ledger.
    DelegationReceipt {
        /// The delegation.
        delegation_id
    } from DelegationChanged;
    /// Where a request for access, or its refusal, is on the ledger.
    AccessRequestReceipt {
        /// The request.
        request_id
    } from AccessRequestChanged;
    /// Where an emergency, or its review, is on the ledger.
    EmergencyReceipt {
        /// The emergency.
        emergency_id
    } from EmergencyChanged;
}
