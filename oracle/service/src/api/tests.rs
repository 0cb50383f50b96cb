//! The API as a service, without a socket: who is let in, what is refused and in which words.

mod consent;
mod description;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use contract_interface::{
    AuthorizeRead, GrantId, Nonce, Purpose, RecordId, RequestBody, RevokeAccess, SignedRequest,
    UtcTime, canonical_json,
};
use fabric_msp::{MspId, NodeOu, SigningIdentity, jws};
use fabric_mspgen::{Kind, Organization, UserProfile, Validity};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use sealed_object::PrivateKey;
use serde_json::Value;
use tempfile::TempDir;

use super::context::Peer;
use super::readiness::{Readiness, ReadyBody};
use super::server::Edge;
use super::*;
use crate::clock;
use crate::config::{CallerOrganization, FabricConfig, FabricEndpoint, IpfsConfig};
use crate::keys::OracleKeys;
use crate::refusals::Refusals;
use crate::store::Kubo;

const CHANNEL: &str = "mychannel";
const RECORD: &str = "00112233445566778899aabbccddeeff";
const MAX_BODY: u64 = 4096;
/// A port on which nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// An API whose ledger and store cannot be reached, with people to call it.
struct World {
    edge: Edge,
    people: BTreeMap<&'static str, SigningIdentity>,
    folder: TempDir,
}

pub(super) fn user(
    organization: &Organization,
    name: &str,
    role: &str,
    validity: Option<Validity>,
) -> SigningIdentity {
    let profile = UserProfile {
        node_ou: NodeOu::Client,
        attributes: BTreeMap::from([("salus.role".to_owned(), role.to_owned())]),
        validity,
    };
    let folder = organization.issue_user(name, &profile).expect("issued");
    SigningIdentity::from_msp_dir(organization.msp_id().clone(), &folder.join("msp"))
        .expect("an identity")
}

fn people(
    org1: &Organization,
    org2: &Organization,
    stranger: &Organization,
) -> BTreeMap<&'static str, SigningIdentity> {
    let now = clock::now().unix_seconds();
    let past = Validity {
        not_before: now - 250,
        not_after: now - 60,
    };
    let revoked = user(org1, "revoked", "provider", None);
    org1.revoke(&[revoked.certificate().serial_hex()])
        .expect("revoked");
    BTreeMap::from([
        ("provider", user(org1, "provider", "provider", None)),
        ("colleague", user(org1, "colleague", "provider", None)),
        ("admin", user(org1, "admin", "admin", None)),
        ("auditor", user(org1, "auditor", "auditor", None)),
        ("admin2", user(org2, "admin", "admin", None)),
        ("expired", user(org1, "expired", "provider", Some(past))),
        ("stranger", user(stranger, "stranger", "admin", None)),
        ("revoked", revoked),
    ])
}

/// Made once: an RSA key takes long.
fn keys() -> OracleKeys {
    static KEYS: OnceLock<OracleKeys> = OnceLock::new();
    let made = || OracleKeys::new(PrivateKey::generate(3072).expect("a key"), Vec::new());
    KEYS.get_or_init(made).clone()
}

fn organization(folder: &Path, name: &str) -> Organization {
    let msp_id: MspId = format!("{name}MSP").parse().expect("an MSP ID");
    let domain = format!("{}.example.com", name.to_lowercase());
    Organization::create(folder, msp_id, &domain, Kind::Peer).expect("an organisation")
}

fn world() -> World {
    world_with(64)
}

fn world_with(concurrent_requests: usize) -> World {
    let folder = tempfile::tempdir().expect("temp dir");
    let [org1, org2, stranger] =
        ["Org1", "Org2", "Stranger"].map(|name| organization(folder.path(), name));
    let people = people(&org1, &org2, &stranger);
    let routes = routes(folder.path(), &[&org1, &org2], &org1);
    World {
        edge: Edge::new(routes, concurrent_requests, Duration::from_secs(60)),
        people,
        folder,
    }
}

/// The routes of an oracle of `own` for people of `organizations`.
pub(super) fn routes(folder: &Path, organizations: &[&Organization], own: &Organization) -> Routes {
    let oracle = user(own, "oracle", "oracle", None);
    let roots = folder.join("roots.pem");
    std::fs::write(&roots, own.tls_ca().certificate().pem()).expect("written");
    let ledger = Ledger::connect(
        &FabricConfig {
            channel: CHANNEL.to_owned(),
            chaincode: "salus".to_owned(),
            endpoints: vec![FabricEndpoint {
                address: NOBODY.to_owned(),
                server_name: None,
            }],
            tls_ca_file: roots,
        },
        oracle,
        own.signing_ca().certificate(),
    )
    .expect("a connection is made later");
    let store = Kubo::new(&IpfsConfig {
        api: format!("http://{NOBODY}").parse().expect("a URI"),
    });
    let organizations: Vec<CallerOrganization> = organizations
        .iter()
        .map(|organization| CallerOrganization {
            msp_id: organization.msp_id().clone(),
            msp_dir: organization.msp_folder(),
        })
        .collect();
    let api = Arc::new(Api {
        opener: Opener::new(ledger.clone(), store.clone(), keys()),
        devices: Arc::new(DeviceDirectory::new(Arc::new(ledger.clone()))),
        enrolments: None,
        ledger,
        callers: Callers::load(&organizations).expect("MSPs"),
        open_for_readers: false,
        max_body: MAX_BODY,
        readiness: Readiness::fixed(ReadyBody {
            ready: false,
            parts: BTreeMap::new(),
            refusal_log: None,
        }),
        refusals: Refusals::open_now(folder.join("audit").join("refusals.ndjson")),
        metrics: None,
        store,
        holders: vec![keys().public().clone()],
        gate: keys().public().clone(),
        signing: user(own, "signer", "oracle", None),
        jobs: Board::default(),
        dead_letters: None,
    });
    Routes::new(&api)
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl World {
    async fn send(&self, caller: Option<&str>, request: Request<Full<Bytes>>) -> Answer {
        let certificate = caller.map(|name| Arc::new(self.people[name].certificate().clone()));
        let peer = Peer {
            certificate,
            address: IpAddr::from([127, 0, 0, 1]),
        };
        let response = self.edge.answer(request, peer).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.expect("a body").to_bytes(),
        }
    }

    async fn get(&self, caller: Option<&str>, path: &str) -> Answer {
        self.send(
            caller,
            Request::get(path).body(Full::default()).expect("a request"),
        )
        .await
    }

    async fn post(&self, caller: &str, path: &str, media_type: &str, body: &str) -> Answer {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, media_type)
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request");
        self.send(Some(caller), request).await
    }

    async fn read(&self, caller: &str, record: &str, jws: &str) -> Answer {
        let request = Request::get(format!("/v1/records/{record}/content"))
            .header("Salus-Read-Request", jws)
            .body(Full::default())
            .expect("a request");
        self.send(Some(caller), request).await
    }

    fn sign<B: RequestBody>(&self, signer: &str, channel: &str, iat: UtcTime, body: B) -> String {
        let nonce = Nonce::from_bytes(&[9; 16]).expect("a nonce");
        let request = SignedRequest::new(channel, iat, nonce, body);
        let payload = canonical_json(&request).expect("JSON");
        jws::sign(&self.people[signer], &payload).expect("signed")
    }

    fn read_request(&self, signer: &str) -> String {
        self.sign(signer, CHANNEL, clock::now(), a_read(RECORD))
    }
}

fn a_read(record: &str) -> AuthorizeRead {
    AuthorizeRead {
        record_id: record.parse::<RecordId>().expect("a record ID"),
        purpose: Purpose::Treat,
        project: None,
    }
}

/// Checks status, code and form of a problem.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], problem::MEDIA_TYPE);
    let body = answer.json();
    assert_eq!(body["code"], code);
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], "about:blank");
    assert_eq!(
        body["title"],
        answer.status.canonical_reason().expect("known")
    );
    assert_eq!(body["trace_id"].as_str().map(str::len), Some(32));
    let detail = body["detail"].as_str().expect("a sentence");
    assert!(
        detail.ends_with('.') && detail.starts_with(char::is_uppercase),
        "{detail}"
    );
}

#[tokio::test]
async fn health_and_description_need_no_certificate() {
    let world = world();
    let live = world.get(None, "/healthz").await;
    assert_eq!(
        (live.status, &live.json()["status"]),
        (StatusCode::OK, &"ok".into())
    );
    let ready = world.get(None, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["ready"], false);
    let described = world.get(None, "/openapi.json").await.json();
    assert_eq!(described["info"]["title"], "Salus oracle");
}

#[tokio::test]
async fn only_valid_certificates_of_known_organisations_are_taken() {
    let world = world();
    for (caller, code) in [
        ("expired", "CERTIFICATE_EXPIRED"),
        ("revoked", "CERTIFICATE_REVOKED"),
        ("stranger", "CERTIFICATE_REFUSED"),
    ] {
        refused(&world.get(Some(caller), "/v1/reads").await, 401, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_body_is_not_waited_for() {
    let world = world();
    for (caller, status) in [
        (None, 401),
        (Some("stranger"), 401),
        (Some("provider"), 408),
    ] {
        let endless = http_body_util::StreamBody::new(futures::stream::pending::<
            Result<hyper::body::Frame<Bytes>, std::io::Error>,
        >());
        let request = Request::post("/v1/grants")
            .header(header::CONTENT_TYPE, "application/jose")
            .body(endless)
            .expect("a request");
        let peer = Peer {
            certificate: caller.map(|name| Arc::new(world.people[name].certificate().clone())),
            address: IpAddr::from([127, 0, 0, 1]),
        };
        let begun = tokio::time::Instant::now();
        let answer = world.edge.answer(request, peer).await;
        assert_eq!(answer.status(), status, "{caller:?}");
        let waited = begun.elapsed() > Duration::from_secs(10);
        assert_eq!(waited, caller == Some("provider"), "{caller:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_understood() {
    let world = world();
    let provider = Some("provider");
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/records/a/b",
        "/v1/records/zz",
        "/v1/records/%2e%2e%2f",
        "/v1/participants/0",
        "/v1/devices/a%20b",
    ] {
        refused(&world.get(provider, path).await, 404, "NOT_FOUND");
    }
    for path in [
        "/v1/records?patient=zz",
        "/v1/records?patien=00112233445566778899aabbccddeeff",
        "/v1/records?patient=00112233445566778899aabbccddeeff&from=yesterday",
        "/v1/records?patient=00112233445566778899aabbccddeeff&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "/v1/records?page_size=0",
        "/v1/records?page_size=201",
        "/v1/reads?reader=x",
        "/v1/grants?patient=00112233445566778899aabbccddeeff&grantee=00112233445566778899aabbccddeeff",
        "/v1/participants?role=king",
        "/v1/devices?page_token=%00",
    ] {
        refused(&world.get(provider, path).await, 400, "MALFORMED_REQUEST");
    }
    let delete = Request::delete("/v1/records")
        .body(Full::default())
        .expect("a request");
    let answer = world.send(provider, delete).await;
    refused(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.headers[header::ALLOW], "GET, POST");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = world();
    for (path, allow) in [
        ("/healthz", "GET"),
        ("/v1/devices", "GET, POST"),
        ("/v1/devices/", "GET, POST"),
        ("/v1/devices/monitor-1", "GET"),
        ("/v1/grants/zz/revocation", "POST"),
    ] {
        let request = Request::put(path).body(Full::default()).expect("a request");
        let answer = world.send(Some("provider"), request).await;
        refused(&answer, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.headers[header::ALLOW], allow, "{path}");
    }
}

#[tokio::test]
async fn registration_is_for_own_administrators_and_well_formed() {
    let world = world();
    let json = "application/json";
    for path in ["/v1/participants", "/v1/devices"] {
        refused(
            &world.post("provider", path, json, "{}").await,
            403,
            "ADMIN_REQUIRED",
        );
        refused(
            &world.post("admin2", path, json, "{}").await,
            403,
            "ADMIN_REQUIRED",
        );
        refused(
            &world.post("admin", path, "text/plain", "{}").await,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        );
        let large = format!("\"{}\"", "a".repeat(MAX_BODY as usize));
        refused(
            &world.post("admin", path, json, &large).await,
            413,
            "BODY_TOO_LARGE",
        );
        let deep = "[".repeat(4000);
        for bad in [
            "",
            "{",
            "[]",
            "{\"participant_id\":1}",
            "{\"x\":1}",
            "\u{0}",
            &deep,
        ] {
            refused(
                &world.post("admin", path, json, bad).await,
                400,
                "MALFORMED_REQUEST",
            );
        }
    }
}

#[tokio::test]
async fn a_read_needs_the_callers_own_fresh_signature_for_it() {
    let world = world();
    let missing = world
        .get(Some("provider"), &format!("/v1/records/{RECORD}/content"))
        .await;
    refused(&missing, 400, "READ_REQUEST_MISSING");
    let good = world.read_request("provider");
    let mut tampered = good.clone();
    let last = tampered.pop().expect("a signature");
    tampered.push(if last == 'A' { 'Q' } else { 'A' });
    let now = clock::now();
    let late = UtcTime::from_unix_seconds(now.unix_seconds() - 400).expect("a time");
    let early = UtcTime::from_unix_seconds(now.unix_seconds() + 400).expect("a time");
    let other_action = RevokeAccess {
        grant_id: RECORD.parse::<GrantId>().expect("a grant ID"),
        patient: None,
    };
    let table = [
        ("nonsense".to_owned(), 400, "MALFORMED_JWS"),
        ("a.b.c".to_owned(), 400, "MALFORMED_JWS"),
        (
            good.split('.').take(2).collect::<Vec<_>>().join("."),
            400,
            "MALFORMED_JWS",
        ),
        (tampered, 401, "SIGNATURE_INVALID"),
        (world.read_request("colleague"), 403, "SIGNER_MISMATCH"),
        // Proven but out of time: for the contract to deny and to record.
        (
            world.sign("provider", CHANNEL, late, a_read(RECORD)),
            503,
            "LEDGER_UNAVAILABLE",
        ),
        (
            world.sign("provider", CHANNEL, early, a_read(RECORD)),
            503,
            "LEDGER_UNAVAILABLE",
        ),
        (
            world.sign("provider", "other", now, a_read(RECORD)),
            400,
            "MALFORMED_JWS",
        ),
        (
            world.sign("provider", CHANNEL, now, a_read(&"0".repeat(32))),
            400,
            "REQUEST_MISMATCH",
        ),
        (
            world.sign("provider", CHANNEL, now, other_action),
            400,
            "MALFORMED_JWS",
        ),
    ];
    for (jws, status, code) in table {
        refused(&world.read("provider", RECORD, &jws).await, status, code);
    }
}

#[tokio::test]
async fn a_ledger_out_of_reach_is_said_to_be() {
    let world = world();
    let jws = world.read_request("provider");
    for answer in [
        world.get(Some("provider"), "/v1/reads").await,
        world
            .get(Some("provider"), &format!("/v1/records/{RECORD}"))
            .await,
        world.read("provider", RECORD, &jws).await,
    ] {
        refused(&answer, 503, "LEDGER_UNAVAILABLE");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
}

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let world = world_with(0);
    let answer = world.get(None, "/healthz").await;
    refused(&answer, 503, "BUSY");
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_keeps_nobody_out() {
    let world = world_with(1);
    let ask = || async {
        let request = Request::get("/openapi.json")
            .body(Full::<Bytes>::default())
            .expect("a request");
        let peer = Peer {
            certificate: None,
            address: IpAddr::from([127, 0, 0, 1]),
        };
        world.edge.answer(request, peer).await
    };
    let unread = ask().await;
    assert_eq!(ask().await.status(), StatusCode::OK);
    drop(unread);
}

#[tokio::test]
async fn the_callers_trace_is_carried_on() {
    let world = world();
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = Request::get("/nothing")
        .header("traceparent", format!("00-{id}-00f067aa0ba902b7-01"))
        .body(Full::default())
        .expect("a request");
    assert_eq!(world.send(None, request).await.json()["trace_id"], id);
}

#[tokio::test]
async fn metrics_are_not_for_everyone() {
    let world = world();
    refused(&world.get(None, "/metrics").await, 404, "NOT_FOUND");
    let elsewhere = Peer {
        certificate: None,
        address: IpAddr::from([192, 0, 2, 1]),
    };
    let request = Request::get("/metrics")
        .body(Full::<Bytes>::default())
        .expect("a request");
    let response = world.edge.answer(request, elsewhere).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
