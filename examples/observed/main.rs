//! A store with metrics for Prometheus at `/metrics` and health at `/health`. Its load alternates between
//! quiet parts, storms, and a locked database, so that the metrics change.
//!
//! `cargo run --release -p shape-meta-example-observed --example observed -- --seconds 300`, and then
//! `prometheus --config.file docs/prometheus/prometheus.yml`.

#![forbid(unsafe_code)]

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use clap::Parser;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use shape_meta::{
    BufferOptions, CacheOptions, MetricsObserver, NoopCleaner, Reporter, SqliteOptions,
    admission::{Admission, AdmissionLimits, RetryAfter},
    prelude::*,
};

mod load;
mod serve;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Serves the metrics of a store under a changing load.
#[derive(Parser, Debug)]
#[command(name = "observed")]
struct Options {
    /// The port on the local host.
    #[arg(long, default_value_t = 9464)]
    port: u16,

    /// The duration of the run.
    #[arg(long, default_value_t = 300)]
    seconds: u64,

    /// The duration of one part: quiet, storm, or a locked database.
    #[arg(long, default_value_t = 30)]
    part: u64,
}

fn main() -> Result {
    let options = Options::parse();
    // The metric names that an OpenTelemetry collector would export, and histograms that can be aggregated.
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, bounds) in MetricsObserver::histograms() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.into()), bounds)?;
    }
    let exporter = exporter.install_recorder()?;
    Admission::describe_metrics();

    let directory = tempfile::tempdir()?;
    let (store, observer) = open(directory.path())?;
    let admission = admission(&store);
    let reporter = Reporter::default();
    let weak = store.downgrade();
    reporter.watch(observer, move || weak.upgrade());
    let limiter = admission.clone();
    reporter.add(move || {
        limiter.record_metrics("main");
        true
    });

    serve::start(options.port, reporter, exporter, store.downgrade())?;
    println!("http://127.0.0.1:{}/metrics and /health, for {} s", options.port, options.seconds);
    load::play(&store, &admission, directory.path(), &options)?;
    let report = store.close(Duration::from_secs(10));
    println!("{report:?}");
    Ok(())
}

fn open(directory: &Path) -> Result<(ShapeMeta, MetricsObserver)> {
    let observer = MetricsObserver::new();
    let store = ShapeMeta::builder(NoopCleaner)
        .observer(Arc::new(observer.clone()))
        .sqlite(SqliteOptions::default().busy_timeout(Duration::from_millis(250)))
        .cached(CacheOptions::default())
        // A small bound, so that a storm reaches it.
        .buffered(BufferOptions::default().max_pending_shapes(20_000))
        .open(directory)?;
    Ok((store, observer))
}

fn admission(store: &ShapeMeta) -> Admission {
    let limits = AdmissionLimits { initial: 48, existing: 1_000 };
    Admission::with_retry_after(limits, RetryAfter::default().drain(store.downgrade()))
}
