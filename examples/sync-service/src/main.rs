//! A sync service: shapes of PostgreSQL tables over Electric's HTTP API. Its metadata is that of shape-meta.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use clap::Parser;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use shape_meta::{
    DirectoryCleaner, MetricsObserver, PoolOptions, PostgresPool, Reporter,
    admission::{Admission, AdmissionLimits, Drain, DrainRate, RetryAfter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

mod apply;
mod definition;
mod error;
mod filter;
mod http;
mod live;
mod log;
mod metadata;
mod options;
mod postgres;
mod replication;
mod snapshot;
mod tables;

use apply::Applier;
use http::Service;
use live::Live;
use metadata::{Database, Metadata, MetadataOptions};
use options::Options;
use replication::{Checkpoints, PositionFile, Stream};
use snapshot::Snapshots;
use tables::Tables;

/// The inputs of the applier that wait for it. A full queue slows the replication stream down.
const INPUTS: usize = 1_000;
/// How long a close waits for requests, and then for the metadata.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

type BoxResult<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> BoxResult {
    tracing_subscriber::fmt().with_env_filter(filter_of_log()).with_writer(std::io::stderr).init();
    let options = Arc::new(Options::parse());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(64).build()?;
    runtime.block_on(run(options))
}

fn filter_of_log() -> tracing_subscriber::EnvFilter {
    let default = |_| "info,pgwire_replication=off".into();
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(default)
}

async fn run(options: Arc<Options>) -> BoxResult {
    let exporter = exporter()?;
    let logs = options.data.join("logs");
    fs::create_dir_all(&logs)?;
    let live = Arc::new(Live::default());
    let _lock;
    let database = match &options.metadata {
        Some(connection) => {
            _lock = lock(&options.data.join("lock"))?;
            let pool = PoolOptions::parse(connection)?.lease(Duration::from_secs(options.lease));
            Database::Stack(
                PostgresPool::new(pool.address(options.listen.to_string()))?,
                options.slot.clone(),
            )
        }
        None => Database::Directory(options.data.join("metadata")),
    };
    let metadata = Metadata::open(MetadataOptions {
        database,
        logs: DirectoryCleaner::new(logs)?,
        is_buffered: !options.direct,
        max_shapes: options.max_shapes,
        min_age: Duration::from_secs(options.min_age),
    })?;
    let pool = Arc::new(postgres::Pool::new(&options.postgres, options.connections));
    let tables = Arc::new(Tables::new(Arc::clone(&pool), options.publication.clone()));
    let (input, inputs) = mpsc::channel(INPUTS);
    let (slot, has_slot) = watch::channel(None);
    let (close, closing) = watch::channel(false);
    let applied = Arc::new(AtomicU64::new(0));
    let snapshots = Arc::new(Snapshots {
        pool: Arc::clone(&pool),
        tables: Arc::clone(&tables),
        metadata: metadata.clone(),
        live: Arc::clone(&live),
        slot: has_slot,
        input: input.clone(),
    });
    let drain = metadata.clone();
    let drain = move || drain.owner().map_or(Drain::default(), |store| store.downgrade().drain());
    let retry_after = RetryAfter::default().drain(drain);
    let listener = TcpListener::bind(options.listen).await?;
    tracing::info!(address = %listener.local_addr()?, owner = metadata.is_owner(), "listening");
    let service = Arc::new(Service {
        options: Arc::clone(&options),
        metadata: metadata.clone(),
        live: Arc::clone(&live),
        tables,
        snapshots,
        applied: Arc::clone(&applied),
        closing,
        admission: Admission::with_retry_after(AdmissionLimits::from_env()?.unwrap_or_default(), retry_after),
        reporter: Reporter::default(),
        exporter,
    });
    let serving = tokio::spawn(http::serve(Arc::clone(&service), listener));

    let mut end = Box::pin(end_signal()?);
    tokio::select! {
        () = &mut end => return Ok(()),
        owned = metadata.owned() => owned?,
    }
    report(&service);
    let positions = Arc::new(PositionFile(options.data.join("position.json")));
    let (durable, is_durable) = watch::channel(None);
    let applier = Applier {
        metadata: metadata.clone(),
        live,
        max_log_bytes: options.max_log_bytes,
        applied,
        state: Default::default(),
    };
    let applying =
        std::thread::Builder::new().name("applier".to_owned()).spawn(move || applier.run(inputs))?;
    let evicting = metadata.evict()?;
    let stream = Stream {
        options,
        pool,
        positions: Arc::clone(&positions),
        metadata: metadata.clone(),
        input: input.clone(),
        slot,
        durable: is_durable,
    };
    let streaming = tokio::spawn(stream.run());
    let checkpoints =
        Checkpoints { positions, metadata: metadata.clone(), input, durable, unsynced: Default::default() };
    let (end_checkpoints, ends) = oneshot::channel();
    let mut checkpointing = tokio::spawn(checkpoints.run(ends));

    tokio::select! {
        () = end => tracing::info!("closing"),
        _ = tokio::task::spawn_blocking(move || applying.join()) => tracing::error!("the applier has ended"),
        _ = &mut checkpointing => tracing::error!("another node has taken the shapes over"),
    }
    close.send_replace(true);
    if tokio::time::timeout(CLOSE_TIMEOUT, serving).await.is_err() {
        tracing::warn!("requests were in progress at the end");
    }
    tokio::task::spawn_blocking(move || drop(evicting)).await?;
    // After the last checkpoint the slot knows what is durable, so the next start repeats little.
    let _ = end_checkpoints.send(());
    if !checkpointing.is_finished() {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, checkpointing).await;
    }
    streaming.abort();
    metadata.close(CLOSE_TIMEOUT).await;
    Ok(())
}

/// Locks the directory of a node: the logs in it are those of one process.
fn lock(path: &Path) -> BoxResult<fs::File> {
    let file = fs::File::create(path)?;
    file.try_lock()
        .map_err(|error| format!("{}: {error}; each node needs a directory of its own", path.display()))?;
    Ok(file)
}

/// Returns at the first signal to end.
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn exporter() -> BoxResult<PrometheusHandle> {
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, bounds) in MetricsObserver::histograms() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.into()), bounds)?;
    }
    let exporter = exporter.install_recorder()?;
    Admission::describe_metrics();
    Ok(exporter)
}

fn report(service: &Service) {
    if let Some(store) = service.metadata.owner() {
        let weak = store.downgrade();
        service.reporter.watch(service.metadata.observer(), move || weak.upgrade());
    }
}
