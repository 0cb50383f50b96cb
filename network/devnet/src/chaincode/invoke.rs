//! Running a chaincode for one proposal, with the chaincodes it calls in turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fabric_msp::ValidIdentity;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeEvent, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, Response, SignedProposal,
};
use prost::Message;
use tokio::time::timeout;

use super::error::{InvokeError, RequestError};
use super::requests::Call;
use super::stream::{ChaincodeStream, refusal, response};
use crate::ledger::Simulator;
use crate::peer::Peer;
use crate::system::{self, SystemChaincode};

/// Chaincodes calling one another deeper than this are refused.
const CALL_DEPTH_MAX: usize = 16;

/// One proposal while it is simulated at one peer.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) simulator: Simulator,
    pub(crate) creator: &'a ValidIdentity,
    pub(crate) signed_proposal: &'a SignedProposal,
    pub(crate) channel_id: &'a str,
    pub(crate) tx_id: &'a str,
    /// Name of the chaincode that the proposal names.
    pub(crate) chaincode: &'a str,
}

/// What a chaincode answered, or why the peer has no answer.
pub(crate) type Outcome = Result<(Response, Option<ChaincodeEvent>), String>;

impl Run<'_> {
    /// Runs the proposal's chaincode; the error text is the one clients see after
    /// "error in simulation: ".
    pub(crate) async fn execute(&mut self, input: ChaincodeInput) -> Outcome {
        let (tx_id, chaincode) = (self.tx_id, self.chaincode);
        let message = self.invoke(chaincode, input, 0).await;
        let message =
            message.map_err(|error| format!("failed to execute transaction {tx_id}: {error}"))?;
        let event = message.chaincode_event.map(|event| ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            tx_id: tx_id.to_owned(),
            ..event
        });
        let kind = Type::try_from(message.r#type).unwrap_or_default();
        match kind {
            Type::Completed => Response::decode(message.payload.as_slice())
                .map(|response| (response, event))
                .map_err(|error| {
                    format!("failed to unmarshal response for transaction {tx_id}: {error}")
                }),
            Type::Error => Err(format!(
                "transaction returned with failure: {}",
                String::from_utf8_lossy(&message.payload)
            )),
            _ => {
                let kind = message.r#type;
                Err(format!(
                    "unexpected response type {kind} for transaction {tx_id}"
                ))
            }
        }
    }

    fn invoke<'s>(
        &'s mut self,
        chaincode: &'s str,
        input: ChaincodeInput,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<ChaincodeMessage, InvokeError>> + Send + 's>> {
        Box::pin(async move {
            if let Some(system) = SystemChaincode::named(chaincode) {
                return Ok(self.invoke_system(system, &input));
            }
            let target = self
                .peer
                .invocation(&mut self.simulator, chaincode, input.is_init)
                .map_err(InvokeError::Invalid)?;
            let kind = if input.is_init {
                Type::Init
            } else {
                Type::Transaction
            };
            let message = ChaincodeMessage {
                r#type: kind.into(),
                payload: input.encode_to_vec(),
                txid: self.tx_id.to_owned(),
                channel_id: self.channel_id.to_owned(),
                proposal: Some(self.signed_proposal.clone()),
                ..ChaincodeMessage::default()
            };
            let limit = self.peer.execute_timeout;
            let host = &self.peer.chaincodes;
            let stream = host.launch(&target.package_id, &target.connection).await?;
            match self
                .converse(stream, chaincode, message.clone(), limit, depth)
                .await
            {
                // The chaincode was gone before it began: it may have been restarted meanwhile.
                Err(InvokeError::Terminated { started: false }) => {
                    let stream = host.launch(&target.package_id, &target.connection).await?;
                    self.converse(stream, chaincode, message, limit, depth)
                        .await
                }
                outcome => outcome,
            }
        })
    }

    fn invoke_system(
        &mut self,
        system: SystemChaincode,
        input: &ChaincodeInput,
    ) -> ChaincodeMessage {
        let response = system::invoke(system, self, input);
        ChaincodeMessage {
            r#type: Type::Completed.into(),
            payload: response.encode_to_vec(),
            txid: self.tx_id.to_owned(),
            channel_id: self.channel_id.to_owned(),
            ..ChaincodeMessage::default()
        }
    }

    /// Sends a transaction and answers its requests until it ends.
    async fn converse(
        &mut self,
        stream: Arc<ChaincodeStream>,
        chaincode: &str,
        message: ChaincodeMessage,
        limit: Duration,
        depth: usize,
    ) -> Result<ChaincodeMessage, InvokeError> {
        let mut call = Call::new(chaincode, message.r#type() == Type::Init);
        let conversation = async {
            let mut transaction = stream.begin(self.channel_id, self.tx_id)?;
            transaction.send(message).await?;
            loop {
                let request = transaction.next().await?;
                if matches!(request.r#type(), Type::Completed | Type::Error) {
                    return Ok(request);
                }
                let answer = self.answer(&mut call, &request, depth).await;
                let answer = match answer {
                    Ok(payload) => response(&request, payload),
                    Err(cause) => refusal(&request, &cause),
                };
                transaction.answer(answer).await?;
            }
        };
        let outcome = timeout(limit, conversation).await;
        call.finish(&mut self.simulator);
        outcome.unwrap_or(Err(InvokeError::Timeout))
    }

    async fn answer(
        &mut self,
        call: &mut Call,
        request: &ChaincodeMessage,
        depth: usize,
    ) -> Result<Vec<u8>, RequestError> {
        if request.r#type() == Type::InvokeChaincode {
            return self.invoke_other(request, depth).await;
        }
        call.answer(request, &mut self.simulator, self.creator)
    }

    /// A chaincode calls another one of the same channel, in the same simulation.
    async fn invoke_other(
        &mut self,
        request: &ChaincodeMessage,
        depth: usize,
    ) -> Result<Vec<u8>, RequestError> {
        let spec = ChaincodeSpec::decode(request.payload.as_slice())?;
        let id = spec.chaincode_id.unwrap_or_default();
        let (name, channel) = target(&id.name);
        let is_system = SystemChaincode::named(name).is_some();
        if let Some(other) = channel.filter(|channel| *channel != self.channel_id) {
            return Err(RequestError::NoChannel {
                channel: other.to_owned(),
                is_system,
            });
        }
        if depth >= CALL_DEPTH_MAX {
            return Err(RequestError::Denied(format!(
                "chaincodes call one another more than {CALL_DEPTH_MAX} levels deep"
            )));
        }
        if !is_system {
            let allowed = self.peer.check_writers(self.creator);
            allowed.map_err(RequestError::Denied)?;
        }
        let input = spec.input.unwrap_or_default();
        let answer = self.invoke(name, input, depth + 1).await;
        let answer = answer.map_err(|error| RequestError::Execute(Box::new(error)))?;
        Ok(answer.encode_to_vec())
    }
}

/// Takes `name:version/channel` apart; version and channel are optional, the version unused.
fn target(name: &str) -> (&str, Option<&str>) {
    let (name, channel) = match name.split_once('/') {
        Some((name, channel)) => (name, Some(channel).filter(|channel| !channel.is_empty())),
        None => (name, None),
    };
    let name = name.split_once(':').map_or(name, |(name, _version)| name);
    (name, channel)
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn callee_names() {
        assert_eq!(target("cc"), ("cc", None));
        assert_eq!(target("cc/ch"), ("cc", Some("ch")));
        assert_eq!(target("cc:1.0/ch"), ("cc", Some("ch")));
        assert_eq!(target("cc:1.0"), ("cc", None));
        assert_eq!(target("cc/"), ("cc", None));
    }
}
