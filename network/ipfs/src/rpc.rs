//! Kubo's commands: from a request to an answer.
//!
//! A command is one function; `dispatch` is the table of them. Errors, shapes and header fields
//! are Kubo's (docs.ipfs.tech/reference/kubo/rpc), the README lists where they differ.

mod add;
mod answer;
mod block;
mod dag;
mod node;
mod pin;
mod request;
mod upload;

use std::sync::Arc;

use http::{Method, StatusCode, header};

pub(crate) use answer::Answer;
pub(crate) use request::{Body, Limits};

use crate::{Store, StoreError, import::FolderError, path::PathError};
use answer::RpcError;
use request::Request;

const PREFIX: &str = "/api/v0/";

/// Answers one request; never fails, since every failure has an answer.
pub(crate) async fn answer(
    store: Arc<Store>,
    limits: Limits,
    parts: http::request::Parts,
    body: Body,
) -> Answer {
    let Some(command) = parts.uri.path().strip_prefix(PREFIX) else {
        return Answer::text(StatusCode::NOT_FOUND, "404 page not found");
    };
    let command = command.trim_end_matches('/').to_owned();
    if !COMMANDS.contains(&command.as_str()) {
        return Answer::text(StatusCode::NOT_FOUND, "404 page not found");
    }
    if parts.method != Method::POST {
        return Answer::method_not_allowed();
    }
    // A web page can make a browser post here; only a browser says where the page comes from.
    if parts.headers.contains_key(header::ORIGIN) {
        return Answer::text(StatusCode::FORBIDDEN, "403 - Forbidden");
    }
    let request = Request::new(store, limits, &parts, body);
    match dispatch(&command, request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(command, %error, "command failed");
            Answer::error(&error)
        }
    }
}

const COMMANDS: [&str; 15] = [
    "add",
    "block/get",
    "block/put",
    "block/rm",
    "block/stat",
    "cat",
    "dag/export",
    "dag/import",
    "id",
    "pin/add",
    "pin/ls",
    "pin/rm",
    "repo/gc",
    "repo/stat",
    "version",
];

async fn dispatch(command: &str, request: Request) -> Result<Answer, RpcError> {
    match command {
        "add" => add::add(request).await,
        "block/get" => block::get(request).await,
        "block/put" => block::put(request).await,
        "block/rm" => block::remove(request).await,
        "block/stat" => block::stat(request).await,
        "cat" => dag::cat(request).await,
        "dag/export" => dag::export(request).await,
        "dag/import" => dag::import(request).await,
        "id" => node::id(&request),
        "pin/add" => pin::add(request).await,
        "pin/ls" => pin::list(request).await,
        "pin/rm" => pin::remove(request).await,
        "repo/gc" => node::collect_garbage(request).await,
        "repo/stat" => node::stat(request).await,
        "version" => node::version(),
        _ => Err(RpcError::UnknownCommand),
    }
}

/// Runs blocking work on tokio's threads for it and waits; a panic there goes on here.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, RpcError>
where
    T: Send + 'static,
    E: Into<RpcError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(RpcError::ShuttingDown),
        },
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PathError> for RpcError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<FolderError> for RpcError {
    fn from(error: FolderError) -> Self {
        Self::Folder(error)
    }
}
