use std::time::Duration;

use shape_meta_core::{Connections, Counts, Health, HealthState, Pending, StoreControl, Usage};

use super::{MetricsObserver, metric::*};

/// The gauges of one store, or of several together. Sums, except for the three durations, which are those of
/// the store that is worst off.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    /// The number of stores in each state of [`HealthState::NAMES`].
    states: [u64; HealthState::NAMES.len()],
    degraded: Duration,
    staleness: Duration,
    drain_rate: f64,
    pending: Pending,
    usage: Usage,
}

impl Gauges {
    /// Reads the gauges of a store; `None` if it is closed. Reads only memory, and waits for nothing.
    pub(super) fn of(store: &impl StoreControl) -> Option<Self> {
        let health = store.health();
        if matches!(health.state, HealthState::Closed) {
            return None;
        }
        let mut gauges = Self::in_state(&health);
        gauges.pending = store.pending();
        gauges.usage = store.usage();
        Some(gauges)
    }

    /// Those of a standby, which has no others.
    pub(super) fn of_standby(staleness: Duration) -> Self {
        Self { staleness, ..Self::default() }
    }

    /// Those of a closed and empty store.
    pub(super) fn closed() -> Self {
        let mut gauges = Self::zero();
        gauges.add(&Self::in_state(&Health::new(HealthState::Closed)));
        gauges
    }

    /// Those of no store: every gauge is zero, so that none keeps its last value.
    pub(super) fn zero() -> Self {
        let mut gauges = Self::default();
        gauges.usage.shapes = Some(Counts::default());
        gauges.usage.connections = Some(Connections::default());
        gauges.usage.cleanup_tasks = Some(0);
        gauges.usage.waiting_orphans = Some(0);
        gauges.usage.database_bytes = Some(0);
        gauges.usage.wal_bytes = Some(0);
        gauges
    }

    fn in_state(health: &Health) -> Self {
        let mut gauges = Self { drain_rate: health.drain_rate, ..Self::default() };
        let name = health.state.name();
        for (count, other) in gauges.states.iter_mut().zip(HealthState::NAMES) {
            *count = u64::from(other == name);
        }
        if let HealthState::Degraded { since, .. } = health.state {
            gauges.degraded = since;
        }
        gauges
    }

    /// Adds the gauges of another store.
    pub(super) fn add(&mut self, other: &Self) {
        self.states.iter_mut().zip(other.states).for_each(|(count, more)| *count += more);
        self.degraded = self.degraded.max(other.degraded);
        self.staleness = self.staleness.max(other.staleness);
        self.drain_rate += other.drain_rate;

        let (pending, more) = (&mut self.pending, &other.pending);
        pending.shapes = pending.shapes.saturating_add(more.shapes);
        pending.mutations = pending.mutations.saturating_add(more.mutations);
        pending.bytes = pending.bytes.saturating_add(more.bytes);
        pending.oldest = pending.oldest.max(more.oldest);

        let (usage, more) = (&mut self.usage, &other.usage);
        usage.cache_bytes = usage.cache_bytes.saturating_add(more.cache_bytes);
        usage.shapes = sum(usage.shapes, more.shapes, |sum, more| {
            sum.total += more.total;
            sum.indexed += more.indexed;
        });
        usage.connections = sum(usage.connections, more.connections, |sum, more| {
            sum.used += more.used;
            sum.idle += more.idle;
            sum.max += more.max;
            sum.waiting += more.waiting;
        });
        usage.cleanup_tasks = sum(usage.cleanup_tasks, more.cleanup_tasks, |sum, more| *sum += more);
        usage.waiting_orphans = sum(usage.waiting_orphans, more.waiting_orphans, |sum, more| *sum += more);
        usage.database_bytes = sum(usage.database_bytes, more.database_bytes, |sum, more| *sum += more);
        usage.wal_bytes = sum(usage.wal_bytes, more.wal_bytes, |sum, more| *sum += more);
    }

    /// Sets the gauges of the observer's store, or of all stores without a name.
    pub(super) fn set(&self, observer: &MetricsObserver) {
        let states = self.states.into_iter().zip(HealthState::NAMES);
        let (zero, current): (Vec<_>, Vec<_>) = states.partition(|(count, _)| *count == 0);
        // The current state first, so that a concurrent scrape sees two states rather than none.
        for (count, state) in current.into_iter().chain(zero) {
            HEALTH.gauge(observer.labels([("state", state)])).set(count as f64);
        }
        DEGRADED.gauge(observer.labels([])).set(self.degraded);
        DRAIN_RATE.gauge(observer.labels([])).set(self.drain_rate);
        self.set_staleness(observer);

        let Pending { shapes, mutations, bytes, oldest, .. } = self.pending;
        PENDING_SHAPES.gauge(observer.labels([])).set(shapes as f64);
        PENDING_MUTATIONS.gauge(observer.labels([])).set(mutations as f64);
        PENDING_BYTES.gauge(observer.labels([])).set(bytes as f64);
        PENDING_AGE.gauge(observer.labels([])).set(oldest.unwrap_or_default());
        self.set_usage(observer);
    }

    /// Sets the gauge of a standby alone.
    pub(super) fn set_staleness(&self, observer: &MetricsObserver) {
        STALENESS.gauge(observer.labels([])).set(self.staleness);
    }

    fn set_usage(&self, observer: &MetricsObserver) {
        let usage = &self.usage;
        CACHE_BYTES.gauge(observer.labels([])).set(usage.cache_bytes as f64);
        if let Some(counts) = usage.shapes {
            SHAPES.gauge(observer.labels([("indexed", "true")])).set(counts.indexed as f64);
            SHAPES.gauge(observer.labels([("indexed", "false")])).set(counts.unindexed() as f64);
        }
        if let Some(Connections { used, idle, max, waiting }) = usage.connections {
            for (state, count) in [("used", used), ("idle", idle)] {
                let labels = observer.pool_labels([("db.client.connection.state", state)]);
                CONNECTIONS.gauge(labels).set(count as f64);
            }
            CONNECTIONS_MAX.gauge(observer.pool_labels([])).set(max as f64);
            PENDING_REQUESTS.gauge(observer.pool_labels([])).set(waiting as f64);
        }
        let counts = [
            (DATABASE_BYTES, usage.database_bytes),
            (WAL_BYTES, usage.wal_bytes),
            (CLEANUP_TASKS, usage.cleanup_tasks),
            (WAITING_ORPHANS, usage.waiting_orphans),
        ];
        for (metric, value) in counts {
            if let Some(value) = value {
                metric.gauge(observer.labels([])).set(value as f64);
            }
        }
    }
}

/// Adds what is known of both.
fn sum<T>(one: Option<T>, other: Option<T>, add: impl FnOnce(&mut T, T)) -> Option<T> {
    match (one, other) {
        (Some(mut sum), Some(more)) => {
            add(&mut sum, more);
            Some(sum)
        }
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use shape_meta_core::{Degradation, Error, ErrorKind};

    use super::*;

    /// Records these states in turn. Returns the states whose gauge is 1, and the degraded duration in
    /// seconds.
    fn recorded(states: [HealthState; 2]) -> (Vec<String>, f64) {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let observer = MetricsObserver::named("main");
            for state in states {
                Gauges::in_state(&Health::new(state)).set(&observer);
            }
        });
        let (mut states, mut degraded) = (Vec::new(), f64::NAN);
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
            let state = key.key().labels().find(|label| label.key() == "state");
            match state {
                Some(state) if *value == 1.0 => states.push(state.value().to_owned()),
                Some(_) => assert_eq!(*value, 0.0),
                None if key.key().name() == "shape_meta.degraded.duration" => degraded = *value,
                None => {}
            }
        }
        (states, degraded)
    }

    /// The gauges of a degraded store, each with another value.
    fn every_gauge() -> Gauges {
        let why = Degradation::Lagging;
        let since = Duration::from_secs(5);
        let mut gauges = Gauges::in_state(&Health::new(HealthState::Degraded { why, since }));
        gauges.drain_rate = 6.0;
        gauges.staleness = Duration::from_secs(22);
        let oldest = Some(Duration::from_secs(7));
        gauges.pending = Pending { shapes: 8, mutations: 9, bytes: 10, oldest, net: 11 };
        gauges.usage.cache_bytes = 12;
        gauges.usage.shapes = Some(Counts { total: 40, indexed: 13 });
        gauges.usage.connections = Some(Connections { used: 14, idle: 15, max: 16, waiting: 17 });
        (gauges.usage.database_bytes, gauges.usage.wal_bytes) = (Some(18), Some(19));
        (gauges.usage.cleanup_tasks, gauges.usage.waiting_orphans) = (Some(20), Some(21));
        gauges
    }

    /// Returns the gauges other than zero by name and labels.
    fn values(gauges: &Gauges, observer: &MetricsObserver) -> BTreeMap<String, f64> {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || gauges.set(observer));
        let all = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
            (key.key().to_string(), *value)
        });
        all.filter(|(_, value)| *value != 0.0).collect()
    }

    #[test]
    fn every_gauge_has_its_value() {
        let lines: Vec<_> = values(&every_gauge(), &MetricsObserver::named("main"))
            .into_iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    /// Sums, and the maximum of the durations. Stores that do not know a value do not count.
    #[test]
    fn c7_gauges_of_stores_without_a_name_are_added_up() {
        let unnamed = MetricsObserver::new();
        let alone = values(&every_gauge(), &unnamed);
        let mut sum = Gauges::default();
        sum.add(&every_gauge());
        sum.add(&Gauges::in_state(&Health::new(HealthState::Ready)));
        sum.add(&every_gauge());
        let mut together = values(&sum, &unnamed);
        let ready = together.remove("Key(shape_meta.health, [state = ready])");
        assert_eq!(ready, Some(1.0), "{together:?}");
        assert_eq!(alone.len(), 19, "{alone:?}");
        assert_eq!(together.len(), alone.len());
        for ((name, alone), together) in alone.iter().zip(together.values()) {
            let is_maximum =
                ["oldest_age", "degraded.duration", "staleness"].iter().any(|one| name.contains(one));
            assert_eq!(alone * if is_maximum { 1.0 } else { 2.0 }, *together, "{name}");
            assert!(!name.contains("stack"), "{name}");
        }
    }

    #[test]
    fn only_the_current_state_is_one() {
        let error = || Error::new(ErrorKind::StorageFull, "the disk is full");
        let degraded = || {
            let why = Degradation::Failing { error: error(), failures: 2 };
            HealthState::Degraded { why, since: Duration::from_secs(5) }
        };
        let ready = || HealthState::Ready;
        assert_eq!(recorded([ready(), degraded()]), (vec!["degraded".to_owned()], 5.0));
        assert_eq!(recorded([degraded(), ready()]), (vec!["ready".to_owned()], 0.0));
        let stopped = HealthState::Stopped { error: error() };
        assert_eq!(recorded([degraded(), stopped]), (vec!["stopped".to_owned()], 0.0));
        let fenced = HealthState::Fenced { error: error() };
        assert_eq!(recorded([degraded(), fenced]), (vec!["fenced".to_owned()], 0.0));
        assert_eq!(recorded([degraded(), HealthState::Closing]), (vec!["closing".to_owned()], 0.0));
        assert_eq!(recorded([HealthState::Closing, HealthState::Closed]), (vec!["closed".to_owned()], 0.0));
    }
}
