use std::sync::{Arc, atomic::AtomicU64};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing,
};
use metrics_exporter_prometheus::PrometheusHandle;
use shape_meta::{Reporter, admission::Admission};
use tokio::{net::TcpListener, sync::watch};
use tower_http::services::ServeDir;

use super::{respond, shape};
use crate::{live::Live, metadata::Metadata, options::Options, snapshot::Snapshots, tables::Tables};

/// What all requests share.
pub(crate) struct Service {
    pub(crate) options: Arc<Options>,
    pub(crate) metadata: Metadata,
    pub(crate) live: Arc<Live>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) snapshots: Arc<Snapshots>,
    /// Every transaction up to here is in the logs.
    pub(crate) applied: Arc<AtomicU64>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) admission: Admission,
    pub(crate) reporter: Reporter,
    pub(crate) exporter: PrometheusHandle,
}

/// Serves requests until the service is closing, and then those in progress.
pub(crate) async fn serve(service: Arc<Service>, listener: TcpListener) -> std::io::Result<()> {
    let mut closing = service.closing.clone();
    let mut router = Router::new()
        .route("/v1/shape", routing::get(shape::get).delete(shape::delete).options(shape::options))
        .route("/v1/health", routing::get(health))
        .route("/metrics", routing::get(metrics));
    if let Some(page) = &service.options.page {
        router = router.fallback_service(ServeDir::new(page));
    }
    let router = router.layer(middleware::from_fn(allow_origins)).with_state(service);
    let end = async move {
        // The sender lives as long as the service.
        let _ = closing.wait_for(|is_closing| *is_closing).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

/// Lets pages of other origins read the responses.
async fn allow_origins(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    respond::set(&mut response, "access-control-allow-origin", "*");
    respond::set(&mut response, "access-control-expose-headers", "*");
    response
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    let (status, text) = match service.metadata.health() {
        _ if *service.closing.borrow() => (StatusCode::SERVICE_UNAVAILABLE, "closing".to_owned()),
        None => (StatusCode::ACCEPTED, "waiting".to_owned()),
        Some(health) if !health.is_ready() => (StatusCode::SERVICE_UNAVAILABLE, health.to_string()),
        Some(_) if service.snapshots.is_possible().is_err() => (StatusCode::ACCEPTED, "starting".to_owned()),
        Some(_) => (StatusCode::OK, "active".to_owned()),
    };
    respond::json(status, serde_json::json!({ "status": text }).to_string().into_bytes())
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    service.reporter.record();
    service.exporter.run_upkeep();
    let mut response = respond::json(StatusCode::OK, service.exporter.render().into_bytes());
    respond::set(&mut response, "content-type", "text/plain; version=0.0.4");
    response
}
