use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit};

use super::buckets::{SIZE_BUCKETS, TIME_BUCKETS};

/// A metric: its name, and what an exporter tells about it.
pub(super) struct Metric {
    name: &'static str,
    kind: Kind,
    /// As OpenTelemetry writes it: seconds (`s`), bytes (`By`), or what is counted, in braces.
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

        /// All of them.
        const ALL: &[Metric] = &[$($constant),*];
    };
}

// The table in metrics.md has the same texts; a test compares them with what is emitted.
metrics! {
    WAIT: Histogram, "s", "db.client.connection.wait_time",
        "How long an operation waited for a connection, also when it did not have to";
    USE: Histogram, "s", "db.client.connection.use_time",
        "How long an operation had its connection";
    TIMEOUTS: Counter, "{timeout}", "db.client.connection.timeouts",
        "Operations that gave up waiting for a connection";
    CONNECTIONS: Gauge, "{connection}", "db.client.connection.count",
        "Connections that are open, used or idle";
    CONNECTIONS_MAX: Gauge, "{connection}", "db.client.connection.max",
        "How many connections there can be";
    CONNECTIONS_WAITED_FOR: Gauge, "{request}", "db.client.connection.pending_requests",
        "Operations that wait for a connection";
    OPERATION: Histogram, "s", "db.client.operation.duration",
        "How long an operation took, failed or not, the wait for its connection included";
    ACKNOWLEDGE: Histogram, "s", "shape_meta.acknowledge.duration",
        "How long a mutation took until it was acknowledged, the wait for room included";
    AWAITED: Histogram, "s", "shape_meta.durability.wait",
        "How long callers waited for something to be on disk";
    ACTIVITY: Histogram, "s", "shape_meta.activity.duration",
        "How long opening, recovery, cleaning, refreshing, promotion, saving last-read times or closing took";
    FLUSH_DURATION: Histogram, "s", "shape_meta.flush.duration",
        "How long committing and publishing a flush took";
    FLUSH_CHANGES: Histogram, "{change}", "shape_meta.flush.changes",
        "Changes in a flush";
    FLUSH_BYTES: Histogram, "By", "shape_meta.flush.bytes",
        "Memory that the changes of a flush took";
    FLUSH_AGE: Histogram, "s", "shape_meta.flush.oldest_age",
        "How old the oldest change of a flush was when it was committed";
    RETRIES: Counter, "{flush}", "shape_meta.flush.retries",
        "Flushes that failed and are tried again";
    FLUSHED: Counter, "{mutation}", "shape_meta.mutations.flushed",
        "Mutations that a flush has made durable";
    COALESCED: Counter, "{mutation}", "shape_meta.mutations.coalesced",
        "Mutations that cost the disk nothing, because others in the same flush undid or included them";
    REFUSED: Counter, "{mutation}", "shape_meta.mutations.refused",
        "Mutations that were refused, for what they ask or for want of room (overloaded)";
    FAILED: Counter, "{mutation}", "shape_meta.mutations.failed",
        "Mutations that were not accepted because the store failed, is stopped or is closed";
    REJECTED: Counter, "{change}", "shape_meta.changes.rejected",
        "Changes that the store refused for good and that were taken out";
    STOPS: Counter, "{stop}", "shape_meta.stops",
        "How often writing has stopped for good: because of damage, or because another owner took over (fenced)";
    PUBLISH: Histogram, "s", "shape_meta.publish.duration",
        "How long the cache took to update its map and to wait for readers";
    RECOVERED: Counter, "{shape}", "shape_meta.recovery.removed",
        "Shapes that were removed at open because their snapshot was not complete";
    QUARANTINES: Counter, "{database}", "shape_meta.quarantines",
        "Damaged databases that were moved aside";
    UNSAVED: Counter, "{shape}", "shape_meta.repair.lost",
        "Shapes that could not be saved from a damaged database";
    PENDING_SHAPES: Gauge, "{shape}", "shape_meta.pending.shapes",
        "Shapes with changes that are not on disk yet: what the bound counts";
    PENDING_MUTATIONS: Gauge, "{mutation}", "shape_meta.pending.mutations",
        "Mutations that are not on disk yet";
    PENDING_BYTES: Gauge, "By", "shape_meta.pending.bytes",
        "Memory that pending changes take";
    PENDING_AGE: Gauge, "s", "shape_meta.pending.oldest_age",
        "Age of the oldest pending change: what a crash of the process would lose now, at most";
    DRAIN_RATE: Gauge, "{change}/s", "shape_meta.drain_rate",
        "Measured rate of writing in changes a second; zero before the first flush or without a buffer";
    HEALTH: Gauge, "{store}", "shape_meta.health",
        "1 for the state that writing is in, 0 for the others";
    DEGRADED: Gauge, "s", "shape_meta.degraded.duration",
        "For how long the store is degraded; zero while it is not";
    CACHE_BYTES: Gauge, "By", "shape_meta.cache.bytes",
        "Memory that the read cache takes, about";
    SHAPES: Gauge, "{shape}", "shape_meta.shapes",
        "Live shapes";
}

/// The names of the histograms, with the bounds that fit each.
pub(super) fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    let histograms = ALL.iter().filter(|metric| matches!(metric.kind, Kind::Histogram));
    histograms.map(|metric| (metric.name, if metric.unit == "s" { TIME_BUCKETS } else { SIZE_BUCKETS }))
}

/// Tells the recorder the units and texts of all metrics.
pub(super) fn describe() {
    metrics::with_recorder(|recorder| {
        for metric in ALL {
            let (name, unit, text) = (metric.name.into(), metric.told_unit(), metric.text.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, text),
                Kind::Gauge => recorder.describe_gauge(name, unit, text),
                Kind::Histogram => recorder.describe_histogram(name, unit, text),
            }
        }
    });
}

// Looked up each time rather than kept: a handle that is kept is that of no recorder if the recorder is installed
// later, and of nothing after an exporter has dropped what was idle for long.
impl Metric {
    pub(super) fn counter(&self, labels: Vec<Label>) -> Counter {
        metrics::with_recorder(|recorder| recorder.register_counter(&self.key(labels), &METADATA))
    }

    pub(super) fn gauge(&self, labels: Vec<Label>) -> Gauge {
        metrics::with_recorder(|recorder| recorder.register_gauge(&self.key(labels), &METADATA))
    }

    pub(super) fn histogram(&self, labels: Vec<Label>) -> Histogram {
        metrics::with_recorder(|recorder| recorder.register_histogram(&self.key(labels), &METADATA))
    }

    fn key(&self, labels: Vec<Label>) -> Key {
        Key::from_parts(self.name, labels)
    }

    /// For what is counted none: the facade can only say `Count`, which OpenTelemetry takes for the unit `1`, that of
    /// ratios, and a collector then adds `_ratio` to the names of gauges.
    fn told_unit(&self) -> Option<Unit> {
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

    /// The labels, and that all of them are emitted, are another test's matter.
    #[test]
    fn the_table_in_the_docs_is_that_of_the_code() {
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
