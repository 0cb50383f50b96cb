//! Requests that carry their signer's word: one signer, one action, one channel, once, now.

use std::borrow::Cow;

use contract_interface::limits::REQUEST_WINDOW_SECONDS;
use contract_interface::names::{collections, transient};
use contract_interface::{
    Digest, ErrorCode, Participant, RequestBody, Role, Salt, SignedRequest, UtcTime,
};
use fabric_shim::x509::{Certificate, jws::Jws};
use serde::Serialize;

use crate::actor::{Creator, unknown_participant};
use crate::failure::Failure;
use crate::input;
use crate::ledger::Ledger;

/// A request whose signature holds, and what belongs to its transaction.
#[derive(Debug)]
pub(crate) struct Signed<B> {
    /// Who submitted it.
    pub(crate) creator: Creator,
    /// Who signed it.
    pub(crate) signer: Participant,
    /// When it was signed.
    pub(crate) signed_at: UtcTime,
    /// The transaction's time, near `signed_at`.
    pub(crate) tx_time: UtcTime,
    /// What is asked.
    pub(crate) body: B,
    /// The compact JWS, kept as evidence.
    pub(crate) jws: String,
    /// The transaction's salt.
    pub(crate) salt: Salt,
}

/// Value of a used nonce's key. A nonce whose `iat` lies further back than the window may be
/// forgotten: the window refuses its request.
#[derive(Serialize)]
struct NonceValue {
    iat: UtcTime,
    salt: Salt,
}

impl<B: RequestBody> Signed<B> {
    /// Takes the request out of the transient map, checks it, and marks its nonce as used.
    ///
    /// The creator must be an oracle: it answers for the transaction's time, and a patient's
    /// certificate must not become a creator's, which every block keeps.
    pub(crate) async fn take(ledger: &Ledger<'_>) -> Result<Self, Failure> {
        let stub = ledger.stub;
        let creator = Creator::of(stub)?;
        creator.require(ledger, &[Role::Oracle]).await?;
        let salt = input::salt(stub)?;
        let tx_time = input::transaction_time(stub)?;
        let compact = std::str::from_utf8(input::transient_field(stub, transient::REQUEST)?)
            .map_err(|_| Failure::argument("the request is not a compact JWS"))?;
        let jws = Jws::parse(compact).map_err(|error| Failure::argument(error.to_string()))?;
        let thumbprint = Digest::from_bytes(jws.header_thumbprint);
        let signer = ledger
            .participant_by_thumbprint(&thumbprint)
            .await?
            .ok_or_else(unknown_participant)?;
        let certificate = Certificate::from_pem(signer.certificate.as_bytes())
            .map_err(|_| Failure::corrupt("a certificate"))?;
        jws.verify(&certificate)
            .map_err(|error| signature_invalid(error.to_string()))?;
        let request = SignedRequest::<B>::from_payload(&jws.payload)?;
        if request.channel != stub.channel_id() {
            return Err(Failure::argument("the request is for another channel"));
        }
        if request.iat.abs_diff(tx_time) > REQUEST_WINDOW_SECONDS.unsigned_abs() {
            return Err(Failure::new(
                ErrorCode::RequestExpired,
                format!(
                    "the request was signed more than {REQUEST_WINDOW_SECONDS} seconds from now"
                ),
            ));
        }
        let validity = certificate.not_before()..=certificate.not_after();
        if !validity.contains(&request.iat.unix_seconds()) {
            return Err(signature_invalid(
                "the signer's certificate was not valid then",
            ));
        }
        let nonce_key = ledger.blinding.nonce(&thumbprint, &request.nonce)?;
        if stub
            .get_private_data(collections::RECORDS, &nonce_key)
            .await?
            .is_some()
        {
            return Err(Failure::new(
                ErrorCode::NonceUsed,
                "the request has been used already",
            ));
        }
        let value = NonceValue {
            iat: request.iat,
            salt,
        };
        ledger.put(collections::RECORDS, &nonce_key, &value).await?;
        Ok(Self {
            creator,
            signer,
            signed_at: request.iat,
            tx_time,
            body: request.body,
            jws: compact.to_owned(),
            salt,
        })
    }
}

fn signature_invalid(sentence: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(ErrorCode::SignatureInvalid, sentence)
}
