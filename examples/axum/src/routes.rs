//! The routes: shapes behind the layer that sheds load, metrics and probes.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{Request, StatusCode},
    response::Response,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use shape_meta::{
    ReadShapes, ShapeMeta, StoreControl,
    admission::{Admission, AdmissionLayer, AdmissionLimits, Kind},
};

use crate::{
    requests::{Failure, ShapeQuery, serve},
    tenants::Tenants,
    ticker::{EXECUTOR_STALL, THREAD_STALL},
};

#[derive(Clone)]
pub struct Service {
    pub tenants: Arc<Tenants>,
    pub metrics: PrometheusHandle,
}

impl Service {
    /// Whether each store that is open passes. A standby counts as `standby`.
    fn all(&self, standby: bool, passes: impl Fn(&ShapeMeta) -> bool) -> StatusCode {
        let pass = |store: Option<ShapeMeta>| store.map_or(standby, |store| passes(&store));
        match self.tenants.by_name.values().all(|tenant| pass(tenant.store())) {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Returns the routes of the service.
pub fn routes(service: Service, limits: AdmissionLimits) -> Router {
    let admission = Admission::new(limits);
    let limiter = admission.clone();
    service.tenants.reporter.add(move || {
        limiter.record_metrics("service");
        true
    });
    // A refusal is 503 with Retry-After and a JSON body.
    let shed = AdmissionLayer::new(admission, |request: &Request<_>| {
        let has_handle = request.uri().query().is_some_and(|query| query.contains("handle="));
        Some(if has_handle { Kind::Existing } else { Kind::Initial })
    });
    let live =
        |State(service): State<Service>| async move { service.all(true, |store| store.health().is_live()) };
    let ready =
        |State(service): State<Service>| async move { service.all(false, |store| store.health().is_ready()) };
    Router::new()
        .route("/v1/shape/{tenant}", get(shape))
        .layer(shed)
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .with_state(service)
}

async fn shape(
    State(service): State<Service>,
    Path(tenant): Path<String>,
    Query(query): Query<ShapeQuery>,
) -> Result<Response, Failure> {
    match service.tenants.by_name.get(&tenant) {
        Some(tenant) => serve(tenant, query).await,
        None => Err(Failure(StatusCode::NOT_FOUND, "unknown_tenant", tenant)),
    }
}

async fn metrics(State(service): State<Service>) -> String {
    service.tenants.reporter.record();
    service.metrics.render()
}

/// What the test waits for.
async fn status(State(service): State<Service>) -> Json<Value> {
    let stores = service.tenants.by_name.values().filter_map(|tenant| tenant.store()).map(|store| {
        let cleanup = store.cleanup_status();
        let shapes = store.counts().ok().map(|counts| counts.total);
        json!({ "shapes": shapes, "cleanup_tasks": cleanup.tasks, "swept": cleanup.sweep.is_some() })
    });
    Json(json!({
        "stores": stores.collect::<Vec<_>>(),
        "executor_stall_us": EXECUTOR_STALL.load(Ordering::Relaxed),
        "thread_stall_us": THREAD_STALL.load(Ordering::Relaxed),
    }))
}
