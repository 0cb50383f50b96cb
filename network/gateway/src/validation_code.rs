//! What a peer decided about a transaction in a block.

use std::fmt;

use fabric_protos::protos::TxValidationCode;

/// A transaction's validation code. Codes that are not known here keep their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidationCode(i32);

impl ValidationCode {
    /// The transaction took effect.
    pub const VALID: Self = Self(TxValidationCode::Valid as i32);
    /// The ID is on the ledger already.
    pub const DUPLICATE_TXID: Self = Self(TxValidationCode::DuplicateTxid as i32);
    /// The endorsements do not satisfy the policy.
    pub const ENDORSEMENT_POLICY_FAILURE: Self =
        Self(TxValidationCode::EndorsementPolicyFailure as i32);
    /// A key that the transaction read was changed meanwhile.
    pub const MVCC_READ_CONFLICT: Self = Self(TxValidationCode::MvccReadConflict as i32);
    /// A range that the transaction read was changed meanwhile.
    pub const PHANTOM_READ_CONFLICT: Self = Self(TxValidationCode::PhantomReadConflict as i32);

    /// The code of a number on the wire.
    pub const fn from_wire(number: i32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Whether the transaction took effect.
    pub fn is_valid(self) -> bool {
        self == Self::VALID
    }

    /// Whether another transaction was faster, so that endorsing anew may help.
    pub fn is_conflict(self) -> bool {
        self == Self::MVCC_READ_CONFLICT || self == Self::PHANTOM_READ_CONFLICT
    }
}

impl fmt::Display for ValidationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TxValidationCode::try_from(self.0) {
            Ok(code) => f.write_str(code.as_str_name()),
            Err(_) => write!(f, "UNKNOWN({})", self.0),
        }
    }
}

impl fmt::Debug for ValidationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_fabric_names_them() {
        for (number, name) in [
            (0, "VALID"),
            (11, "MVCC_READ_CONFLICT"),
            (77, "UNKNOWN(77)"),
        ] {
            assert_eq!(format!("{:?}", ValidationCode::from_wire(number)), name);
        }
        assert!(ValidationCode::PHANTOM_READ_CONFLICT.is_conflict());
        assert!(!ValidationCode::DUPLICATE_TXID.is_conflict());
    }
}
