//! A request for a shape: which handle serves a definition, and whether a handle is still valid.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use shape_meta::{
    Check, Error, ErrorKind, Keyed, MutateError, NotReached, Shape, ShapeCleaner, TableName, Timestamp,
    prelude::*,
};

use crate::tenants::Tenant;

/// How long a request waits for the snapshot of its shape to start.
const SNAPSHOT: Duration = Duration::from_secs(20);

/// The query of a request: the definition, and the handle that the client has, if any.
#[derive(Deserialize)]
pub struct ShapeQuery {
    table: String,
    #[serde(default)]
    filter: String,
    handle: Option<String>,
}

/// An answer that is no shape: a status, a code for programs and a text for people.
pub struct Failure(pub StatusCode, pub &'static str, pub String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let mut response = (status, Json(json!({ "code": code, "message": message }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<MutateError> for Failure {
    fn from(error: MutateError) -> Self {
        match error.is_retryable() {
            true => Self(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string()),
            false => Self(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        MutateError::from(error).into()
    }
}

/// Answers a request: 200 with the handle of the definition, or 409 with it if the client's handle is not
/// that of the definition any more.
pub async fn serve(tenant: &Arc<Tenant>, query: ShapeQuery) -> Result<Response, Failure> {
    // Computes the key and the hash, once.
    let (shape, held) = (shape(&query.table, &query.filter).keyed(), query.handle);
    let answer = |status, handle: &str| {
        (status, Json(json!({ "handle": handle, "table": query.table, "filter": query.filter })))
            .into_response()
    };
    // Memory, with a cache: no future is needed.
    if let Some(handle) = &held
        && let Check::Live(_) = tenant.reads().check_and_touch(handle, &shape, Timestamp::now())?
    {
        return Ok(answer(StatusCode::OK, handle));
    }
    let store = tenant.store().ok_or_else(|| {
        Failure(StatusCode::SERVICE_UNAVAILABLE, "standby", "the old process has not ended yet".to_owned())
    })?;
    let handle = current(tenant, &store, &shape).await?;
    Ok(answer(if held.is_some() { StatusCode::CONFLICT } else { StatusCode::OK }, &handle))
}

/// Returns the handle of the live shape with this definition, or of a new one, once its snapshot has started.
async fn current(tenant: &Arc<Tenant>, store: &ShapeMeta, shape: &Keyed<Shape>) -> Result<Handle, Failure> {
    let new = NewShape::of(Handle::generate(shape.definition_hash()), shape);
    let made = store.get_or_add_async(&new).await?;
    if made.added {
        tenant.spawn(snapshot(Arc::clone(tenant), store.clone(), made.handle.clone(), new.definition));
    }
    store.touch_now(&made.handle)?;
    let started = store.wait_for(&made.handle, SnapshotState::Started);
    match tokio::time::timeout(SNAPSHOT, started).await.unwrap_or(Err(NotReached::TimedOut)) {
        Ok(()) => Ok(made.handle),
        Err(error) => Err(Failure(StatusCode::SERVICE_UNAVAILABLE, "snapshot", error.to_string())),
    }
}

/// Makes the snapshot of a new shape.
async fn snapshot(tenant: Arc<Tenant>, store: ShapeMeta, handle: Handle, definition: Arc<[u8]>) {
    let (storage, of) = (tenant.storage.clone(), handle.clone());
    let made = async {
        store.mark_snapshot_started_async(&handle).await?;
        // An engine would query the source here.
        let written = store.run_blocking(move |_| storage.write_snapshot(&of, &definition)).await?;
        written.map_err(|error| Error::new(ErrorKind::Io, "no snapshot was written").with_source(error))?;
        store.mark_snapshot_complete_async(&handle).await
    };
    let made: Result<_, MutateError> = made.await;
    if let Err(error) = made {
        // Failed, or evicted meanwhile, and then the cleaner may have come before the data.
        eprintln!("{handle}: {error}");
        let _ = store.remove_async(&handle).await;
        let (storage, of) = (tenant.storage.clone(), handle.clone());
        let _ = store.run_blocking(move |_| storage.0.clean(&[of])).await;
    }
}

fn shape(table: &str, filter: &str) -> Shape {
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    // An engine would look up the OID of the table.
    let relation = Relation::new(16_384 + name.bytes().map(u32::from).sum::<u32>());
    let shape = Shape::new(TableName::new(schema, name), relation);
    if filter.is_empty() { shape } else { shape.filter(filter) }
}
