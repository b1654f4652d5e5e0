//! The bridge to OpenTelemetry of the docs: every metric of the facade arrives at an exporter of the SDK.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_exporter_otel::OpenTelemetryRecorder;
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        exporter::PushMetricExporter,
    },
};
use shape_meta_telemetry::{MetricsObserver, SIZE_BUCKETS, TIME_BUCKETS};

use crate::everything::{observe_everything, record_every_gauge};

/// Kind, unit and the keys of the attributes, by name.
type Arrived = BTreeMap<String, (&'static str, String, Vec<String>)>;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Arrived>>);

fn keys<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<String> {
    let mut keys: Vec<_> = attributes.map(|attribute| attribute.key.to_string()).collect();
    keys.sort();
    keys
}

fn kind_and_keys<T>(data: &MetricData<T>) -> (&'static str, Vec<String>) {
    let first = |keys: Option<Vec<String>>| keys.expect("a point");
    match data {
        MetricData::Gauge(gauge) => {
            ("gauge", first(gauge.data_points().next().map(|of| keys(of.attributes()))))
        }
        MetricData::Sum(sum) => ("counter", first(sum.data_points().next().map(|of| keys(of.attributes())))),
        MetricData::Histogram(of) => {
            let point = of.data_points().next().expect("a point");
            let bounds: Vec<_> = point.bounds().collect();
            assert!(bounds == TIME_BUCKETS || bounds == SIZE_BUCKETS, "{bounds:?}");
            ("histogram", keys(point.attributes()))
        }
        MetricData::ExponentialHistogram(_) => panic!("no metric uses one"),
    }
}

impl PushMetricExporter for Collector {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut arrived = self.0.lock().expect("no panic");
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let (kind, keys) = match metric.data() {
                AggregatedMetrics::F64(data) => kind_and_keys(data),
                AggregatedMetrics::U64(data) => kind_and_keys(data),
                AggregatedMetrics::I64(data) => kind_and_keys(data),
            };
            arrived.insert(metric.name().to_owned(), (kind, metric.unit().to_owned(), keys));
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[test]
fn every_metric_of_the_table_arrives_under_its_name() {
    let collector = Collector::default();
    let reader = PeriodicReader::builder(collector.clone()).with_interval(Duration::from_secs(3600)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let recorder = OpenTelemetryRecorder::new(provider.meter("shape-meta"));
    for (name, bounds) in MetricsObserver::histograms() {
        recorder.set_histogram_bounds(&name.into(), bounds.to_vec());
    }
    metrics::with_local_recorder(&recorder, || {
        let observer = MetricsObserver::named("main");
        observe_everything(&observer);
        record_every_gauge(observer);
    });
    provider.force_flush().expect("it is exported");

    let arrived = collector.0.lock().expect("no panic");
    let table = include_str!("../../src/metrics.md").lines().filter(|line| line.starts_with("| `"));
    for row in table {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (name, kind, unit) = (cells[0].trim_matches('`'), cells[1], cells[2].trim_matches('`'));
        let (found, exported_unit, keys) =
            arrived.get(name).unwrap_or_else(|| panic!("{name} did not arrive"));
        assert_eq!(*found, kind, "{name}");
        // The facade has no units for counted things; a unit of 1 would turn the gauges into ratios.
        assert_eq!(exported_unit, if unit.contains('{') { "" } else { unit }, "{name}");
        assert!(keys.iter().any(|key| key == "stack"), "{name}: {keys:?}");
    }
    let (_, _, keys) = &arrived["db.client.operation.duration"];
    assert!(keys.iter().any(|key| key == "db.operation.name"), "{keys:?}");
}
