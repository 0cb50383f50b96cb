//! Requests that carry their signer's word: one signer, one action, one channel, once, now.

use std::borrow::Cow;

use contract_interface::access::Power;
use contract_interface::limits::REQUEST_WINDOW_SECONDS;
use contract_interface::names::transient;
use contract_interface::{
    DelegationId, Digest, ErrorCode, MspId, Participant, Pseudonym, ReasonCode, RequestBody, Role,
    Salt, SignedRequest, Status, UtcTime,
};
use fabric_shim::x509::{Certificate, jws::Jws};
use serde::{Deserialize, Serialize};

use crate::access_control::clocks;
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
    /// The transaction's time, near `signed_at` unless [`Proven::problem`] says otherwise.
    pub(crate) tx_time: UtcTime,
    /// What is asked.
    pub(crate) body: B,
    /// The compact JWS, kept as evidence.
    pub(crate) jws: String,
    /// The transaction's salt.
    pub(crate) salt: Salt,
}

/// A request that its signer did sign, for this action and channel. What else may be wrong with it
/// is evidence about a known signer.
#[derive(Debug)]
pub(crate) struct Proven<B> {
    /// The request.
    pub(crate) signed: Signed<B>,
    /// What keeps it from being served.
    pub(crate) problem: Option<Problem>,
}

/// What keeps a proven request from being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Its nonce was used before.
    Replayed,
    /// The signer's certificate was not valid when it was signed.
    CertificateNotValid,
    /// It was signed too long before or after the transaction's time.
    Stale,
    /// The transaction's time lies before what the channel's clocks say.
    TimeRefused,
}

impl Problem {
    /// The reason that a recorded denial gives.
    pub(crate) const fn reason(self) -> ReasonCode {
        match self {
            Self::Replayed => ReasonCode::RequestReplayed,
            Self::CertificateNotValid => ReasonCode::CertificateNotValid,
            Self::Stale => ReasonCode::RequestStale,
            Self::TimeRefused => ReasonCode::TimeRefused,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let (code, sentence) = match problem {
            Problem::Replayed => (ErrorCode::NonceUsed, "the request has been used already"),
            Problem::CertificateNotValid => (
                ErrorCode::SignatureInvalid,
                "the signer's certificate was not valid then",
            ),
            Problem::Stale => (
                ErrorCode::RequestExpired,
                "the request was signed more than 300 seconds from now",
            ),
            Problem::TimeRefused => (
                ErrorCode::TimeRefused,
                "the transaction's time lies before what the channel's clocks say",
            ),
        };
        Self::new(code, sentence)
    }
}

/// Value of a used nonce's key. A nonce whose `iat` lies further back than the window may be
/// forgotten: the window refuses its request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsedNonce {
    pub(crate) iat: UtcTime,
}

/// For whom a signer acts.
#[derive(Debug, Clone)]
pub(crate) struct ActsFor {
    /// The patient.
    pub(crate) patient: Pseudonym,
    /// The patient's organisation.
    pub(crate) patient_msp: MspId,
    /// The delegation under which a guardian acts.
    pub(crate) delegation_id: Option<DelegationId>,
}

impl<B: RequestBody> Signed<B> {
    /// Takes the request out of the transient map, checks it in every respect, and marks its nonce
    /// as used.
    pub(crate) async fn take(ledger: &Ledger<'_>) -> Result<Self, Failure> {
        let Proven { signed, problem } = Self::proven(ledger).await?;
        match problem {
            None => Ok(signed),
            Some(problem) => Err(problem.into()),
        }
    }

    /// Takes the request out of the transient map, checks that its signer signed it for this
    /// action and channel, and marks its nonce as used. The rest is for the caller to judge.
    ///
    /// The creator must be an oracle: it answers for the transaction's time, and a patient's
    /// certificate must not become a creator's, which every block keeps.
    pub(crate) async fn proven(ledger: &Ledger<'_>) -> Result<Proven<B>, Failure> {
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
        let too_early = clocks::lower_bound(ledger)
            .await?
            .is_some_and(|bound| tx_time < bound);
        let replayed = !use_nonce(ledger, &thumbprint, &request, &salt).await?;
        let validity = certificate.not_before()..=certificate.not_after();
        let window = REQUEST_WINDOW_SECONDS.unsigned_abs();
        let problem = if replayed {
            Some(Problem::Replayed)
        } else if !validity.contains(&request.iat.unix_seconds()) {
            Some(Problem::CertificateNotValid)
        } else if request.iat.abs_diff(tx_time) > window {
            Some(Problem::Stale)
        } else if too_early {
            Some(Problem::TimeRefused)
        } else {
            None
        };
        let signed = Self {
            creator,
            signer,
            signed_at: request.iat,
            tx_time,
            body: request.body,
            jws: compact.to_owned(),
            salt,
        };
        Ok(Proven { signed, problem })
    }
}

impl<B> Signed<B> {
    /// The times at each of which a permission must hold.
    pub(crate) const fn times(&self) -> [UtcTime; 2] {
        [self.signed_at, self.tx_time]
    }

    /// Requires that the signer may act at all.
    pub(crate) fn require_active(&self) -> Result<(), Failure> {
        if self.signer.status == Status::Active {
            Ok(())
        } else {
            Err(Failure::forbidden("the signer is suspended or revoked"))
        }
    }

    /// Requires that the signer may act and has one of the roles.
    pub(crate) fn require_role(&self, roles: &[Role]) -> Result<(), Failure> {
        self.require_active()?;
        if roles.contains(&self.signer.role) {
            Ok(())
        } else {
            Err(Failure::forbidden(
                "the signer does not have a role that may do this",
            ))
        }
    }

    /// The patient for whom the signer acts: itself, if `patient` is absent or its own pseudonym,
    /// else one who made it a guardian with `power`, which must hold at both times.
    pub(crate) async fn acting_for(
        &self,
        ledger: &Ledger<'_>,
        patient: Option<Pseudonym>,
        power: Power,
    ) -> Result<ActsFor, Failure> {
        self.require_active()?;
        let signer = &self.signer;
        let own: Pseudonym = signer.participant_id.into();
        let patient = patient.unwrap_or(own);
        if patient == own {
            if signer.role != Role::Patient {
                return Err(Failure::forbidden(
                    "the signer is no patient, and no patient is named for whom to act",
                ));
            }
            return Ok(ActsFor {
                patient,
                patient_msp: signer.msp_id.clone(),
                delegation_id: None,
            });
        }
        let entry = ledger
            .delegation(&patient, &signer.participant_id)
            .await?
            .filter(|entry| entry.gives(power, &self.times()))
            .ok_or_else(|| {
                Failure::forbidden("no delegation lets the signer do this for the patient")
            })?;
        Ok(ActsFor {
            patient,
            patient_msp: entry.patient_msp,
            delegation_id: Some(entry.delegation.delegation_id),
        })
    }
}

/// Marks the nonce as used; false if it was used before.
async fn use_nonce<B>(
    ledger: &Ledger<'_>,
    signer: &Digest,
    request: &SignedRequest<B>,
    salt: &Salt,
) -> Result<bool, Failure> {
    let key = ledger.blinding.nonce(signer, &request.nonce)?;
    let used: Option<UsedNonce> = ledger.get_salted(&key, "a nonce").await?;
    if used.is_some() {
        return Ok(false);
    }
    let value = UsedNonce { iat: request.iat };
    ledger.put_salted(&key, &value, salt).await?;
    Ok(true)
}

fn signature_invalid(sentence: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(ErrorCode::SignatureInvalid, sentence)
}
