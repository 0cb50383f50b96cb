//! Which envelopes the orderer takes.

use fabric_protos::common::{
    ChannelHeader, Envelope, HeaderType, Payload, SignatureHeader, Status,
};
use prost::Message;

use super::Rejection;
use crate::endorser::proposal::MALFORMED;
use crate::genesis::ChannelConfig;
use crate::policy::SignedData;

const WRITERS: &str = "/Channel/Writers";

pub(super) fn admit(config: &ChannelConfig, envelope: &Envelope) -> Result<(), Rejection> {
    let payload = Payload::decode(envelope.payload.as_slice());
    let payload = payload.map_err(|_| {
        bad(format!(
            "could not determine channel ID: error unmarshalling Payload: {MALFORMED}"
        ))
    })?;
    let header = payload
        .header
        .ok_or_else(|| bad("could not determine channel ID: header not set".to_owned()))?;
    let channel = ChannelHeader::decode(header.channel_header.as_slice());
    let channel = channel.map_err(|_| {
        bad(format!(
            "could not determine channel ID: error unmarshalling ChannelHeader: {MALFORMED}"
        ))
    })?;
    if channel.channel_id != config.channel_id() {
        return Err(bad("channel does not exist".to_owned()));
    }
    match HeaderType::try_from(channel.r#type) {
        Ok(HeaderType::EndorserTransaction | HeaderType::Message) => {}
        Ok(HeaderType::ConfigUpdate) => {
            return Err(Rejection {
                status: Status::NotImplemented,
                info: "this development network takes no configuration updates".to_owned(),
            });
        }
        _ => {
            return Err(bad(
                "message is of type that cannot be processed directly".to_owned()
            ));
        }
    }
    let bytes = envelope.payload.len() + envelope.signature.len();
    let limit = config.batch().absolute_max_bytes;
    if bytes > limit as usize {
        return Err(bad(format!(
            "message payload is {bytes} bytes and exceeds maximum allowed {limit} bytes"
        )));
    }
    let signature = SignatureHeader::decode(header.signature_header.as_slice());
    let signature = signature.map_err(|_| {
        bad(format!(
            "could not convert message to signedData: error unmarshalling SignatureHeader: {MALFORMED}"
        ))
    })?;
    let signed = SignedData {
        data: envelope.payload.clone(),
        identity: signature.creator,
        signature: envelope.signature.clone(),
    };
    config
        .evaluate(WRITERS, &[signed])
        .map_err(|error| Rejection {
            status: Status::Forbidden,
            info: format!("{error}: permission denied"),
        })
}

fn bad(info: String) -> Rejection {
    Rejection {
        status: Status::BadRequest,
        info,
    }
}
