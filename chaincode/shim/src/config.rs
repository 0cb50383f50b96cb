//! Settings of the server, and the environment variables that carry them.

use std::{net::SocketAddr, time::Duration};

use crate::ConfigError;

/// How much may be going on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions that run at the same time on one peer's stream.
    pub running_transactions: usize,
    /// Transactions that wait for a place; further ones are answered with status 503.
    pub waiting_transactions: usize,
    /// Ledger requests that wait inside one transaction.
    pub waiting_requests: usize,
    /// Bytes of one message, both ways.
    pub message_bytes: usize,
    /// How long running transactions may go on when the server shuts down or the stream is lost.
    pub drain: Duration,
    /// How long a peer may take to confirm the registration before a warning is logged.
    pub registration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running_transactions: 512,
            waiting_transactions: 4096,
            waiting_requests: 1024,
            message_bytes: 100 << 20,
            drain: Duration::from_secs(30),
            registration: Duration::from_secs(5),
        }
    }
}

/// How the server proves itself, and whether peers have to.
#[derive(Clone)]
pub struct TlsConfig {
    /// The server's certificate chain, PEM.
    pub certificate_pem: Vec<u8>,
    /// Its private key, PEM.
    pub key_pem: Vec<u8>,
    /// CA certificates, PEM. When given, a peer without a certificate of theirs is refused.
    pub client_roots_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig")
            .field("mutual", &self.client_roots_pem.is_some())
            .finish_non_exhaustive()
    }
}

/// Everything a [`crate::Server`] needs besides the contracts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The package ID, `label:hash`, that the peer knows the chaincode by.
    pub chaincode_id: String,
    /// TLS, or plain text when absent.
    pub tls: Option<TlsConfig>,
    /// Bounds.
    pub limits: Limits,
}

const ADDRESS: &[&str] = &["CHAINCODE_SERVER_ADDRESS"];
const PACKAGE_ID: &[&str] = &[
    "CORE_CHAINCODE_ID_NAME",
    "CHAINCODE_ID",
    "CORE_CHAINCODE_ID",
];
const TLS_ENABLED: &str = "CORE_PEER_TLS_ENABLED";
const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
const TLS_KEY: &[&str] = &["CORE_TLS_CLIENT_KEY_FILE", "CHAINCODE_TLS_KEY"];
const TLS_CERTIFICATE: &[&str] = &["CORE_TLS_CLIENT_CERT_FILE", "CHAINCODE_TLS_CERT"];
const CLIENT_ROOTS: &[&str] = &["CORE_PEER_TLS_ROOTCERT_FILE", "CHAINCODE_CLIENT_CA_CERT"];

impl ServerConfig {
    /// A server without TLS.
    #[must_use]
    pub fn new(address: SocketAddr, chaincode_id: impl Into<String>) -> Self {
        Self {
            address,
            chaincode_id: chaincode_id.into(),
            tls: None,
            limits: Limits::default(),
        }
    }

    /// Reads the settings from the variables of the Go contract API and of Fabric's samples; the
    /// README has the table. `lookup` is `|name| std::env::var(name).ok()` in a program.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when one is missing, wrong, or names a file that cannot be read.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let find = |names: &[&'static str]| first(&lookup, names);
        let (name, address) = find(ADDRESS).ok_or(ConfigError::Missing {
            names: "CHAINCODE_SERVER_ADDRESS",
        })?;
        let address = parse_address(name, address)?;
        let (_, chaincode_id) = find(PACKAGE_ID).ok_or(ConfigError::Missing {
            names: "CORE_CHAINCODE_ID_NAME, CHAINCODE_ID",
        })?;
        let tls = if tls_enabled(&lookup)? {
            Some(TlsConfig {
                certificate_pem: file(find(TLS_CERTIFICATE).ok_or(ConfigError::Missing {
                    names: "CORE_TLS_CLIENT_CERT_FILE, CHAINCODE_TLS_CERT",
                })?)?,
                key_pem: file(find(TLS_KEY).ok_or(ConfigError::Missing {
                    names: "CORE_TLS_CLIENT_KEY_FILE, CHAINCODE_TLS_KEY",
                })?)?,
                client_roots_pem: find(CLIENT_ROOTS).map(file).transpose()?,
            })
        } else {
            None
        };
        Ok(Self {
            address,
            chaincode_id,
            tls,
            limits: Limits::default(),
        })
    }
}

/// The first variable that is set and not empty.
fn first(
    lookup: impl Fn(&str) -> Option<String>,
    names: &[&'static str],
) -> Option<(&'static str, String)> {
    let value = |name: &'static str| Some((name, lookup(name).filter(|text| !text.is_empty())?));
    names.iter().find_map(|name| value(name))
}

fn tls_enabled(lookup: impl Fn(&str) -> Option<String>) -> Result<bool, ConfigError> {
    if let Some((name, value)) = first(&lookup, &[TLS_ENABLED]) {
        return parse_bool(name, value);
    }
    if let Some((name, value)) = first(&lookup, &[TLS_DISABLED]) {
        return Ok(!parse_bool(name, value)?);
    }
    Ok(first(&lookup, TLS_KEY).is_some())
}

fn parse_bool(name: &'static str, value: String) -> Result<bool, ConfigError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err(ConfigError::Invalid {
            name,
            value,
            expected: "true or false",
        }),
    }
}

/// `host:port`; an empty host or a name that Docker would resolve means every interface.
fn parse_address(name: &'static str, value: String) -> Result<SocketAddr, ConfigError> {
    let text = match value.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => value.clone(),
    };
    let mut resolved = std::net::ToSocketAddrs::to_socket_addrs(text.as_str())
        .ok()
        .into_iter()
        .flatten();
    resolved.next().ok_or(ConfigError::Invalid {
        name,
        value,
        expected: "host:port",
    })
}

fn file((name, path): (&'static str, String)) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(&path).map_err(|source| ConfigError::File { name, path, source })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ServerConfig, String> {
        let map: HashMap<&str, &str> = variables.iter().copied().collect();
        let lookup = |name: &str| map.get(name).map(|value| (*value).to_owned());
        ServerConfig::from_env(lookup).map_err(|error| error.to_string())
    }

    const ADDRESS: (&str, &str) = ("CHAINCODE_SERVER_ADDRESS", "127.0.0.1:9999");
    const ID: (&str, &str) = ("CORE_CHAINCODE_ID_NAME", "label:hash");

    /// A file that exists wherever this test runs.
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

    #[test]
    fn address_and_package_id_are_enough() {
        let config = read(&[ADDRESS, ID]).unwrap();
        assert_eq!(config.address.to_string(), "127.0.0.1:9999");
        assert_eq!(config.chaincode_id, "label:hash");
        assert!(config.tls.is_none());
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn both_families_of_names_are_taken_and_the_first_one_wins() {
        for name in [
            "CORE_CHAINCODE_ID_NAME",
            "CHAINCODE_ID",
            "CORE_CHAINCODE_ID",
        ] {
            assert_eq!(read(&[ADDRESS, (name, "id")]).unwrap().chaincode_id, "id");
        }
        let both = read(&[ADDRESS, ID, ("CHAINCODE_ID", "other")]).unwrap();
        assert_eq!(both.chaincode_id, "label:hash");
        let empty = read(&[
            ADDRESS,
            ("CORE_CHAINCODE_ID_NAME", ""),
            ("CHAINCODE_ID", "x"),
        ]);
        assert_eq!(empty.unwrap().chaincode_id, "x");
    }

    #[test]
    fn an_empty_host_means_every_interface() {
        let config = read(&[("CHAINCODE_SERVER_ADDRESS", ":7052"), ID]).unwrap();
        assert_eq!(config.address.to_string(), "0.0.0.0:7052");
    }

    #[test]
    fn tls_is_on_when_either_family_says_so() {
        let core = [
            ("CORE_PEER_TLS_ENABLED", "true"),
            ("CORE_TLS_CLIENT_KEY_FILE", FILE),
            ("CORE_TLS_CLIENT_CERT_FILE", FILE),
            ("CORE_PEER_TLS_ROOTCERT_FILE", FILE),
        ];
        let samples = [
            ("CHAINCODE_TLS_DISABLED", "false"),
            ("CHAINCODE_TLS_KEY", FILE),
            ("CHAINCODE_TLS_CERT", FILE),
            ("CHAINCODE_CLIENT_CA_CERT", FILE),
        ];
        for family in [core, samples] {
            let all = [&[ADDRESS, ID][..], &family].concat();
            let tls = read(&all).unwrap().tls.unwrap();
            assert!(!tls.key_pem.is_empty() && tls.client_roots_pem.is_some());
            let one_way = &all[..all.len() - 1];
            assert!(
                read(one_way)
                    .unwrap()
                    .tls
                    .unwrap()
                    .client_roots_pem
                    .is_none()
            );
        }
        let off = [
            ADDRESS,
            ID,
            ("CHAINCODE_TLS_DISABLED", "true"),
            ("CHAINCODE_TLS_KEY", FILE),
        ];
        assert!(read(&off).unwrap().tls.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let tls = ("CORE_PEER_TLS_ENABLED", "true");
        let key = ("CORE_TLS_CLIENT_KEY_FILE", "/no/such/file");
        let certificate = ("CORE_TLS_CLIENT_CERT_FILE", FILE);
        for (variables, message) in [
            (vec![ID], "none of CHAINCODE_SERVER_ADDRESS is set"),
            (
                vec![ADDRESS],
                "none of CORE_CHAINCODE_ID_NAME, CHAINCODE_ID is set",
            ),
            (
                vec![("CHAINCODE_SERVER_ADDRESS", "nowhere"), ID],
                "CHAINCODE_SERVER_ADDRESS has the value \"nowhere\", which is not host:port",
            ),
            (
                vec![ADDRESS, ID, ("CORE_PEER_TLS_ENABLED", "yes")],
                "CORE_PEER_TLS_ENABLED has the value \"yes\", which is not true or false",
            ),
            (
                vec![ADDRESS, ID, tls],
                "none of CORE_TLS_CLIENT_CERT_FILE, CHAINCODE_TLS_CERT is set",
            ),
            (
                vec![ADDRESS, ID, tls, certificate, key],
                "CORE_TLS_CLIENT_KEY_FILE names the file /no/such/file, which cannot be read",
            ),
        ] {
            assert_eq!(read(&variables).unwrap_err(), message);
        }
    }

    #[test]
    fn debugging_output_holds_no_key() {
        let tls = TlsConfig {
            certificate_pem: vec![],
            key_pem: b"secret".to_vec(),
            client_roots_pem: None,
        };
        assert_eq!(format!("{tls:?}"), "TlsConfig { mutual: false, .. }");
    }
}
