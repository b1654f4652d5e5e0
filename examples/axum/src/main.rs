//! Starts the service, and ends it on SIGTERM. For a rolling deploy, start the new process first: it serves
//! existing shapes as a standby, and becomes the owner when the old one has ended.
//!
//! `cargo run --release -- --directory /tmp/shapes --port 8080`

use std::{error::Error, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use shape_meta::{
    EvictorThread, MetricsObserver,
    admission::{Admission, AdmissionLimits},
};
use shape_meta_example_axum::{
    routes::{Service, routes},
    tenants::Tenants,
    ticker,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};

/// A service for shape requests.
#[derive(Parser)]
struct Options {
    /// The directory of the databases (`meta/`) and of the snapshots (`data/`).
    #[arg(long)]
    directory: PathBuf,
    /// The port on the local host.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The number of tenants: `tenant-0`, `tenant-1`, ...
    #[arg(long, default_value_t = 4)]
    tenants: usize,
    /// The number of shapes that a tenant keeps.
    #[arg(long, default_value_t = 10_000)]
    max_shapes: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, bounds) in MetricsObserver::histograms() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.into()), bounds)?;
    }
    let metrics = exporter.install_recorder()?;
    Admission::describe_metrics();
    ticker::start();
    // From now on it does not end the process without a close.
    let mut terminate = signal(SignalKind::terminate())?;

    let tenants = Arc::new(Tenants::open(&options.directory, options.tenants).await?);
    let evictors = Arc::new(EvictorThread::start()?);
    let mut background = JoinSet::new();
    for tenant in tenants.by_name.values().cloned() {
        let evictors = Arc::clone(&evictors);
        background.spawn(async move { tenant.run(&evictors, options.max_shapes).await });
    }
    let service = Service { tenants: Arc::clone(&tenants), metrics };
    let router = routes(service, AdmissionLimits::from_env()?.unwrap_or_default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    println!("listening on {}", listener.local_addr()?);

    let end = Arc::new(Notify::new());
    let ending = Arc::clone(&end);
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { ending.notified().await });
    let serving = tokio::spawn(async move { serving.await });
    terminate.recv().await;
    end.notify_one();
    // Requests in progress are answered; a client that never ends is cut off.
    let _ = tokio::time::timeout(Duration::from_secs(5), serving).await;
    // A promotion that waits is stopped.
    background.shutdown().await;
    tenants.close(Duration::from_secs(10)).await;
    Ok(())
}
