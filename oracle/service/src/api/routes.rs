//! Which handler answers which address.

pub(crate) mod content;
pub(crate) mod devices;
pub(crate) mod grants;
pub(crate) mod health;
pub(crate) mod participants;
pub(crate) mod reads;
pub(crate) mod records;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use tower::ServiceExt;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::Api;
use crate::api::openapi;
use crate::api::problem::{self, Problem};
use crate::api::request::{body, request};

/// Every route, as a service that can be called without a socket.
#[derive(Clone)]
pub(crate) struct Routes {
    filter: BoxedFilter<(Response,)>,
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
            .or(data(api))
            .unify()
            .or(consent(api))
            .unify()
            .recover(|rejection: warp::Rejection| async move {
                Ok::<_, Infallible>(problem::of_rejection(&rejection).deferred())
            })
            .unify()
            .boxed();
        Self { filter }
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
        .or(list_devices)
        .unify()
        .or(add_device)
        .unify()
        .or(one_device)
        .unify()
        .boxed()
}

/// Records and what is in them.
fn data(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let list = warp::path!("v1" / "records")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(records::list(r)));
    let one = warp::path!("v1" / "records" / String)
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(records::one(id, r)));
    let content = warp::path!("v1" / "records" / String / "content")
        .and(warp::get())
        .and(request(api))
        .then(|id, r| reply(content::read(id, r)));
    list.or(one).unify().or(content).unify().boxed()
}

/// Grants and reads.
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
    let revoke = warp::path!("v1" / "grants" / String / "revocation")
        .and(warp::post())
        .and(request(api))
        .and(body(api))
        .then(|id, r, body| reply(grants::revoke(id, r, body)));
    let reads = warp::path!("v1" / "reads")
        .and(warp::get())
        .and(request(api))
        .then(|r| reply(reads::list(r)));
    list.or(give)
        .unify()
        .or(revoke)
        .unify()
        .or(reads)
        .unify()
        .boxed()
}

/// The handler's answer, or the problem for [`problem::render`].
async fn reply(answer: impl Future<Output = Result<Response, Problem>>) -> Response {
    answer.await.unwrap_or_else(Problem::deferred)
}
