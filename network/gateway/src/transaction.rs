//! Prepared transactions as bytes. Pure.

use fabric_protos::common::{Envelope, Payload};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ProposalResponsePayload, Transaction,
};
use prost::Message as _;

/// The chaincode's answer inside a prepared transaction; `None` if the peer sent no transaction.
pub(crate) fn result(envelope: &Envelope) -> Option<Vec<u8>> {
    let payload = Payload::decode(envelope.payload.as_slice()).ok()?;
    let transaction = Transaction::decode(payload.data.as_slice()).ok()?;
    let action = transaction.actions.first()?;
    let action = ChaincodeActionPayload::decode(action.payload.as_slice()).ok()?;
    let endorsed = action.action?.proposal_response_payload;
    let response = ProposalResponsePayload::decode(endorsed.as_slice()).ok()?;
    let action = ChaincodeAction::decode(response.extension.as_slice()).ok()?;
    Some(action.response?.payload)
}

#[cfg(test)]
pub(crate) mod tests {
    use fabric_protos::protos::{ChaincodeEndorsedAction, Response, TransactionAction};

    use super::*;

    /// A prepared transaction whose chaincode answered so.
    pub(crate) fn envelope(answer: &[u8]) -> Envelope {
        let action = ChaincodeAction {
            response: Some(Response {
                status: 200,
                payload: answer.to_vec(),
                ..Response::default()
            }),
            ..ChaincodeAction::default()
        };
        let response = ProposalResponsePayload {
            extension: action.encode_to_vec(),
            ..ProposalResponsePayload::default()
        };
        let payload = ChaincodeActionPayload {
            action: Some(ChaincodeEndorsedAction {
                proposal_response_payload: response.encode_to_vec(),
                ..ChaincodeEndorsedAction::default()
            }),
            ..ChaincodeActionPayload::default()
        };
        let transaction = Transaction {
            actions: vec![TransactionAction {
                payload: payload.encode_to_vec(),
                ..TransactionAction::default()
            }],
        };
        let payload = Payload {
            data: transaction.encode_to_vec(),
            ..Payload::default()
        };
        Envelope {
            payload: payload.encode_to_vec(),
            signature: Vec::new(),
        }
    }

    #[test]
    fn the_answer_is_found_seven_messages_deep() {
        assert_eq!(
            result(&envelope(b"answer")).as_deref(),
            Some(b"answer".as_slice())
        );
    }

    #[test]
    fn anything_else_is_no_answer() {
        for payload in [&b""[..], &[0xff], b"text"] {
            let envelope = Envelope {
                payload: payload.to_vec(),
                signature: Vec::new(),
            };
            assert_eq!(result(&envelope), None);
        }
    }
}
