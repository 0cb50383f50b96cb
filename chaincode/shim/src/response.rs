//! A contract's answer, and the one mapping from results to statuses.
//!
//! A status below 400 is endorsed. 400 and above is refused: the client sees status and message,
//! and nothing of the transaction stays.

use fabric_protos::protos;

use crate::ContractError;

/// Success.
pub const STATUS_OK: i32 = 200;
/// From here on a response is a failure and is not endorsed.
pub const STATUS_ERROR_THRESHOLD: i32 = 400;
/// The contract failed through no fault of the caller's.
pub const STATUS_INTERNAL: i32 = 500;
/// Too many transactions wait already.
pub(crate) const STATUS_BUSY: i32 = 503;

/// What a chaincode answers to an invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 200 for success, 400 to 599 for failure.
    pub status: i32,
    /// The error text; empty on success.
    pub message: String,
    /// The result; empty on failure.
    pub payload: Vec<u8>,
}

impl Response {
    /// A success with this result.
    #[must_use]
    pub fn success(payload: Vec<u8>) -> Self {
        Self {
            status: STATUS_OK,
            message: String::new(),
            payload,
        }
    }

    /// A failure with this status and text.
    #[must_use]
    pub fn failure(status: i32, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            payload: vec![],
        }
    }

    /// Whether peers endorse it.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status < STATUS_ERROR_THRESHOLD
    }
}

impl From<Result<Vec<u8>, ContractError>> for Response {
    fn from(result: Result<Vec<u8>, ContractError>) -> Self {
        match result {
            Ok(payload) => Self::success(payload),
            Err(error) => Self::failure(error.status(), error.message()),
        }
    }
}

impl From<Response> for protos::Response {
    fn from(response: Response) -> Self {
        Self {
            status: response.status,
            message: response.message,
            payload: response.payload,
        }
    }
}

impl From<protos::Response> for Response {
    fn from(response: protos::Response) -> Self {
        Self {
            status: response.status,
            message: response.message,
            payload: response.payload,
        }
    }
}
