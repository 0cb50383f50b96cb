//! What a handler may know about the request it answers, apart from its body.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::rand;
use fabric_msp::Certificate;
use http::{HeaderMap, StatusCode};

use crate::api::problem::Problem;

/// What the connection tells; put into each request's extensions by the server.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The certificate of the TLS session, if one was shown.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Where the connection comes from.
    pub(crate) address: IpAddr,
}

/// Names one request in the log and in problems; the `trace-id` of W3C Trace Context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 16]);

impl TraceId {
    /// The caller's, from a `traceparent` header, or a fresh random one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(Self::from_traceparent)
            .unwrap_or_else(Self::random)
    }

    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`; all zeros is invalid by the standard.
    fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace_id) = (parts.next()?, parts.next()?);
        if version.len() != 2 || trace_id.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(trace_id, &mut bytes).ok()?;
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    fn random() -> Self {
        let mut bytes = [0; 16];
        // A trace ID is a label: if the system has no randomness the label is zero, and the
        // request fails where it needs random numbers for something.
        let _ = rand::fill(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The parameters of a query, taken one by one; what is left over is a mistake.
#[derive(Debug)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn new(parameters: BTreeMap<String, String>) -> Self {
        Self(parameters)
    }

    /// Takes a parameter as a typed value.
    ///
    /// # Errors
    ///
    /// A 400 problem naming the parameter when its value is not one.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Problem::malformed(format!(
                "The value of the parameter \"{name}\" is not valid."
            ))
        })
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// A 400 problem naming a parameter that the route does not know.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                Err(Problem::malformed(format!(
                    "This address does not take a parameter \"{shown}\"."
                )))
            }
        }
    }
}

/// A typed ID from a path segment.
///
/// # Errors
///
/// A 404 problem: nothing can have an ID of another form.
pub(crate) fn id<T: FromStr>(segment: &str, what: &str) -> Result<T, Problem> {
    segment.parse().map_err(|_| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            format!("There is no {what} with this ID: it does not have the form of one."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_taken_over_only_when_well_formed() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(
            TraceId::from_traceparent(&good).map(|id| id.to_string()),
            Some(id.to_owned())
        );
        for bad in [
            "",
            "00",
            "00-xyz-1-1",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::from_traceparent(bad), None, "{bad:?}");
        }
        assert_ne!(TraceId::random(), TraceId::random());
    }

    #[test]
    fn a_query_refuses_bad_values_and_unknown_names() {
        let parameters = [("page_size", "20"), ("other", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut query = Query::new(BTreeMap::from(parameters));
        assert_eq!(query.take::<u32>("absent").expect("absent is fine"), None);
        assert_eq!(query.take::<u32>("page_size").expect("a number"), Some(20));
        assert_eq!(
            query.finish().expect_err("left over").status(),
            StatusCode::BAD_REQUEST
        );
        let mut query = Query::new(BTreeMap::from([("n".to_owned(), "x".to_owned())]));
        assert_eq!(
            query.take::<u32>("n").expect_err("no number").status(),
            StatusCode::BAD_REQUEST
        );
    }
}
