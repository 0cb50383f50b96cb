//! gRPC errors with the details clients print, and what a peer's answer means for a gateway.

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::google::rpc;
use fabric_protos::protos::ProposalResponse;
use prost::Message;
use tonic::{Code, Status};

use crate::chaincode::error::STREAM_TERMINATED;
use crate::endorser::Answer;
use crate::peer::Peer;

const DETAIL_TYPE: &str = "type.googleapis.com/gateway.ErrorDetail";

/// What one endpoint has to say about an error.
pub(super) fn detail(address: &str, msp_id: &str, message: &str) -> ErrorDetail {
    ErrorDetail {
        address: address.to_owned(),
        msp_id: msp_id.to_owned(),
        message: message.to_owned(),
    }
}

/// What one peer has to say about an error.
pub(super) fn peer_detail(peer: &Peer, message: &str) -> ErrorDetail {
    detail(&peer.address, peer.msp_id.as_ref(), message)
}

/// A status with the details in `grpc-status-details-bin`.
pub(super) fn detailed(code: Code, message: &str, details: &[ErrorDetail]) -> Status {
    if details.is_empty() {
        return Status::new(code, message);
    }
    let details = details.iter().map(|detail| prost_types::Any {
        type_url: DETAIL_TYPE.to_owned(),
        value: detail.encode_to_vec(),
    });
    let status = rpc::Status {
        code: code.into(),
        message: message.to_owned(),
        details: details.collect(),
    };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// A peer's answer that is no success.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    /// Whether another peer might answer better.
    pub(super) retry: bool,
}

/// Sorts a peer's answer the way Fabric's gateway does.
pub(super) fn judge(answer: Answer) -> Result<ProposalResponse, Failure> {
    let response = match answer {
        Answer::Filtered(message) => {
            return Err(Failure {
                code: Code::Unavailable,
                message,
                retry: true,
            });
        }
        Answer::Refused(message) => {
            return Err(Failure {
                code: Code::FailedPrecondition,
                message,
                retry: false,
            });
        }
        Answer::Response(response) => *response,
    };
    let (status, text) = match &response.response {
        Some(inner) => (inner.status, inner.message.clone()),
        None => (0, String::new()),
    };
    if (200..400).contains(&status) {
        return Ok(response);
    }
    if response.payload.is_empty() && status == 500 {
        if text.ends_with(STREAM_TERMINATED) {
            tracing::warn!("a chaincode ended while it ran a transaction");
        }
        return Err(Failure {
            code: Code::Aborted,
            message: text,
            retry: true,
        });
    }
    Err(Failure {
        code: Code::Unknown,
        message: format!("chaincode response {status}, {text}"),
        retry: false,
    })
}

#[cfg(test)]
mod tests {
    use fabric_protos::protos::{ProposalResponse, Response};

    use super::{Code, Failure, judge};
    use crate::endorser::Answer;

    fn response(status: i32, payload: &[u8]) -> Answer {
        Answer::Response(Box::new(ProposalResponse {
            response: Some(Response {
                status,
                message: "text".to_owned(),
                payload: Vec::new(),
            }),
            payload: payload.to_vec(),
            ..ProposalResponse::default()
        }))
    }

    #[test]
    fn answers_are_sorted_as_fabric_does() {
        let failure = |code, message: &str, retry| Failure {
            code,
            message: message.to_owned(),
            retry,
        };
        let table = [
            (response(500, b""), failure(Code::Aborted, "text", true)),
            (
                response(500, b"x"),
                failure(Code::Unknown, "chaincode response 500, text", false),
            ),
            (
                response(404, b""),
                failure(Code::Unknown, "chaincode response 404, text", false),
            ),
            (
                Answer::Refused("no".to_owned()),
                failure(Code::FailedPrecondition, "no", false),
            ),
            (
                Answer::Filtered("old".to_owned()),
                failure(Code::Unavailable, "old", true),
            ),
        ];
        for (answer, expected) in table {
            assert_eq!(judge(answer), Err(expected));
        }
        for status in [200, 299, 399] {
            assert!(judge(response(status, b"")).is_ok());
        }
    }
}
