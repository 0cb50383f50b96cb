//! What measures whom.

use contract_interface::DeviceRegistration;
use http::StatusCode;
use warp::reply::Response;

use crate::api::context::id;
use crate::api::problem::Problem;
use crate::api::request::{Body, RestRequest, json, page};
use crate::api::scalars::{Name, PageToken};
use crate::api::types::DeviceRegistered;
use crate::ledger::Viewer;

/// Lists the devices of the oracle's organisation, by pages.
#[utoipa::path(
    get, path = "/v1/devices", operation_id = "list_devices", tag = "directory",
    params(
        ("page_size" = Option<u16>, Query, minimum = 1, maximum = 200),
        ("page_token" = inline(Option<PageToken>), Query, description = "next_page_token of the page before"),
    ),
    responses(
        (status = 200, body = crate::api::types::DevicePage),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let mut query = request.query();
    let page = page(&mut query)?;
    query.finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    let found = request.api.ledger.devices(viewer, &page).await?;
    Ok(json(StatusCode::OK, &found))
}

/// One device of the oracle's organisation.
#[utoipa::path(
    get, path = "/v1/devices/{id}", operation_id = "get_device", tag = "directory",
    params(("id" = inline(Name), Path, description = "the device's ID")),
    responses(
        (status = 200, body = crate::api::types::Device),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(segment: String, request: RestRequest) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let device_id = id(&segment, "device")?;
    request.query().finish()?;
    let viewer = Viewer::Caller(&caller.certificate);
    match request.api.ledger.device(viewer, &device_id).await? {
        Some(device) => Ok(json(StatusCode::OK, &device)),
        None => Err(Problem::not_found(
            "No device with this ID is registered here.",
        )),
    }
}

/// Registers a device of the oracle's organisation, binds it to a patient, suspends or revokes it.
/// For its administrators.
#[utoipa::path(
    post, path = "/v1/devices", operation_id = "register_device", tag = "directory",
    request_body = crate::api::types::DeviceRegistration,
    responses(
        (status = 200, description = "Changed, or already as wanted", body = DeviceRegistered),
        (status = 201, description = "Registered", body = DeviceRegistered),
        (status = "default", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn register(request: RestRequest, body: Body) -> Result<Response, Problem> {
    let caller = request.own_admin()?;
    let registration: DeviceRegistration = request.json_body(body)?;
    request.require_standing(&caller).await?;
    let receipt = request.api.ledger.register_device(&registration).await?;
    request.api.devices.forget_device(&registration.device_id);
    let registered = DeviceRegistered::new(registration.device_id, &receipt);
    Ok(json(registered.status(), &registered))
}
