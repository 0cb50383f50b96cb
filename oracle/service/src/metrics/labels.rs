//! What becomes a label's value. Each has few: whatever a device or a caller may choose is mapped to a name of
//! the program's.

use std::time::Instant;

use contract_interface::ErrorCode;
use http::Method;

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// For what has no name of its own.
const OTHER: &str = "other";

/// A request's method. A caller may make up any number of others.
pub(crate) fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

/// A contract's code, if it is one of this version's.
pub(crate) fn contract_code(code: &str) -> &'static str {
    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
    known.map_or(OTHER, |known| known.as_str())
}

/// Why a call of Fabric failed; none if it was answered, even by a contract's refusal.
pub(crate) fn ledger_failure(error: &LedgerError) -> Option<&'static str> {
    match error {
        LedgerError::Contract { .. } => None,
        LedgerError::OutcomeUnknown(_) => Some("outcome-unknown"),
        LedgerError::Answer(_) | LedgerError::DecisionUnreadable | LedgerError::Block(_) => {
            Some("unreadable")
        }
        error if error.is_retryable() => Some("unreachable"),
        _ => Some("failed"),
    }
}

/// Why a call of the IPFS node failed; none if it was answered.
pub(crate) fn store_failure(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Unreachable(_) => Some("unreachable"),
        StoreError::TimedOut { .. } => Some("timed-out"),
        StoreError::TooLarge { .. } => Some("unreadable"),
        _ => Some("failed"),
    }
}

/// Notes one call of another system.
pub(crate) fn observe_upstream(
    upstream: &'static str,
    call: &'static str,
    began: Instant,
    failure: Option<&'static str>,
) {
    let seconds = began.elapsed().as_secs_f64();
    metrics::histogram!("salus_upstream_seconds", "upstream" => upstream, "call" => call)
        .record(seconds);
    if let Some(reason) = failure {
        metrics::counter!("salus_upstream_errors_total", "upstream" => upstream, "call" => call, "reason" => reason)
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_choose_is_no_label() {
        let made_up = Method::from_bytes(b"X-RANDOM-1").unwrap();
        assert_eq!(method(&made_up), OTHER);
        assert_eq!(method(&Method::POST), "POST");
        assert_eq!(contract_code("STATUS_917"), OTHER);
        assert_eq!(contract_code("DEVICE_NOT_BOUND"), "DEVICE_NOT_BOUND");
    }

    #[test]
    fn a_contracts_refusal_is_no_failure_of_fabric() {
        let refused = LedgerError::Contract {
            code: None,
            status: 403,
            message: String::new(),
        };
        assert_eq!(ledger_failure(&refused), None);
        let late = StoreError::TimedOut {
            command: "dag/import".to_owned(),
        };
        assert_eq!(store_failure(&late), Some("timed-out"));
    }
}
