use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit};

/// A metric: its name, and what an exporter tells about it.
pub(super) struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    text: &'static str,
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

static METADATA: Metadata<'_> = Metadata::new("shape_meta", Level::INFO, Some(module_path!()));

macro_rules! metrics {
    ($($constant:ident: $kind:ident, $unit:ident, $name:literal, $text:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, text: $text };)*

        /// All of them.
        const ALL: &[Metric] = &[$($constant),*];
    };
}

// The table in metrics.md has the same texts; a test compares them with what is emitted.
metrics! {
    WAIT: Histogram, Seconds, "db.client.connection.wait_time",
        "How long an operation waited for a connection, also when it did not have to";
    TIMEOUTS: Counter, Count, "db.client.connection.timeouts",
        "Operations that gave up waiting for a connection";
    CONNECTIONS: Gauge, Count, "db.client.connection.count",
        "Connections that are open, used or idle";
    CONNECTIONS_MAX: Gauge, Count, "db.client.connection.max",
        "How many connections there can be";
    OPERATION: Histogram, Seconds, "db.client.operation.duration",
        "How long an operation used its connection, failed or not";
    ACKNOWLEDGE: Histogram, Seconds, "shape_meta.acknowledge.duration",
        "How long a mutation took until it was acknowledged, the wait for room included";
    AWAITED: Histogram, Seconds, "shape_meta.durability.wait",
        "How long callers waited for something to be on disk";
    ACTIVITY: Histogram, Seconds, "shape_meta.activity.duration",
        "How long opening, recovery, cleaning or closing took";
    FLUSH_DURATION: Histogram, Seconds, "shape_meta.flush.duration",
        "How long committing and publishing a flush took";
    FLUSH_CHANGES: Histogram, Count, "shape_meta.flush.changes",
        "Changes in a flush";
    FLUSH_BYTES: Histogram, Bytes, "shape_meta.flush.bytes",
        "Memory that the changes of a flush took";
    FLUSH_AGE: Histogram, Seconds, "shape_meta.flush.oldest_age",
        "How old the oldest change of a flush was when it was committed";
    RETRIES: Counter, Count, "shape_meta.flush.retries",
        "Flushes that failed and are tried again";
    FLUSHED: Counter, Count, "shape_meta.mutations.flushed",
        "Mutations that a flush has made durable";
    COALESCED: Counter, Count, "shape_meta.mutations.coalesced",
        "Mutations that cost the disk nothing, because others in the same flush undid or included them";
    REFUSED: Counter, Count, "shape_meta.mutations.refused",
        "Mutations that were refused, for what they ask or for want of room (overloaded)";
    FAILED: Counter, Count, "shape_meta.mutations.failed",
        "Mutations that were not accepted because the store failed, is stopped or is closed";
    REJECTED: Counter, Count, "shape_meta.changes.rejected",
        "Changes that the store refused for good and that were taken out";
    STOPS: Counter, Count, "shape_meta.stops",
        "How often writing has stopped for good: because of damage, or because another owner took over (fenced)";
    PUBLISH: Histogram, Seconds, "shape_meta.publish.duration",
        "How long the cache took to update its map and to wait for readers";
    RECOVERED: Counter, Count, "shape_meta.recovery.removed",
        "Shapes that were removed at open because their snapshot was not complete";
    QUARANTINES: Counter, Count, "shape_meta.quarantines",
        "Damaged databases that were moved aside";
    UNSAVED: Counter, Count, "shape_meta.repair.lost",
        "Shapes that could not be saved from a damaged database";
    PENDING_CHANGES: Gauge, Count, "shape_meta.pending.changes",
        "Shapes with changes that are not on disk yet: what the bound counts";
    PENDING_MUTATIONS: Gauge, Count, "shape_meta.pending.mutations",
        "Mutations that are not on disk yet";
    PENDING_BYTES: Gauge, Bytes, "shape_meta.pending.bytes",
        "Memory that pending changes take";
    PENDING_AGE: Gauge, Seconds, "shape_meta.pending.oldest_age",
        "Age of the oldest pending change: what a crash of the process would lose now, at most";
    DRAIN_RATE: Gauge, Count, "shape_meta.drain_rate",
        "Measured rate of writing in changes a second; zero before the first flush or without a buffer";
    HEALTH: Gauge, Count, "shape_meta.health",
        "1 for the state that writing is in, 0 for the others";
    DEGRADED: Gauge, Seconds, "shape_meta.degraded.duration",
        "For how long the store is degraded; zero while it is not";
    CACHE_BYTES: Gauge, Bytes, "shape_meta.cache.bytes",
        "Memory that the read cache takes, about";
    SHAPES: Gauge, Count, "shape_meta.shapes",
        "Live shapes";
}

/// Tells the recorder the units and texts of all metrics.
pub(super) fn describe() {
    metrics::with_recorder(|recorder| {
        for Metric { name, kind, unit, text } in ALL {
            let (name, unit, text) = ((*name).into(), Some(*unit), (*text).into());
            match kind {
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
}
