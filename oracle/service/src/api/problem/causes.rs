//! What each kind of failure below the API is to the caller.

use contract_interface::ErrorCode;
use http::StatusCode;

use super::Problem;
use crate::ledger::LedgerError;
use crate::open::ReadError;
use crate::store::StoreError;

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Contract {
                code: Some(code),
                message,
                ..
            } => Self {
                status: contract_status(*code),
                code: code.as_str(),
                detail: format!("{} {}", sentence(message), advice(*code))
                    .trim_end()
                    .to_owned(),
                read: None,
                retry: error.is_retryable(),
                cause: None,
            },
            LedgerError::OutcomeUnknown(_) => Self::timeout().caused_by(error),
            _ if error.is_retryable() => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "LEDGER_UNAVAILABLE",
                "The shared ledger cannot be reached at the moment. Nothing was changed; please \
                 try again shortly.",
            )
            .retry_later()
            .caused_by(error),
            _ => Self::internal(error),
        }
    }
}

/// A contract's message as a sentence: contracts write them without capital and full stop.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let mut sentence: String = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// What to do about a contract's refusal, after its own words; nothing where those say it.
fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::PageTokenInvalid => {
            "A page's token goes with the query and the caller it was made for: start from the \
             first page."
        }
        ErrorCode::SignatureInvalid => "Sign the request again with your registered certificate.",
        ErrorCode::RequestExpired => "Check this computer's clock and sign again.",
        ErrorCode::NonceUsed => {
            "Each signed request serves once: sign a new one. If you did not send it twice, tell \
             your privacy officer."
        }
        ErrorCode::TimeRefused => {
            "Try again; if it persists, tell whoever runs this oracle that its clock may be wrong."
        }
        ErrorCode::UnknownParticipant => {
            "Ask your organisation's administrator to register your certificate."
        }
        ErrorCode::Forbidden => "If you think you should be able to, ask your privacy officer.",
        ErrorCode::RecordNotFound
        | ErrorCode::GrantNotFound
        | ErrorCode::PolicyNotFound
        | ErrorCode::DelegationNotFound
        | ErrorCode::AccessRequestNotFound
        | ErrorCode::EmergencyNotFound
        | ErrorCode::ReadNotFound
        | ErrorCode::DeviceNotFound
        | ErrorCode::ParticipantNotFound => {
            "Check the ID; what you may not see looks the same as what is not there."
        }
        ErrorCode::GrantConflict | ErrorCode::StateConflict => {
            "Look at how it stands now before you try again."
        }
        ErrorCode::TooManyRules => {
            "Revoke or withdraw one that is no longer needed, then try again."
        }
        ErrorCode::TooManyAccessRequests => {
            "Wait until the patient answers one, or for the next day (UTC)."
        }
        ErrorCode::PatientKeyMissing => {
            "Register the patient's encryption key, or let the patient do so with `salus keys \
             rotate`; then send it again."
        }
        ErrorCode::CertificateForeign => {
            "An oracle registers people with certificates of its own organisation's authority only."
        }
        ErrorCode::KeyProofInvalid => {
            "Whose key it is makes the proof with `salus keys prove`, for the ID and the \
             certificate to be registered."
        }
        ErrorCode::ParticipantConflict => {
            "Choose a new random ID, or renew the registration there is."
        }
        ErrorCode::DeviceConflict => "End the binding there is before the new one begins.",
        ErrorCode::NotInitialized => "The consortium's channel is being set up; try again shortly.",
        ErrorCode::LedgerUnavailable => "Please try again shortly.",
        ErrorCode::LedgerCorrupt => "Please give the trace_id to whoever runs this oracle.",
        _ => "",
    }
}

/// The HTTP status of a contract's code.
fn contract_status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "STORE_UNAVAILABLE",
            "The store that keeps the sealed data cannot be reached at the moment. Please try \
             again shortly.",
        )
        .retry_later()
        .caused_by(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Ledger(error) => error.into(),
            ReadError::Store(error) => error.into(),
            ReadError::UnknownRecord => Self::new(
                StatusCode::NOT_FOUND,
                "RECORD_NOT_FOUND",
                "No record with this ID is registered, or it has been erased.",
            ),
            ReadError::Denied {
                record_id,
                read_id,
                block_number,
                reason,
                explanation,
            } => Self::read_denied(
                &record_id,
                (read_id, block_number),
                reason,
                explanation.as_deref(),
            ),
            ReadError::NotServed {
                read_id,
                block_number,
                cause,
            } => Self::from(*cause).permitted_as(read_id, block_number),
            error => of_key_or_object(error),
        }
    }
}

/// Failures after the record was found and besides the decision.
fn of_key_or_object(error: ReadError) -> Problem {
    match error {
        ReadError::NoKeyHere { msp_id } => Problem::new(
            StatusCode::CONFLICT,
            "KEY_ELSEWHERE",
            format!("The key of this record is kept by {msp_id}. Ask that organisation's oracle."),
        ),
        ReadError::NotShared => Problem::new(
            StatusCode::CONFLICT,
            "KEY_NOT_SHARED",
            "Only the patient holds the key of this record and has not shared it with you yet. Ask \
             the patient to hand it over with \"salus grants share\".",
        ),
        ReadError::ReaderHasNoKey => Problem::new(
            StatusCode::CONFLICT,
            "READER_KEY_MISSING",
            "You have not registered an encryption key, so nothing can be sealed for you. Make one \
             with \"salus keys create\" and have your administrator register it.",
        ),
        ReadError::ReaderKey(cause) => Problem::new(
            StatusCode::CONFLICT,
            "READER_KEY_UNUSABLE",
            "Your registered encryption key cannot be used. Make a new one with \"salus keys \
             create\" and have your administrator register it.",
        )
        .caused_by(cause),
        ReadError::ObjectMismatch | ReadError::Sealed(_) => Problem::new(
            StatusCode::BAD_GATEWAY,
            "OBJECT_DAMAGED",
            "What is stored for this record is not what was registered, so it was not handed out. \
             Please give the trace_id to whoever runs this oracle.",
        )
        .caused_by(error),
        ReadError::TooLarge => Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "NOT_ACCEPTABLE",
            "This record is too large to be opened here. Get it sealed and open it with the salus \
             program.",
        ),
        error => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use contract_interface::{ReasonCode, RecordId};

    use super::*;

    #[test]
    fn every_refusal_of_a_contract_is_a_sentence_with_its_code_and_status() {
        for code in ErrorCode::ALL {
            let problem = Problem::from(LedgerError::Contract {
                code: Some(*code),
                status: i32::from(code.status()),
                message: "the thing is not so".to_owned(),
            });
            assert_eq!(problem.code(), code.as_str());
            assert_eq!(problem.status().as_u16(), code.status(), "{code}");
            let detail = &problem.detail;
            assert!(detail.starts_with("The thing is not so."), "{detail}");
            assert!(detail.ends_with('.') && !detail.contains("  "), "{detail}");
        }
    }

    #[test]
    fn a_permitted_read_that_was_not_served_names_its_transaction() {
        let problem = Problem::from(ReadError::NotServed {
            read_id: "ab".repeat(32),
            block_number: 7,
            cause: Box::new(ReadError::NotShared),
        });
        assert_eq!(problem.code(), "KEY_NOT_SHARED");
        let read = problem.read.expect("the read is named");
        assert_eq!((read.block_number, read.reason), (7, None));
    }

    #[test]
    fn a_denied_read_says_why_and_where_it_is_recorded() {
        let record_id: RecordId = "00112233445566778899aabbccddeeff".parse().expect("an ID");
        let problem = Problem::from(ReadError::Denied {
            record_id,
            read_id: "ab".repeat(32),
            block_number: 7,
            reason: ReasonCode::PurposeNotCovered,
            explanation: None,
        });
        assert_eq!(problem.status(), StatusCode::FORBIDDEN);
        for words in ["another purpose", "salus access ask", &"ab".repeat(32)] {
            assert!(problem.detail.contains(words), "{}", problem.detail);
        }
    }
}
