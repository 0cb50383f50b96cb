//! Evidence for those who trust no oracle: blocks that show a record to be registered, and blocks
//! compared with the recorded reads.

mod completeness;
mod error;
mod gather;

pub use self::completeness::completeness;
pub use self::error::EvidenceError;
pub use self::gather::gather;
