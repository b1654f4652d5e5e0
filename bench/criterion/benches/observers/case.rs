use std::{io, sync::Arc};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use shape_meta::{MetricsObserver, NoopObserver, Observer, TIME_BUCKETS, TracingObserver};
use tracing::level_filters::LevelFilter;

/// A kind of observer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Case {
    Unobserved,
    /// `TracingObserver` without a subscriber.
    TracingOff,
    /// `TracingObserver` with a subscriber for this level, which discards its output. `DEBUG` includes every
    /// committed change, and `TRACE` every use of a connection.
    Tracing(LevelFilter),
    /// `MetricsObserver` without a recorder.
    MetricsOff,
    /// `MetricsObserver` with the exporter of Prometheus.
    Metrics,
}

pub(crate) const CASES: [Case; 7] = [
    Case::Unobserved,
    Case::TracingOff,
    Case::Tracing(LevelFilter::INFO),
    Case::Tracing(LevelFilter::DEBUG),
    Case::Tracing(LevelFilter::TRACE),
    Case::MetricsOff,
    Case::Metrics,
];

impl Case {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Unobserved => "no observer".to_owned(),
            Self::TracingOff => "tracing, no subscriber".to_owned(),
            Self::Tracing(level) => format!("tracing, {level}"),
            Self::MetricsOff => "metrics, no recorder".to_owned(),
            Self::Metrics => "metrics, Prometheus".to_owned(),
        }
    }
}

/// The observer of a case, with its subscriber or recorder.
pub(crate) struct Instrumentation {
    case: Case,
    recorder: Option<PrometheusRecorder>,
}

impl Instrumentation {
    pub(crate) fn new(case: Case) -> Self {
        let builder = PrometheusBuilder::new().set_buckets(TIME_BUCKETS).expect("there are some");
        Self { case, recorder: (case == Case::Metrics).then(|| builder.build_recorder()) }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        match self.case {
            Case::Unobserved => Arc::new(NoopObserver),
            Case::TracingOff | Case::Tracing(_) => Arc::new(TracingObserver::new("main")),
            Case::MetricsOff | Case::Metrics => Arc::new(MetricsObserver::named("main")),
        }
    }

    /// Runs `run` with the subscriber or recorder of this case, and no other.
    pub(crate) fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        match (self.case, &self.recorder) {
            (Case::Tracing(level), _) => {
                let subscriber = tracing_subscriber::fmt()
                    .with_max_level(level)
                    .with_ansi(false)
                    .with_writer(io::sink)
                    .finish();
                let done = tracing::subscriber::with_default(subscriber, run);
                // Otherwise the interest of this subscriber would stay cached in the next case.
                tracing::callsite::rebuild_interest_cache();
                done
            }
            (_, Some(recorder)) => {
                let done = metrics::with_local_recorder(recorder, run);
                // The histograms keep every value until the upkeep.
                recorder.handle().run_upkeep();
                done
            }
            _ => run(),
        }
    }
}
