//! Which handler answers which address.

pub(crate) mod access;
pub(crate) mod access_requests;
pub(crate) mod audit;
pub(crate) mod content;
pub(crate) mod dead_letters;
pub(crate) mod delegations;
pub(crate) mod devices;
pub(crate) mod emergencies;
pub(crate) mod enrolments;
pub(crate) mod erasure;
pub(crate) mod evidence;
pub(crate) mod grants;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod notices;
pub(crate) mod participants;
pub(crate) mod policies;
pub(crate) mod reads;
pub(crate) mod records;
pub(crate) mod refusals;
pub(crate) mod uploads;
pub(crate) mod wraps;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use tower::ServiceExt;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::Api;
use crate::api::context::{Peer, TraceId};
use crate::api::openapi;
use crate::api::problem::{self, Problem};
use crate::api::request::{body, request, token_body};
use crate::clock;
use crate::refusals::Refusal;

/// Every route, as a service that can be called without a socket.
#[derive(Clone)]
pub(crate) struct Routes {
    filter: BoxedFilter<(Response,)>,
    api: Arc<Api>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Routes {
    /// The routes over their state.
    pub(crate) fn new(api: &Arc<Api>) -> Self {
        let filter = open(api)
            .or(directory(api))
            .unify()
            .or(enrolment(api))
            .unify()
            .or(data(api))
            .unify()
            .or(custody(api))
            .unify()
            .or(proofs(api))
            .unify()
            .or(consent(api))
            .unify()
            .or(requests(api))
            .unify()
            .or(audit(api))
            .unify()
            .or(operation(api))
            .unify()
            .recover(|rejection: warp::Rejection| async move {
                Ok::<_, Infallible>(problem::of_rejection(&rejection).deferred())
            })
            .unify()
            .boxed();
        Self {
            filter,
            api: Arc::clone(api),
        }
    }

    /// Answers one request, whose extensions hold a [`crate::api::context::Peer`].
    pub(crate) async fn answer<B>(&self, request: http::Request<B>) -> Response
    where
        B: hyper::body::Body + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path().to_owned();
        let mut response = match warp::service(self.filter.clone()).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110, 15.5.6: says which methods there are.
            let methods = openapi::methods_at(&path).iter().map(Method::as_str);
            let methods = methods.collect::<Vec<_>>().join(", ");
            if let Ok(allow) = HeaderValue::from_str(&methods) {
                response.headers_mut().insert(header::ALLOW, allow);
            }
        }
        response
    }
}

impl Routes {
    /// Whether an MSP accepts the peer's certificate now.
    pub(crate) fn knows(&self, peer: &Peer) -> bool {
        let now = clock::now().unix_seconds();
        peer.certificate
            .as_deref()
            .is_some_and(|certificate| self.api.callers.authenticate(certificate, now).is_ok())
    }
}

/// A request as the log of refusals knows it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Of the address; never logged as it is, since it may hold a pseudonym.
    pub(crate) path: String,
    pub(crate) peer: Peer,
    pub(crate) trace_id: TraceId,
}

impl Routes {
    /// Notes an answer that refuses what the ledger will not know of.
    pub(crate) async fn note(&self, asked: &Asked, response: &Response) {
        let refusing = problem::carried(response)
            .filter(|problem| problem.status().is_client_error() && !problem.is_recorded());
        let Some(problem) = refusing.filter(|_| asked.path.starts_with("/v1/")) else {
            return;
        };
        let now = clock::now();
        let certificate = asked.peer.certificate.as_deref();
        let known = certificate.and_then(|certificate| {
            let judged = self
                .api
                .callers
                .authenticate(certificate, now.unix_seconds());
            judged.ok()
        });
        let refusal = Refusal {
            time: now,
            method: asked.method.to_string(),
            path: openapi::template_at(&asked.path).unwrap_or("-").to_owned(),
            status: problem.status().as_u16(),
            code: problem.code().to_owned(),
            caller: certificate.map(|certificate| hex::encode(certificate.thumbprint())),
            msp_id: known.map(|caller| caller.msp_id.to_string()),
            trace_id: asked.trace_id.to_string(),
        };
        self.api.refusals.note(refusal).await;
    }
}

/// Addresses that need no certificate.
fn open(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let healthz = warp::path!("healthz")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(health::live(r)));
    let readyz = warp::path!("readyz")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(health::ready(r)));
    let openapi = warp::path!("openapi.json")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(health::openapi(r)));
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(health::metrics(r)));
    healthz
        .or(readyz)
        .unify()
        .or(openapi)
        .unify()
        .or(metrics)
        .unify()
        .boxed()
}

/// Participants and devices.
fn directory(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let participants = warp::path!("v1" / "participants");
    let list = participants
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(participants::list(r)));
    let add = participants
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(participants::register(r, body)));
    let one = warp::path!("v1" / "participants" / String)
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(participants::one(id, r)));
    let key = warp::path!("v1" / "participants" / String / "key")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(participants::rotate_key(id, r, body)));
    let devices = warp::path!("v1" / "devices");
    let list_devices = devices
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(devices::list(r)));
    let add_device = devices
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(devices::register(r, body)));
    let one_device = warp::path!("v1" / "devices" / String)
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(devices::one(id, r)));
    list.or(add)
        .unify()
        .or(one)
        .unify()
        .or(key)
        .unify()
        .or(list_devices)
        .unify()
        .or(add_device)
        .unify()
        .or(one_device)
        .unify()
        .boxed()
}

/// How devices get certificates.
fn enrolment(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let create = warp::path!("v1" / "enrolments")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(enrolments::create(r, body)));
    let certify = warp::path!("v1" / "enrolments" / "certificate")
        .and(warp::post())
        .and(request(api))
        .and(token_body(api))
        .then(|r, body| reply(enrolments::certify(r, body)));
    let renew = warp::path!("v1" / "enrolments" / "renewal")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(enrolments::renew(r, body)));
    create.or(certify).unify().or(renew).unify().boxed()
}

/// Records and what is in them.
fn data(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let list = warp::path!("v1" / "records")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(records::list(r)));
    let one = warp::path!("v1" / "records" / String)
        .and_then(|id: String| async move {
            // An address of its own, which stands where an ID does.
            match id.as_str() {
                "wraps" => Err(warp::reject::not_found()),
                _ => Ok(id),
            }
        })
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(records::one(id, r)));
    let content = warp::path!("v1" / "records" / String / "content")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(content::read(id, r)));
    let access = warp::path!("v1" / "records" / String / "access")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(access::explain(id, r)));
    list.or(one)
        .unify()
        .or(content)
        .unify()
        .or(access)
        .unify()
        .boxed()
}

/// Records that people make, versions, erasure, wrapped keys, and what is done in the background.
fn custody(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let submit = warp::path!("v1" / "records")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(uploads::submit(r, body)));
    let versions = warp::path!("v1" / "records" / String / "versions")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(uploads::versions(id, r)));
    let erasure = warp::path!("v1" / "records" / String / "erasure");
    let erase = erasure
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(erasure::erase(id, r, body)));
    let erased = erasure
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(erasure::one(id, r)));
    let complete = warp::path!("v1" / "records" / String / "erasure" / "completion")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(erasure::complete(id, r, body)));
    let wraps = warp::path!("v1" / "records" / String / "wraps")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(wraps::list(id, r)));
    let change = warp::path!("v1" / "records" / "wraps")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(wraps::change(r, body)));
    let jobs = warp::path!("v1" / "jobs")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(jobs::list(r)));
    submit
        .or(versions)
        .unify()
        .or(erase)
        .unify()
        .or(erased)
        .unify()
        .or(complete)
        .unify()
        .or(wraps)
        .unify()
        .or(change)
        .unify()
        .or(jobs)
        .unify()
        .boxed()
}

/// What can be checked without trusting the oracle.
fn proofs(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let evidence = warp::path!("v1" / "records" / String / "evidence")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(evidence::one(id, r)));
    let completeness = warp::path!("v1" / "audit" / "completeness")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(audit::completeness(r)));
    evidence.or(completeness).unify().boxed()
}

/// Rules: grants and policies.
fn consent(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let grants = warp::path!("v1" / "grants");
    let list = grants
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(grants::list(r)));
    let give = grants
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(grants::give(r, body)));
    let one = warp::path!("v1" / "grants" / String)
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(grants::one(id, r)));
    let revoke = warp::path!("v1" / "grants" / String / "revocation")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(grants::revoke(id, r, body)));
    let policies = warp::path!("v1" / "policies");
    let list_policies = policies
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(policies::list(r)));
    let set_policy = policies
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(policies::set(r, body)));
    let withdraw = warp::path!("v1" / "policies" / String / "withdrawal")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(policies::withdraw(id, r, body)));
    list.or(give)
        .unify()
        .or(one)
        .unify()
        .or(revoke)
        .unify()
        .or(list_policies)
        .unify()
        .or(set_policy)
        .unify()
        .or(withdraw)
        .unify()
        .boxed()
}

/// Guardians and requests for access.
fn requests(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let delegations = warp::path!("v1" / "delegations");
    let list = delegations
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(delegations::list(r)));
    let delegate = delegations
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(delegations::give(r, body)));
    let dismiss = warp::path!("v1" / "delegations" / String / "revocation")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(delegations::revoke(id, r, body)));
    let asked = warp::path!("v1" / "access-requests");
    let list_asked = asked
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(access_requests::list(r)));
    let ask = asked
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(access_requests::ask(r, body)));
    let refuse = warp::path!("v1" / "access-requests" / String / "refusal")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(access_requests::refuse(id, r, body)));
    list.or(delegate)
        .unify()
        .or(dismiss)
        .unify()
        .or(list_asked)
        .unify()
        .or(ask)
        .unify()
        .or(refuse)
        .unify()
        .boxed()
}

/// What happened: reads, emergencies, notices.
fn audit(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let reads = warp::path!("v1" / "reads")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(reads::list(r)));
    let read = warp::path!("v1" / "reads" / String)
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(reads::one(id, r)));
    let emergencies = warp::path!("v1" / "emergencies");
    let list_emergencies = emergencies
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(emergencies::list(r)));
    let declare = emergencies
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|r, body| reply(emergencies::declare(r, body)));
    let review = warp::path!("v1" / "emergencies" / String / "review")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(emergencies::review(id, r, body)));
    let notices = warp::path!("v1" / "notices")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(notices::list(r)));
    let refusals = warp::path!("v1" / "audit" / "refusals")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(refusals::list(r)));
    reads
        .or(read)
        .unify()
        .or(list_emergencies)
        .unify()
        .or(declare)
        .unify()
        .or(review)
        .unify()
        .or(notices)
        .unify()
        .or(refusals)
        .unify()
        .boxed()
}

/// For those who run the oracle.
fn operation(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let list = warp::path!("v1" / "dead-letters")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(dead_letters::list(r)));
    let retry = warp::path!("v1" / "dead-letters" / String / "retry")
        .and(warp::post())
        .and(request(api))
        .then(|id, r| reply(dead_letters::retry(id, r)));
    let give_up = warp::path!("v1" / "dead-letters" / String / "drop")
        .and(warp::post())
        .and(request(api))
        .then(|id, r| reply(dead_letters::give_up(id, r)));
    list.or(retry).unify().or(give_up).unify().boxed()
}

/// The handler's answer, or the problem for [`problem::render`].
async fn reply(answer: impl Future<Output = Result<Response, Problem>>) -> Response {
    answer.await.unwrap_or_else(Problem::deferred)
}
