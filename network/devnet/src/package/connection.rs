//! `connection.json`: where a chaincode listens and how it is reached.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Time allowed to reach a chaincode when the package does not say.
pub(super) const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a chaincode cannot be reached the way its package says.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// A field that the others make necessary is empty.
    #[error("chaincode {0} not provided")]
    Missing(&'static str),
    /// A `{{.name}}` that nothing fills in.
    #[error("no value for the template field '{0}'")]
    Template(String),
}

/// The content of `connection.json`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// `host:port`; `{{.peername}}` stands for the peer's name.
    #[serde(default)]
    pub address: String,
    /// Name expected in the chaincode's TLS certificate, when it is not the address's host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// How long to keep trying to connect.
    #[serde(
        default,
        serialize_with = "write_duration",
        deserialize_with = "read_duration"
    )]
    pub dial_timeout: Duration,
    /// Whether the chaincode speaks TLS.
    #[serde(default)]
    pub tls_required: bool,
    /// Whether the chaincode wants the peer to show a certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_auth_required: bool,
    /// The peer's key towards the chaincode, PEM text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_key: String,
    /// The peer's certificate towards the chaincode, PEM text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_cert: String,
    /// Authority that issued the chaincode's certificate, PEM text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root_cert: String,
}

/// A connection with its templates filled in and its fields checked.
#[derive(Clone)]
pub struct ExpandedConnection {
    /// `host:port`.
    pub address: String,
    /// How long to keep trying to connect.
    pub dial_timeout: Duration,
    /// TLS, when the chaincode speaks it.
    pub tls: Option<ConnectionTls>,
}

/// TLS towards a chaincode.
#[derive(Clone)]
pub struct ConnectionTls {
    /// Authority of the chaincode's certificate, PEM.
    pub root: String,
    /// Certificate and key that the peer shows, PEM.
    pub client: Option<(String, String)>,
    /// Name in the chaincode's certificate, when it is not the host.
    pub domain: Option<String>,
}

impl std::fmt::Debug for ExpandedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExpandedConnection")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ConnectionTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionTls")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            dial_timeout: Duration::from_secs(10),
            ..Self::default()
        }
    }

    /// Fills in `{{.peername}}` and checks that what is needed is there.
    ///
    /// # Errors
    /// [`ConnectionError::Missing`] or [`ConnectionError::Template`].
    pub fn expand(&self, peer_name: &str) -> Result<ExpandedConnection, ConnectionError> {
        let fill = |text: &str| fill_template(text, peer_name);
        let needed = |text: &str, name| match text {
            "" => Err(ConnectionError::Missing(name)),
            text => fill(text),
        };
        let tls = if self.tls_required {
            let client = if self.client_auth_required {
                let key = needed(&self.client_key, "tls key")?;
                Some((needed(&self.client_cert, "tls cert")?, key))
            } else {
                None
            };
            Some(ConnectionTls {
                root: needed(&self.root_cert, "tls root cert")?,
                client,
                domain: Some(fill(&self.domain)?).filter(|domain| !domain.is_empty()),
            })
        } else {
            None
        };
        Ok(ExpandedConnection {
            address: needed(&self.address, "address")?,
            dial_timeout: match self.dial_timeout {
                Duration::ZERO => DEFAULT_DIAL_TIMEOUT,
                timeout => timeout,
            },
            tls,
        })
    }
}

fn fill_template(text: &str, peer_name: &str) -> Result<String, ConnectionError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((field, after)) = after.split_once("}}") else {
            return Err(ConnectionError::Template(after.to_owned()));
        };
        match field.trim() {
            ".peername" => {
                filled.push_str(before);
                filled.push_str(peer_name);
            }
            other => return Err(ConnectionError::Template(other.to_owned())),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if duration.subsec_nanos() == 0 {
        serializer.collect_str(&format_args!("{}s", duration.as_secs()))
    } else {
        serializer.collect_str(&format_args!("{}ns", duration.as_nanos()))
    }
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Nanoseconds(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Nanoseconds(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        Written::Text(text) => parse_go_duration(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("invalid duration '{text}'"))),
    }
}

/// Reads a duration as Go writes it: `"10s"`, `"1m30s"`, `"1.5h"`; empty is zero.
#[must_use]
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    if text.is_empty() || text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let amount: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(amount * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}
