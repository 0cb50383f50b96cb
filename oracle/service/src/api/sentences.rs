//! Decisions on reads in words for the person in front of the screen: what permits or is missing,
//! and whom to ask.
//!
//! Patients are not reached by name, which the consortium does not know, but through their
//! organisation; rules are named by their ID, which is what an administrator looks them up by.

use contract_interface::access::{Explanation, RuleRef};
use contract_interface::{MspId, ReasonCode};

/// To whom a sentence is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// The one who reads.
    Reader,
    /// Someone who asks about a reader: the patient, an administrator.
    Other,
}

/// What is known around a decision, for a sentence that says whom to ask.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    /// The organisation that registered the record.
    pub(crate) registrar: Option<&'a MspId>,
    /// The patient's organisation.
    pub(crate) patient_msp: Option<&'a MspId>,
    /// The rule that decided or came nearest.
    pub(crate) rule: Option<&'a RuleRef>,
}

/// The sentences about an explanation.
pub(crate) fn of_explanation(explanation: &Explanation, to: Addressee) -> String {
    let around = Around {
        registrar: Some(&explanation.registrar),
        patient_msp: Some(&explanation.patient_msp),
        rule: explanation.verdict.rule.as_ref(),
    };
    of_reason(explanation.verdict.reason, around, to)
}

/// The sentences about a reason.
pub(crate) fn of_reason(reason: ReasonCode, around: Around<'_>, to: Addressee) -> String {
    let words = Words { around, to };
    permitted(reason, &words)
        .or_else(|| not_covered(reason, &words))
        .or_else(|| not_standing(reason, &words))
        .or_else(|| forbidden(reason, &words))
        .or_else(|| of_person(reason, &words))
        .or_else(|| of_request(reason, &words))
        .unwrap_or_else(|| {
            format!(
                "The rules of this consortium do not allow this read ({reason}). Ask {}.",
                words.privacy_officer()
            )
        })
}

/// Parts of sentences.
struct Words<'a> {
    around: Around<'a>,
    to: Addressee,
}

impl Words<'_> {
    fn pick(&self, reader: &'static str, other: &'static str) -> &'static str {
        match self.to {
            Addressee::Reader => reader,
            Addressee::Other => other,
        }
    }

    /// The rule with its ID, if it is known: ` (grant 00…ff)`.
    fn rule(&self) -> String {
        match self.around.rule {
            Some(RuleRef::Grant { grant_id, .. }) => format!(" (grant {grant_id})"),
            Some(RuleRef::Policy { policy_id, .. }) => format!(" (policy {policy_id})"),
            Some(RuleRef::Delegation { delegation_id, .. }) => {
                format!(" (delegation {delegation_id})")
            }
            Some(RuleRef::Emergency { emergency_id }) => format!(" (emergency {emergency_id})"),
            None => String::new(),
        }
    }

    fn registrar(&self) -> String {
        self.around.registrar.map_or_else(
            || "the registering organisation".to_owned(),
            MspId::to_string,
        )
    }

    fn privacy_officer(&self) -> String {
        match self.around.registrar {
            Some(registrar) => format!("the privacy officer of {registrar}"),
            None => "your privacy officer".to_owned(),
        }
    }

    /// How to ask the patient for what is missing.
    fn ask_patient(&self, what: &str) -> String {
        match (self.to, self.around.patient_msp) {
            (Addressee::Reader, Some(msp)) => format!(
                "Ask the patient, whom {msp} can reach, {what}; \"salus access ask\" sends the \
                 request."
            ),
            (Addressee::Reader, None) => format!(
                "Ask the patient {what}; \"salus access ask\" sends the request through the \
                 patient's organisation."
            ),
            (Addressee::Other, _) => {
                "A grant of the patient that covers it would permit it.".to_owned()
            }
        }
    }
}

fn permitted(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    let rule = words.rule();
    let may = words.pick(
        "You may read this record",
        "This reader may read this record",
    );
    Some(match reason {
        ReasonCode::OwnRecord => match words.to {
            Addressee::Reader => "You may read this record: it is your own.".to_owned(),
            Addressee::Other => "Patients may always read their own records.".to_owned(),
        },
        ReasonCode::Guardian => format!("{may} for the patient, as a guardian{rule}."),
        ReasonCode::PolicyPermits => {
            format!("{may}: a rule of {} permits it{rule}.", words.registrar())
        }
        ReasonCode::Granted => format!("{may}: the patient has permitted it{rule}."),
        ReasonCode::Emergency => format!(
            "{may} in the declared emergency{rule}. The patient and the privacy officer are told \
             of every such read."
        ),
        _ => return None,
    })
}

fn not_covered(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    let rule = words.rule();
    Some(match reason {
        ReasonCode::NoGrant | ReasonCode::GranteeMismatch | ReasonCode::GrantOfOtherPatient => {
            let no_grant = words.pick(
                "The patient has given you no permission that covers this record.",
                "The patient has given this reader no permission that covers this record.",
            );
            format!("{no_grant} {}", words.ask_patient("to grant you access"))
        }
        ReasonCode::PurposeNotCovered => format!(
            "The patient's permission{rule} is for another purpose or project than the one named. \
             {}",
            words.ask_patient("to permit this purpose, if the one you named is right")
        ),
        ReasonCode::TypeNotCovered => format!(
            "The patient's permission{rule} does not include this kind of record, its source or \
             its treatment case. {}",
            words.ask_patient("to include it")
        ),
        ReasonCode::LabelNotCovered => format!(
            "The patient's permission{rule} does not reach as far as this record, which is more \
             confidential. {}",
            words.ask_patient("to include it")
        ),
        ReasonCode::PeriodNotCovered => format!(
            "The patient's permission{rule} does not include the time this record was measured \
             in. {}",
            words.ask_patient("to include that time")
        ),
        _ => return None,
    })
}

fn not_standing(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    let rule = words.rule();
    Some(match reason {
        ReasonCode::ReadsExhausted => format!(
            "The patient's permission{rule} was for a number of reads, which are used up. {}",
            words.ask_patient("to grant you access again")
        ),
        ReasonCode::GrantExpired => format!(
            "The patient's permission{rule} has expired. {}",
            words.ask_patient("to grant you access again")
        ),
        ReasonCode::GrantNotYetValid => format!(
            "The patient's permission{rule} is not valid yet. {}",
            words.pick(
                "Wait until it begins, or ask the patient to let it begin earlier.",
                "It permits the read once it begins."
            )
        ),
        ReasonCode::GrantRevoked => format!(
            "The patient has withdrawn the permission{rule}. {}",
            words.ask_patient("if you still need access")
        ),
        _ => return None,
    })
}

fn forbidden(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    let rule = words.rule();
    Some(match reason {
        ReasonCode::GrantDenies => format!(
            "The patient has forbidden this read{rule}. {}",
            match words.to {
                Addressee::Reader => words.ask_patient("whether that can be lifted"),
                Addressee::Other =>
                    "Only the patient, or a guardian, can lift that by revoking it.".to_owned(),
            }
        ),
        ReasonCode::PolicyDenies => format!(
            "A rule of {}, which keeps this record, forbids this read{rule}, whatever the patient \
             has permitted. Ask {}.",
            words.registrar(),
            words.privacy_officer()
        ),
        ReasonCode::EmergencyNotDeclared => {
            "No emergency is declared for this patient. Reading for the purpose BTG needs one: \
             whoever has the right to declares it with \"salus emergencies declare\", and the \
             patient and the privacy officer are told."
                .to_owned()
        }
        ReasonCode::EmergencyOver => format!(
            "The declared emergency{rule} is over. If it goes on, declare it anew; otherwise {}",
            match words.to {
                Addressee::Reader => lower_first(&words.ask_patient("to grant you access")),
                Addressee::Other => "the patient can grant access.".to_owned(),
            }
        ),
        _ => return None,
    })
}

fn of_person(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    let rule = words.rule();
    Some(match reason {
        ReasonCode::GuardianNotAllowed => format!(
            "The guardian's delegation{rule} has ended, has not begun or does not include \
             reading. Ask the patient or an administrator of {} to renew it.",
            words
                .around
                .patient_msp
                .map_or_else(|| "the patient's organisation".to_owned(), MspId::to_string)
        ),
        ReasonCode::PurposeNotForPatients => {
            "Patients read their own records for the purpose PATRQT. Ask again with it.".to_owned()
        }
        ReasonCode::RoleNotAllowed => words
            .pick(
                "Only its patient, the patient's guardians and care providers read a record, and \
                 you are registered as none of these. Ask your organisation's administrator if \
                 that is wrong.",
                "Only its patient, the patient's guardians and care providers read a record, and \
                 this person is registered as none of these.",
            )
            .to_owned(),
        ReasonCode::ReaderNotActive => words
            .pick(
                "Your registration is suspended or revoked. Ask your organisation's administrator.",
                "This reader's registration is suspended or revoked. Their organisation's \
                 administrator can change that.",
            )
            .to_owned(),
        _ => return None,
    })
}

fn of_request(reason: ReasonCode, words: &Words<'_>) -> Option<String> {
    Some(match reason {
        ReasonCode::RequestStale => {
            "The request was signed too long ago, or by a clock that runs ahead. Check this \
             computer's clock and sign again."
                .to_owned()
        }
        ReasonCode::RequestReplayed => {
            "This very request was used before, and each serves once. Sign a new one. If you did \
             not send it twice, tell your privacy officer."
                .to_owned()
        }
        ReasonCode::CertificateNotValid => words
            .pick(
                "Your certificate was not valid when the request was made. Ask your organisation's \
                 administrator to renew it.",
                "The reader's certificate was not valid when the request was made.",
            )
            .to_owned(),
        ReasonCode::TimeRefused => {
            "The request carries a time that lies behind the consortium's clocks. Try again; if it \
             persists, tell whoever runs this oracle that its clock may be wrong."
                .to_owned()
        }
        _ => return None,
    })
}

fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use contract_interface::Decision;
    use contract_interface::access::Verdict;

    use super::*;

    fn explanation(reason: ReasonCode) -> Explanation {
        let grant_id = "00112233445566778899aabbccddeeff".parse().expect("an ID");
        Explanation {
            verdict: Verdict {
                reason,
                rule: Some(RuleRef::Grant {
                    grant_id,
                    version: 1,
                }),
            },
            considered: vec![],
            registrar: "Org1MSP".parse().expect("an MSP ID"),
            patient_msp: "Org3MSP".parse().expect("an MSP ID"),
        }
    }

    #[test]
    fn every_reason_has_sentences_of_its_own() {
        let mut seen = std::collections::BTreeMap::new();
        for reason in ReasonCode::ALL {
            for to in [Addressee::Reader, Addressee::Other] {
                for text in [
                    of_explanation(&explanation(*reason), to),
                    of_reason(*reason, Around::default(), to),
                ] {
                    assert!(
                        text.starts_with(char::is_uppercase) && text.ends_with('.'),
                        "{reason}: {text}"
                    );
                    assert!(!text.contains(reason.as_str()), "{reason} has no sentence");
                    assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
                    if to == Addressee::Other {
                        assert!(
                            !text.contains("grant you") && !text.starts_with("You "),
                            "{reason}: {text}"
                        );
                    }
                }
            }
            seen.insert(
                of_explanation(&explanation(*reason), Addressee::Reader),
                reason,
            );
        }
        // No grant, a grant for someone else and one of another patient look alike to the reader.
        assert_eq!(seen.len(), ReasonCode::ALL.len() - 2);
    }

    #[test]
    fn a_denied_reader_is_told_whom_to_ask() {
        for reason in ReasonCode::ALL {
            let text = of_explanation(&explanation(*reason), Addressee::Reader);
            let helps = [
                "Ask ",
                "ask ",
                "Sign ",
                "sign ",
                "declares it",
                "Wait ",
                "Try again",
                "declare it",
            ];
            assert!(
                reason.decision() == Decision::Permit
                    || helps.iter().any(|word| text.contains(word)),
                "{reason}: {text}"
            );
        }
        let text = of_explanation(&explanation(ReasonCode::NoGrant), Addressee::Reader);
        assert!(text.contains("Org3MSP"), "{text}");
        let text = of_explanation(&explanation(ReasonCode::PolicyDenies), Addressee::Reader);
        assert!(text.contains("privacy officer of Org1MSP"), "{text}");
        let text = of_explanation(&explanation(ReasonCode::GrantExpired), Addressee::Reader);
        assert!(
            text.contains("grant 00112233445566778899aabbccddeeff"),
            "{text}"
        );
    }
}
