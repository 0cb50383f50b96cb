//! HTTPS with a client certificate, and the mapping of answers to errors.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use fabric_msp::{MspId, SigningIdentity};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    error::{ClientError, Problem},
    profile::Profile,
};

/// Largest JSON answer, bytes: a page of 200 records is below 1 MiB.
pub(crate) const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long the oracle may take until the answer begins. A read waits for a commit.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(90);
/// The same for a request with a large body, which has to go through first.
const LARGE_BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests to one oracle as one person.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    base: Arc<str>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    pub(crate) fn new(profile: &Profile) -> Result<Self, ClientError> {
        let tls = tls_config(&profile.oracle_ca_file, &profile.msp_dir)?;
        Ok(Self::over(tls, &profile.oracle_url))
    }

    /// Requests of nobody in particular: what else they show must say who asks.
    pub(crate) fn without_certificate(url: &str, ca_file: &Path) -> Result<Self, ClientError> {
        let roots = roots(&read(ca_file)?).map_err(|problem| identity(ca_file, &problem))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| identity(ca_file, &error.to_string()))?;
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self::over(tls, url))
    }

    /// Requests of who has the certificate and key in one PEM file.
    pub(crate) fn with_certificate(
        url: &str,
        ca_file: &Path,
        pem_file: &Path,
    ) -> Result<Self, ClientError> {
        let pem = Zeroizing::new(read(pem_file)?);
        let tls = client_config(&read(ca_file)?, &pem, &pem)
            .map_err(|problem| identity(pem_file, &problem))?;
        Ok(Self::over(tls, url))
    }

    fn over(tls: ClientConfig, url: &str) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector.build());
        Self {
            base: url.trim_end_matches('/').into(),
            client,
        }
    }

    /// Gets JSON. `query` members that are `None` are left out.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<T, ClientError> {
        let target = format!("{path}{}", encode_query(query));
        let response = self
            .send(Method::GET, &target, HeaderMap::new(), Bytes::new())
            .await?;
        read_json(response).await
    }

    /// Gets an answer in the form that `accept` names.
    pub(crate) async fn get_as(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        accept: HeaderValue,
    ) -> Result<Bytes, ClientError> {
        let target = format!("{path}{}", encode_query(query));
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        let response = self
            .send(Method::GET, &target, headers, Bytes::new())
            .await?;
        read_limited(response).await
    }

    /// Gets an answer of at most `limit` bytes.
    pub(crate) async fn get_within(&self, path: &str, limit: usize) -> Result<Bytes, ClientError> {
        let response = self
            .send_large(Method::GET, path, HeaderMap::new(), Bytes::new())
            .await?;
        read_within(response, limit).await
    }

    /// Posts JSON, gets JSON.
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| ClientError::Malformed {
            what: "a body that is JSON",
        })?;
        self.post(path, "application/json", body.into()).await
    }

    /// Posts a signed request, gets JSON.
    pub(crate) async fn post_jws<T: DeserializeOwned>(
        &self,
        path: &str,
        jws: String,
    ) -> Result<T, ClientError> {
        self.post(path, "application/jose", jws.into()).await
    }

    /// Posts nothing, gets nothing but that it is done.
    pub(crate) async fn post_nothing(&self, path: &str) -> Result<(), ClientError> {
        let response = self
            .send(Method::POST, path, HeaderMap::new(), Bytes::new())
            .await?;
        read_limited(response).await?;
        Ok(())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let response = self.send(Method::POST, path, headers, body).await?;
        read_json(response).await
    }

    /// Sends a request; an answer that is not a success becomes [`ClientError::Refused`].
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        self.send_within(RESPONSE_TIMEOUT, method, target, headers, body)
            .await
    }

    /// As [`Http::send`], for a body that takes a while to go through.
    pub(crate) async fn send_large(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        self.send_within(LARGE_BODY_TIMEOUT, method, target, headers, body)
            .await
    }

    async fn send_within(
        &self,
        timeout: Duration,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            format!("{}{target}", self.base)
                .parse()
                .map_err(|_| ClientError::Malformed {
                    what: "a path of the API",
                })?;
        *request.headers_mut() = headers;
        let response = tokio::time::timeout(timeout, self.client.request(request))
            .await
            .map_err(|elapsed| self.unreachable(elapsed))?
            .map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read_limited(response).await?;
        Err(ClientError::Refused(problem(status, &body)))
    }

    fn unreachable(&self, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError::Unreachable {
            url: self.base.to_string(),
            source: Box::new(source),
        }
    }
}

pub(crate) async fn read_json<T: DeserializeOwned>(
    response: Response<Incoming>,
) -> Result<T, ClientError> {
    let body = read_limited(response).await?;
    serde_json::from_slice(&body).map_err(|_| ClientError::Malformed {
        what: "JSON of the API",
    })
}

async fn read_limited(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let limit = usize::try_from(JSON_BYTES_MAX).unwrap_or(usize::MAX);
    read_within(response, limit).await
}

async fn read_within(response: Response<Incoming>, limit: usize) -> Result<Bytes, ClientError> {
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ClientError::TooLarge {
                limit: limit as u64,
            })
        }
        Err(_) => Err(ClientError::Malformed {
            what: "a whole answer",
        }),
    }
}

fn problem(status: StatusCode, body: &[u8]) -> Problem {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        status: 0,
        title: status
            .canonical_reason()
            .unwrap_or("unknown status")
            .to_owned(),
        detail: String::new(),
        code: String::new(),
        read_id: None,
    });
    problem.status = status.as_u16();
    problem
}

/// Writes `?name=value&…`, percent-encoded (RFC 3986); members that are `None` are left out.
pub(crate) fn encode_query(query: &[(&str, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        let Some(value) = value else { continue };
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            // RFC 3986, section 2.3.
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

/// TLS as the person whose certificate and key an MSP folder holds.
fn tls_config(ca_file: &Path, msp_dir: &Path) -> Result<ClientConfig, ClientError> {
    let chain = pem_files(&msp_dir.join("signcerts"))?;
    let [certificate] = &chain[..] else {
        return Err(identity(
            msp_dir,
            "signcerts does not hold exactly one certificate",
        ));
    };
    let keys = pem_files(&msp_dir.join("keystore"))?;
    let [key] = &keys[..] else {
        return Err(identity(msp_dir, "keystore does not hold exactly one key"));
    };
    client_config(&read(ca_file)?, certificate, key).map_err(|problem| identity(msp_dir, &problem))
}

/// TLS with a client certificate, all in PEM.
pub(crate) fn client_config(
    ca: &[u8],
    certificate: &[u8],
    key: &[u8],
) -> Result<ClientConfig, String> {
    let roots = roots(ca)?;
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("the key is not PEM: {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| error.to_string())
}

fn roots(ca: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca) {
        let root = root.map_err(|error| format!("the CA file is not PEM: {error}"))?;
        roots
            .add(root)
            .map_err(|error| format!("the CA file: {error}"))?;
    }
    Ok(roots)
}

/// The signing identity of an MSP folder.
pub(crate) fn signing_identity(profile: &Profile) -> Result<SigningIdentity, ClientError> {
    let msp_id: MspId = profile.msp_id.parse().map_err(|_| {
        identity(
            &profile.msp_dir,
            &format!("{:?} is no MSP ID", profile.msp_id),
        )
    })?;
    SigningIdentity::from_msp_dir(msp_id, &profile.msp_dir)
        .map_err(|error| identity(&profile.msp_dir, &error.to_string()))
}

fn pem_files(folder: &Path) -> Result<Vec<Zeroizing<Vec<u8>>>, ClientError> {
    let entries = fs::read_dir(folder).map_err(|error| identity(folder, &error.to_string()))?;
    let mut paths = entries
        .map(|e| Ok(e?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    paths
        .iter()
        .filter(|path| path.is_file())
        .map(|path| read(path).map(Zeroizing::new))
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    fs::read(path).map_err(|error| identity(path, &error.to_string()))
}

fn identity(path: &Path, problem: &str) -> ClientError {
    ClientError::Identity {
        problem: format!("{}: {problem}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let query = [
            ("a", Some("x y&ü".to_owned())),
            ("b", None),
            ("c", Some("1.0".to_owned())),
        ];
        assert_eq!(encode_query(&query), "?a=x%20y%26%C3%BC&c=1.0");
        assert_eq!(encode_query(&[("b", None)]), "");
        // The property bag of an MQTT 3.1.1 topic is written the same way.
        let bag = [
            ("seq", Some("17".to_owned())),
            ("content-type", Some("application/fhir+json".to_owned())),
        ];
        assert_eq!(
            encode_query(&bag),
            "?seq=17&content-type=application%2Ffhir%2Bjson"
        );
    }

    #[test]
    fn an_answer_that_is_no_problem_document_still_says_its_status() {
        let odd = problem(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((odd.status, odd.title.as_str()), (502, "Bad Gateway"));
        let real = problem(
            StatusCode::FORBIDDEN,
            br#"{"status":403,"title":"Forbidden","detail":"no grant","code":"READ_DENIED"}"#,
        );
        assert_eq!(real.to_string(), "no grant (403 READ_DENIED)");
    }
}
