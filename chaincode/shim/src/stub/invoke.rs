//! Calls of other chaincodes.

use fabric_protos::protos::{
    self, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, chaincode_message::Type,
};
use prost::Message as _;

use super::Stub;
use crate::{Response, StubError, response::STATUS_INTERNAL};

impl Stub {
    /// Calls another chaincode in the same transaction. On the same channel (`channel` empty or
    /// equal) its reads and writes join this transaction's, under its own name; on another
    /// channel it can only read. A refusal, also by the peer, is a [`Response`] with status 500.
    ///
    /// # Errors
    ///
    /// [`StubError::TransactionGone`], [`StubError::StreamLost`] or
    /// [`StubError::MalformedReply`].
    pub async fn invoke_chaincode<A: AsRef<[u8]>>(
        &self,
        name: &str,
        args: &[A],
        channel: &str,
    ) -> Result<Response, StubError> {
        let name = if channel.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{channel}")
        };
        let spec = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId {
                name,
                ..ChaincodeId::default()
            }),
            input: Some(ChaincodeInput {
                args: args.iter().map(|arg| arg.as_ref().to_vec()).collect(),
                ..ChaincodeInput::default()
            }),
            ..ChaincodeSpec::default()
        };
        let reply = self
            .ask::<ChaincodeMessage>(Type::InvokeChaincode, &spec)
            .await;
        match reply {
            Ok(message) => callee_response(message),
            Err(StubError::Refused { message }) => Ok(Response::failure(STATUS_INTERNAL, message)),
            Err(error) => Err(error),
        }
    }
}

/// The reply holds the callee's own last message, which holds its response.
fn callee_response(message: ChaincodeMessage) -> Result<Response, StubError> {
    if message.r#type() != Type::Completed {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        return Ok(Response::failure(STATUS_INTERNAL, text));
    }
    let response = protos::Response::decode(message.payload.as_slice());
    let response = response.map_err(|source| StubError::MalformedReply {
        request: Type::InvokeChaincode.as_str_name(),
        source,
    })?;
    Ok(response.into())
}
