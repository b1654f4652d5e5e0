use std::{io, sync::Arc};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use shape_meta::{MetricsObserver, NoopObserver, Observer, TIME_BUCKETS, TracingObserver};
use tracing::level_filters::LevelFilter;

/// Who observes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Case {
    Nobody,
    /// `TracingObserver`, and nobody listens.
    TracingOff,
    /// `TracingObserver`, and a subscriber writes all that is at this level or above, to nowhere. At `DEBUG` that is every
    /// committed change too, at `TRACE` also every use of a connection.
    Tracing(LevelFilter),
    /// `MetricsObserver`, and no recorder.
    MetricsOff,
    /// `MetricsObserver`, and the exporter of Prometheus.
    Metrics,
}

pub(crate) const CASES: [Case; 7] = [
    Case::Nobody,
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
            Self::Nobody => "nobody".to_owned(),
            Self::TracingOff => "tracing, nobody listens".to_owned(),
            Self::Tracing(level) => format!("tracing, {level}"),
            Self::MetricsOff => "metrics, no recorder".to_owned(),
            Self::Metrics => "metrics, Prometheus".to_owned(),
        }
    }
}

/// The observer of a case, and who listens to it.
pub(crate) struct Observed {
    case: Case,
    recorder: Option<PrometheusRecorder>,
}

impl Observed {
    pub(crate) fn new(case: Case) -> Self {
        let builder = PrometheusBuilder::new().set_buckets(TIME_BUCKETS).expect("there are some");
        Self { case, recorder: (case == Case::Metrics).then(|| builder.build_recorder()) }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        match self.case {
            Case::Nobody => Arc::new(NoopObserver),
            Case::TracingOff | Case::Tracing(_) => Arc::new(TracingObserver::new("main")),
            Case::MetricsOff | Case::Metrics => Arc::new(MetricsObserver::new("main")),
        }
    }

    /// Does this while those listen who do in this case, and nobody else in the process.
    pub(crate) fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        match (self.case, &self.recorder) {
            (Case::Tracing(level), _) => {
                let subscriber = tracing_subscriber::fmt()
                    .with_max_level(level)
                    .with_ansi(false)
                    .with_writer(io::sink)
                    .finish();
                let done = tracing::subscriber::with_default(subscriber, run);
                // Or what it was interested in would be asked for in the next case too.
                tracing::callsite::rebuild_interest_cache();
                done
            }
            (_, Some(recorder)) => {
                let done = metrics::with_local_recorder(recorder, run);
                // Its histograms keep every value until then.
                recorder.handle().run_upkeep();
                done
            }
            _ => run(),
        }
    }
}
