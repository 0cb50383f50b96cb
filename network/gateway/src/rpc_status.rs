//! What a peer's gRPC status says, with the details that Fabric attaches.

use std::fmt;

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::google::rpc;
use prost::Message as _;
use tonic::Code;

/// Tail of the type URL under which a peer packs its details.
const DETAIL_TYPE: &str = "/gateway.ErrorDetail";

/// How the gateway introduces a chaincode's own refusal.
const CHAINCODE_RESPONSE: &str = "chaincode response ";

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "names and meanings are gRPC's")]
pub enum RpcCode {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl RpcCode {
    /// The name as gRPC documents it, such as `DEADLINE_EXCEEDED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl From<Code> for RpcCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::Cancelled => Self::Cancelled,
            Code::Unknown => Self::Unknown,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Aborted => Self::Aborted,
            Code::OutOfRange => Self::OutOfRange,
            Code::Unimplemented => Self::Unimplemented,
            Code::Internal => Self::Internal,
            Code::Unavailable => Self::Unavailable,
            Code::DataLoss => Self::DataLoss,
            Code::Unauthenticated => Self::Unauthenticated,
        }
    }
}

/// What one peer or orderer behind the gateway said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDetail {
    /// Its address.
    pub address: String,
    /// Its MSP.
    pub msp_id: String,
    /// Its message.
    pub message: String,
}

/// A failed call's status. `Display` prints it with every detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcStatus {
    /// The code.
    pub code: RpcCode,
    /// The gateway's message.
    pub message: String,
    /// What the nodes behind it said.
    pub details: Vec<PeerDetail>,
}

impl RpcStatus {
    pub(crate) fn new(code: RpcCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// Reads what a call ended with. A status that did not come from the peer but from the
    /// connection carries its cause and means that the peer could not be reached.
    pub(crate) fn read(status: &tonic::Status) -> Self {
        let cause = std::error::Error::source(status);
        let mut message = status.message().to_owned();
        let mut code = RpcCode::from(status.code());
        if let Some(cause) = cause {
            let timed_out = chain(cause).any(|e| e.is::<tonic::TimeoutExpired>());
            code = if timed_out {
                RpcCode::DeadlineExceeded
            } else {
                RpcCode::Unavailable
            };
            for text in chain(cause).map(ToString::to_string) {
                if !message.contains(&text) {
                    message = format!("{message}: {text}");
                }
            }
        }
        Self {
            code,
            message,
            details: read_details(status.details()),
        }
    }

    /// The chaincode's own refusal, if that is what failed: its status and its message.
    ///
    /// Fabric hands it over as text, `chaincode response 404, …`, of a form fixed by its gateway.
    pub fn chaincode_response(&self) -> Option<(i32, String)> {
        let texts = self.details.iter().map(|detail| detail.message.as_str());
        texts
            .chain([self.message.as_str()])
            .find_map(parse_chaincode_response)
    }

    /// Whether it may be that the peer never saw the call, or that its answer was lost.
    pub(crate) fn is_unknown_outcome(&self) -> bool {
        matches!(
            self.code,
            RpcCode::Unavailable
                | RpcCode::DeadlineExceeded
                | RpcCode::Cancelled
                | RpcCode::Internal
                | RpcCode::Unknown
        )
    }

    /// Whether peers failed while the chaincode itself did not refuse.
    pub(crate) fn is_peers_fault(&self) -> bool {
        self.code == RpcCode::Aborted && self.chaincode_response().is_none()
    }

    /// Whether another peer, or the same later, may well answer.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self.code,
            RpcCode::Unavailable | RpcCode::DeadlineExceeded | RpcCode::ResourceExhausted
        )
    }
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Details that do not decode are left out: they explain an error and must not hide it.
fn read_details(bytes: &[u8]) -> Vec<PeerDetail> {
    let Ok(status) = rpc::Status::decode(bytes) else {
        return Vec::new();
    };
    let ours = status
        .details
        .iter()
        .filter(|any| any.type_url.ends_with(DETAIL_TYPE));
    ours.filter_map(|any| ErrorDetail::decode(any.value.as_slice()).ok())
        .map(|detail| PeerDetail {
            address: detail.address,
            msp_id: detail.msp_id,
            message: detail.message,
        })
        .collect()
}

fn parse_chaincode_response(text: &str) -> Option<(i32, String)> {
    let (_, response) = text.split_once(CHAINCODE_RESPONSE)?;
    let (status, message) = response.split_once(", ")?;
    Some((status.parse().ok()?, message.to_owned()))
}

impl fmt::Display for RpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)?;
        for (index, detail) in self.details.iter().enumerate() {
            let open = if index == 0 { " [" } else { "; " };
            write!(
                f,
                "{open}{} ({}): {}",
                detail.address, detail.msp_id, detail.message
            )?;
        }
        f.write_str(if self.details.is_empty() { "" } else { "]" })
    }
}

impl std::error::Error for RpcStatus {}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(message: &str) -> ErrorDetail {
        ErrorDetail {
            address: "peer0:7051".to_owned(),
            msp_id: "Org1MSP".to_owned(),
            message: message.to_owned(),
        }
    }

    fn packed(details: &[ErrorDetail]) -> Vec<u8> {
        let details = details
            .iter()
            .map(|detail| prost_types::Any {
                type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(),
                value: detail.encode_to_vec(),
            })
            .collect();
        rpc::Status {
            code: 10,
            message: "see attached details".to_owned(),
            details,
        }
        .encode_to_vec()
    }

    #[test]
    fn details_are_read_and_printed() {
        let status = tonic::Status::with_details(
            Code::Aborted,
            "failed to endorse",
            packed(&[detail("first"), detail("second")]).into(),
        );
        let status = RpcStatus::read(&status);
        assert_eq!(
            status.to_string(),
            "ABORTED: failed to endorse [peer0:7051 (Org1MSP): first; peer0:7051 (Org1MSP): second]"
        );
    }

    #[test]
    fn malformed_details_leave_the_status_standing() {
        for bytes in [&[0xff][..], b"", &[0x1a, 0x02, 0x0a, 0x09]] {
            let status =
                tonic::Status::with_details(Code::Aborted, "failed", bytes.to_vec().into());
            assert_eq!(RpcStatus::read(&status).to_string(), "ABORTED: failed");
        }
    }

    #[test]
    fn a_chaincode_refusal_is_found_in_details_and_message() {
        let check = |details: &[ErrorDetail], message: &str, expected: Option<(i32, &str)>| {
            let status =
                tonic::Status::with_details(Code::Aborted, message, packed(details).into());
            let found = RpcStatus::read(&status).chaincode_response();
            let expected = expected.map(|(status, text)| (status, text.to_owned()));
            assert_eq!(found, expected, "{message}");
        };
        let refusal = "chaincode response 404, RECORD_NOT_FOUND: no, none";
        check(
            &[detail(refusal)],
            "failed",
            Some((404, "RECORD_NOT_FOUND: no, none")),
        );
        let evaluated = "evaluate call to endorser returned error: chaincode response 500, x";
        check(&[], evaluated, Some((500, "x")));
        check(&[detail("no such peer")], "failed", None);
        check(&[detail("chaincode response many, x")], "failed", None);
    }
}
