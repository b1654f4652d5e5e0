use metrics::{Gauge, Histogram, Key, Label, Level, Metadata, Unit};

use super::buckets::{SIZE_BUCKETS, TIME_BUCKETS};

/// A metric: its name and its description for exporters.
pub(super) struct Metric {
    name: &'static str,
    kind: Kind,
    /// In the notation of OpenTelemetry: seconds (`s`), bytes (`By`), or the counted thing in braces.
    unit: &'static str,
    text: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

static METADATA: Metadata<'_> = Metadata::new("shape_meta", Level::INFO, Some(module_path!()));

macro_rules! metrics {
    ($($constant:ident: $kind:ident, $unit:literal, $name:literal, $text:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, unit: $unit, text: $text };)*

        /// All metrics.
        const ALL: &[Metric] = &[$($constant),*];
    };
}

// The table in metrics.md has the same texts. A test compares them.
metrics! {
    WAIT: Histogram, "s", "db.client.connection.wait_time",
        "Time to obtain a connection from the pool";
    USE: Histogram, "s", "db.client.connection.use_time",
        "Time between taking a connection and returning it";
    TIMEOUTS: Counter, "{timeout}", "db.client.connection.timeouts",
        "Operations that timed out while waiting for a connection";
    CONNECTIONS: Gauge, "{connection}", "db.client.connection.count",
        "Open connections, used or idle";
    CONNECTIONS_MAX: Gauge, "{connection}", "db.client.connection.max",
        "Maximum number of open connections";
    PENDING_REQUESTS: Gauge, "{request}", "db.client.connection.pending_requests",
        "Operations that wait for a connection";
    OPERATION: Histogram, "s", "db.client.operation.duration",
        "Duration of an operation, successful or failed, including the wait for its connection";
    ACKNOWLEDGE: Histogram, "s", "shape_meta.acknowledge.duration",
        "Time from the call of a mutation to its acknowledgement, including the wait under backpressure";
    DURABILITY_WAIT: Histogram, "s", "shape_meta.durability.wait",
        "Time that callers waited for durability";
    ACTIVITY: Histogram, "s", "shape_meta.activity.duration",
        "Duration of open, recovery, cleaning, refresh, promotion, saving last-read times, and close";
    FLUSH_DURATION: Histogram, "s", "shape_meta.flush.duration",
        "Duration of the commit of a flush";
    FLUSH_CHANGES: Histogram, "{change}", "shape_meta.flush.changes",
        "Changes in a flush";
    FLUSH_BYTES: Histogram, "By", "shape_meta.flush.bytes",
        "Memory of the changes in a flush";
    FLUSH_AGE: Histogram, "s", "shape_meta.flush.oldest_age",
        "Age of the oldest change in a flush when it was committed";
    RETRIES: Counter, "{flush}", "shape_meta.flush.retries",
        "Failed flushes that are retried";
    FLUSHED: Counter, "{mutation}", "shape_meta.mutations.flushed",
        "Mutations that a flush has made durable";
    COALESCED: Counter, "{mutation}", "shape_meta.mutations.coalesced",
        "Mutations that caused no disk write, because others in the same flush undid or included them";
    REFUSED: Counter, "{mutation}", "shape_meta.mutations.refused",
        "Mutations that were refused, because they are invalid or because of backpressure (overloaded)";
    FAILED: Counter, "{mutation}", "shape_meta.mutations.failed",
        "Mutations that were not accepted because the store failed, is stopped or is closed";
    REJECTED: Counter, "{change}", "shape_meta.changes.rejected",
        "Changes that the store rejected permanently";
    STOPS: Counter, "{stop}", "shape_meta.stops",
        "How often writing stopped permanently, because of damage or because it was fenced";
    PUBLISH: Histogram, "s", "shape_meta.publish.duration",
        "Duration of a publish of the cache, including the wait for readers";
    RECOVERED: Counter, "{shape}", "shape_meta.recovery.removed",
        "Shapes that were removed at open because their snapshot was not complete";
    QUARANTINES: Counter, "{database}", "shape_meta.quarantines",
        "Damaged databases that were moved aside";
    REPAIR_LOST: Counter, "{shape}", "shape_meta.repair.lost",
        "Shapes that could not be salvaged from a damaged database";
    CLEANUP_FAILURES: Counter, "{attempt}", "shape_meta.cleanup.failures",
        "Failed attempts of the cleaner, or of the search for orphans; each is tried again";
    ORPHANS: Counter, "{shape}", "shape_meta.orphans.found",
        "Shapes whose stored data was found without metadata";
    EVICTED: Counter, "{shape}", "shape_meta.evictions",
        "Shapes that the evictor removed";
    EVICTION_SPARED: Counter, "{shape}", "shape_meta.evictions.spared",
        "Shapes that the evictor had chosen, and that were read or removed before it came to them";
    EVICTION_SHORT: Counter, "{step}", "shape_meta.evictions.short",
        "Steps of the evictor that failed, or ended above its limit because the shapes are in use";
    EVICTION_DURATION: Histogram, "s", "shape_meta.evictions.duration",
        "Duration of a step of the evictor that did something";
    EVICTION_UNREAD: Histogram, "s", "shape_meta.evictions.unread",
        "How long the last shape that a step removed had not been read; if it is short, shapes in use are evicted";
    PENDING_SHAPES: Gauge, "{shape}", "shape_meta.pending.shapes",
        "Shapes with changes that are not durable yet; the limit on pending shapes applies to it";
    PENDING_MUTATIONS: Gauge, "{mutation}", "shape_meta.pending.mutations",
        "Mutations that are not durable yet";
    PENDING_BYTES: Gauge, "By", "shape_meta.pending.bytes",
        "Memory of pending changes";
    PENDING_AGE: Gauge, "s", "shape_meta.pending.oldest_age",
        "Age of the oldest pending change: the durability window";
    DRAIN_RATE: Gauge, "{change}/s", "shape_meta.drain_rate",
        "Measured write rate in changes per second; zero before the first flush or without a buffer";
    HEALTH: Gauge, "{store}", "shape_meta.health",
        "Stores in this state of writing";
    DEGRADED: Gauge, "s", "shape_meta.degraded.duration",
        "Time since the store became degraded; zero while it is not degraded";
    STALENESS: Gauge, "s", "shape_meta.standby.staleness",
        "Time since a refresh of a standby began that showed everything committed; zero after a promotion";
    CACHE_BYTES: Gauge, "By", "shape_meta.cache.bytes",
        "Estimated memory of the read cache";
    SHAPES: Gauge, "{shape}", "shape_meta.shapes",
        "Live shapes";
    DATABASE_BYTES: Gauge, "By", "shape_meta.database.bytes",
        "Size of the database file after the latest commit";
    WAL_BYTES: Gauge, "By", "shape_meta.wal.bytes",
        "Size of the WAL after the latest commit; zero while the database has none";
    CLEANUP_TASKS: Gauge, "{shape}", "shape_meta.cleanup.tasks",
        "Removed shapes whose stored data is not deleted yet";
    WAITING_ORPHANS: Gauge, "{shape}", "shape_meta.orphans.waiting",
        "Shapes whose stored data was found without metadata, and waits for a confirmation";
}

/// Returns the names of the histograms with the bucket bounds of each.
pub(super) fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    let histograms = ALL.iter().filter(|metric| matches!(metric.kind, Kind::Histogram));
    histograms.map(|metric| (metric.name, if metric.unit == "s" { TIME_BUCKETS } else { SIZE_BUCKETS }))
}

/// Describes all metrics to the current recorder.
pub(super) fn describe() {
    metrics::with_recorder(|recorder| {
        for metric in ALL {
            let (name, unit, text) = (metric.name.into(), metric.facade_unit(), metric.text.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, text),
                Kind::Gauge => recorder.describe_gauge(name, unit, text),
                Kind::Histogram => recorder.describe_histogram(name, unit, text),
            }
        }
    });
}

/// Increments the counter of this key.
pub(super) fn increment(key: &Key, by: u64) {
    metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA)).increment(by);
}

// Handles are looked up for each record and not stored. A stored handle would belong to no recorder if the
// recorder is installed later, and would be stale after an exporter has dropped an idle metric.
impl Metric {
    pub(super) fn gauge(&self, labels: Vec<Label>) -> Gauge {
        metrics::with_recorder(|recorder| recorder.register_gauge(&self.key(labels), &METADATA))
    }

    pub(super) fn histogram(&self, labels: Vec<Label>) -> Histogram {
        metrics::with_recorder(|recorder| recorder.register_histogram(&self.key(labels), &METADATA))
    }

    pub(super) fn key(&self, labels: Vec<Label>) -> Key {
        Key::from_parts(self.name, labels)
    }

    /// Returns the unit for the facade; `None` for counted things. The facade only has `Count`, which
    /// OpenTelemetry maps to the unit `1` of ratios, and a collector then adds `_ratio` to the names of
    /// gauges.
    fn facade_unit(&self) -> Option<Unit> {
        match self.unit {
            "s" => Some(Unit::Seconds),
            "By" => Some(Unit::Bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels and emission are tested in tests/main/metering.rs.
    #[test]
    fn the_table_in_the_docs_equals_the_code() {
        let rows = include_str!("../metrics.md").lines().filter(|line| line.starts_with("| `"));
        let documented: Vec<_> = rows
            .map(|row| {
                let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
                let [name, kind, unit, _, text] = cells[..] else { panic!("not five cells: {row}") };
                format!("{name} {kind} {unit} {text}")
            })
            .collect();
        let defined: Vec<_> = ALL
            .iter()
            .map(|Metric { name, kind, unit, text }| {
                let kind = match kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                format!("`{name}` {kind} `{unit}` {text}")
            })
            .collect();
        assert_eq!(documented, defined);
    }
}
