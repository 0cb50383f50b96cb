//! Whose key it is that an oracle calls a participant's.
//!
//! A data key is wrapped for a key from the directory, which an oracle shows, and that oracle may
//! lie. It is believed only what it cannot have made itself: the certificate must come from a CA of
//! the organisation that the profile pins (`anchors`), be valid and say the role, and its key must
//! have signed that the encryption key is the participant's ([`crate::key_proof`]).
//!
//! That a participant's ID is the person whom the patient means no signature shows, unless the
//! certificate carries the ID (`salus.participant`). So [`Recipient`] has the name and organisation
//! that the CA vouches for, to be compared with the person's before anything is wrapped.

use std::path::Path;

use contract_interface::{
    Jwk, MspId, Participant, ParticipantId, Role, Status, UtcTime, names::attributes,
};
use fabric_msp::{Certificate, Msp};
use sealed_object::PublicKey;

use crate::{
    evidence::{Anchor, AnchorError},
    key_proof::{self, KeyProofError},
    letters::public_key,
    profile::Profile,
};

/// How to come by an anchor.
const PIN_IT: &str = "have the consortium give you the organisation's CA certificate, by another \
                      way than through an oracle, and name it in your profile: \
                      anchors = [\"MSPID=ca.pem\"]";

/// Why an encryption key is not believed to be a participant's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The profile does not say which CA the organisation has.
    #[error("your profile pins no CA of {msp_id}: {PIN_IT}")]
    Unpinned {
        /// The organisation.
        msp_id: MspId,
    },
    /// The certificate is not shown, as it is with patients.
    #[error(
        "the directory does not show the certificate of {participant_id}: have the person give you \
         the file, and name it with --certificate"
    )]
    NoCertificate {
        /// Whose.
        participant_id: ParticipantId,
    },
    /// The certificate is not one, or another than the person gave.
    #[error("the certificate shown for {participant_id} {problem}")]
    Certificate {
        /// Whose.
        participant_id: ParticipantId,
        /// What is wrong.
        problem: String,
    },
    /// The organisation's CA did not issue the certificate, or it is not valid now.
    #[error(
        "the certificate shown for {participant_id} is none that {msp_id} vouches for: {problem}"
    )]
    Chain {
        /// Whose.
        participant_id: ParticipantId,
        /// The organisation.
        msp_id: MspId,
        /// What is wrong.
        problem: String,
    },
    /// The participant has no key, or may not act.
    #[error("{participant_id} is not active or has registered no encryption key")]
    NoKey {
        /// Who.
        participant_id: ParticipantId,
    },
    /// The proof does not show the key to be the participant's.
    #[error("the key shown for {participant_id} is not proven to be its own: {problem}")]
    Proof {
        /// Whose.
        participant_id: ParticipantId,
        /// What is wrong.
        problem: KeyProofError,
    },
    /// No proof came with the key.
    #[error("the key shown for {participant_id} comes without a proof")]
    NoProof {
        /// Whose.
        participant_id: ParticipantId,
    },
    /// Someone else came than was asked for.
    #[error("{asked} was asked for, and {shown} is shown")]
    OtherParticipant {
        /// Who was asked for.
        asked: ParticipantId,
        /// Who came.
        shown: ParticipantId,
    },
    /// The gate of an oracle is no key of an oracle of the organisation that keeps the record.
    #[error("the oracle's gate is no proven key of an oracle of {msp_id}")]
    Gate {
        /// The organisation that keeps the record.
        msp_id: MspId,
    },
}

/// The CAs of one organisation.
#[derive(Debug, Clone)]
enum Authority {
    /// An MSP folder: with intermediate CAs and revocation lists.
    Msp(Box<Msp>),
    /// One root CA.
    Root(Box<Certificate>),
}

/// The organisations' CAs that a profile pins.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    authorities: Vec<(MspId, Authority)>,
}

/// Someone whose encryption key is proven.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// As the directory shows the participant.
    pub participant: Participant,
    /// The certificate behind the proof.
    pub certificate: Certificate,
    /// Whether the organisation's CA says in the certificate that this person has this ID.
    pub is_id_attested: bool,
    key: PublicKey,
}

impl Recipient {
    /// The proven key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The common name in the certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        self.certificate.subject_common_name().unwrap_or_default()
    }
}

impl Trust {
    /// The anchors of a profile, and the CA of the own organisation in its `msp_dir`.
    ///
    /// # Errors
    /// When an anchor cannot be read, or is not `MSPID=PATH`.
    pub fn of(profile: &Profile) -> Result<Self, AnchorError> {
        let mut trust = Self::default();
        for anchor in &profile.anchors {
            trust.pin(anchor)?;
        }
        let own = profile.msp_id.parse().map_err(|_| AnchorError::Name {
            name: profile.msp_id.clone(),
        })?;
        if trust.authority(&own).is_none() && profile.msp_dir.join("cacerts").is_dir() {
            trust.pin(&format!("{}={}", profile.msp_id, profile.msp_dir.display()))?;
        }
        Ok(trust)
    }

    /// Pins the CAs in `MSPID=PATH`: an MSP folder or a CA certificate (PEM).
    ///
    /// # Errors
    /// When it cannot be read, or is for no organisation.
    pub fn pin(&mut self, anchor: &str) -> Result<(), AnchorError> {
        let (name, path) = anchor.split_once('=').unwrap_or(("", anchor));
        if name.is_empty() {
            return Err(AnchorError::Nameless { path: path.into() });
        }
        let path = Path::new(path);
        let msp_id: fabric_msp::MspId = name.parse().map_err(|_| AnchorError::Name {
            name: name.to_owned(),
        })?;
        let known: MspId = name.parse().map_err(|_| AnchorError::Name {
            name: name.to_owned(),
        })?;
        if path.is_dir() {
            let msp = Msp::from_dir(msp_id, path).map_err(|source| AnchorError::Msp {
                path: path.to_owned(),
                source,
            })?;
            self.authorities
                .push((known, Authority::Msp(Box::new(msp))));
        } else if let Anchor::Organization { roots, .. } = Anchor::organization(msp_id, path)? {
            let roots = roots
                .into_iter()
                .map(|root| Authority::Root(Box::new(root)));
            self.authorities
                .extend(roots.map(|root| (known.clone(), root)));
        }
        Ok(())
    }

    /// The pinned root CAs, for comparing them with what others have: organisation, certificate.
    pub fn roots(&self) -> impl Iterator<Item = (&MspId, &Certificate)> {
        self.authorities.iter().flat_map(|(msp_id, authority)| {
            let roots = match authority {
                Authority::Msp(msp) => msp.ca_certificates(),
                Authority::Root(root) => std::slice::from_ref(&**root),
            };
            roots.iter().map(move |root| (msp_id, root))
        })
    }

    /// Verifies that the key shown for a participant is its own. `given` is the certificate that
    /// the person gave, where the directory shows none, or to be sure whom one means.
    ///
    /// # Errors
    /// [`TrustError`] says why it is not believed.
    pub fn recipient(
        &self,
        participant: Participant,
        given: Option<&Certificate>,
        now: UtcTime,
    ) -> Result<Recipient, TrustError> {
        let participant_id = participant.participant_id;
        let (Some(key), Status::Active) = (&participant.encryption_key, participant.status) else {
            return Err(TrustError::NoKey { participant_id });
        };
        let certificate = shown_certificate(&participant, given)?;
        self.check_chain(&participant, &certificate, now)?;
        let is_id_attested = check_attributes(&participant, &certificate)?;
        let proof = participant.key_proof.as_deref();
        let proof = proof.ok_or(TrustError::NoProof { participant_id })?;
        key_proof::verify(proof, &certificate, &participant_id, key).map_err(|problem| {
            TrustError::Proof {
                participant_id,
                problem,
            }
        })?;
        let key = public_key(key).map_err(|_| TrustError::NoKey { participant_id })?;
        Ok(Recipient {
            participant,
            certificate,
            is_id_attested,
            key,
        })
    }

    /// Verifies that `gate` is the key of one of these oracles of the organisation that keeps a
    /// record.
    ///
    /// # Errors
    /// [`TrustError::Unpinned`] or [`TrustError::Gate`].
    pub fn check_gate(
        &self,
        gate: &Jwk,
        registrar: &MspId,
        oracles: &[Participant],
        now: UtcTime,
    ) -> Result<(), TrustError> {
        if self.authority(registrar).is_none() {
            return Err(TrustError::Unpinned {
                msp_id: registrar.clone(),
            });
        }
        let is_theirs = oracles.iter().any(|oracle| {
            oracle.role == Role::Oracle
                && oracle.msp_id == *registrar
                && oracle.encryption_key.as_ref() == Some(gate)
                && self.recipient(oracle.clone(), None, now).is_ok()
        });
        match is_theirs {
            true => Ok(()),
            false => Err(TrustError::Gate {
                msp_id: registrar.clone(),
            }),
        }
    }

    fn authority(&self, msp_id: &MspId) -> Option<&Authority> {
        let found = self.authorities.iter().find(|(known, _)| known == msp_id);
        found.map(|(_, authority)| authority)
    }

    fn check_chain(
        &self,
        participant: &Participant,
        certificate: &Certificate,
        now: UtcTime,
    ) -> Result<(), TrustError> {
        let msp_id = &participant.msp_id;
        let refused = |problem: String| TrustError::Chain {
            participant_id: participant.participant_id,
            msp_id: msp_id.clone(),
            problem,
        };
        let mut authorities = self.authorities.iter().filter(|(known, _)| known == msp_id);
        let mut problem = None;
        for (_, authority) in authorities.by_ref() {
            match authority.judge(certificate, now) {
                Ok(()) => return Ok(()),
                Err(why) => problem = Some(why),
            }
        }
        Err(problem.map_or_else(
            || TrustError::Unpinned {
                msp_id: msp_id.clone(),
            },
            refused,
        ))
    }
}

impl Authority {
    fn judge(&self, certificate: &Certificate, now: UtcTime) -> Result<(), String> {
        let now = now.unix_seconds();
        match self {
            Self::Msp(msp) => msp
                .validate_at(certificate, now)
                .map(drop)
                .map_err(|error| error.to_string()),
            Self::Root(_) if certificate.is_ca() => Err("it is a CA's own".to_owned()),
            Self::Root(root) if !certificate.is_issued_by(root) => {
                Err(format!("{} did not issue it", root.subject()))
            }
            Self::Root(_) => {
                let validity = certificate.not_before()..=certificate.not_after();
                match validity.contains(&now) {
                    true => Ok(()),
                    false => Err("it is not valid now".to_owned()),
                }
            }
        }
    }
}

/// The certificate in the directory, which must be the one that the person gave.
fn shown_certificate(
    participant: &Participant,
    given: Option<&Certificate>,
) -> Result<Certificate, TrustError> {
    let participant_id = participant.participant_id;
    let refused = |problem: &str| TrustError::Certificate {
        participant_id,
        problem: problem.to_owned(),
    };
    let shown = match (participant.certificate.as_str(), given) {
        ("", None) => return Err(TrustError::NoCertificate { participant_id }),
        ("", Some(given)) => return Ok(given.clone()),
        (pem, _) => {
            Certificate::from_pem(pem.as_bytes()).map_err(|_| refused("is no X.509 certificate"))?
        }
    };
    match given {
        Some(given) if given.der() != shown.der() => {
            Err(refused("is another than the one that was given to you"))
        }
        _ => Ok(shown),
    }
}

/// Requires that the certificate does not say another role or ID; whether it says the ID.
fn check_attributes(
    participant: &Participant,
    certificate: &Certificate,
) -> Result<bool, TrustError> {
    let refused = |problem: String| TrustError::Certificate {
        participant_id: participant.participant_id,
        problem,
    };
    let role = certificate.attribute(attributes::ROLE);
    if role.is_some_and(|role| Role::from_text(role) != Some(participant.role)) {
        let role = participant.role;
        return Err(refused(format!(
            "does not say that this is the {role} shown"
        )));
    }
    let id = certificate.attribute(attributes::PARTICIPANT);
    match id {
        Some(id) if id.parse() != Ok(participant.participant_id) => {
            Err(refused(format!("is that of participant {id}")))
        }
        id => Ok(id.is_some()),
    }
}

#[cfg(test)]
mod tests;
