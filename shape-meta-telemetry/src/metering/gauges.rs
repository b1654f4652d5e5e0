use std::time::Duration;

use shape_meta_core::{Connections, Counts, Health, HealthState, Pending, StoreControl, Usage};

use super::{MetricsObserver, metric::*};

impl MetricsObserver {
    /// Sets the gauges of a store to their current values. Call it regularly, for example before each scrape.
    /// A [`Reporter`](crate::Reporter) does that for many stores.
    ///
    /// Reads only memory and delays no reader or writer of the store. It can be called at any time, also
    /// while the store is closing.
    pub fn record_gauges<S: StoreControl + ?Sized>(&self, store: &S) {
        self.record_pending(store.pending());
        self.record_health(&store.health());
        self.record_usage(store.usage());
    }

    /// Sets the gauges to those of a closed and empty store. For a store that was dropped, whose gauges would
    /// otherwise keep their last values.
    pub fn record_closed(&self) {
        self.record_pending(Pending::default());
        self.record_health(&Health::new(HealthState::Closed));
        let mut usage = Usage::default();
        usage.shapes = Some(Counts::default());
        usage.connections = Some(Connections::default());
        self.record_usage(usage);
    }

    fn record_pending(&self, pending: Pending) {
        let Pending { shapes, mutations, bytes, oldest, .. } = pending;
        PENDING_SHAPES.gauge(self.labels([])).set(shapes as f64);
        PENDING_MUTATIONS.gauge(self.labels([])).set(mutations as f64);
        PENDING_BYTES.gauge(self.labels([])).set(bytes as f64);
        PENDING_AGE.gauge(self.labels([])).set(oldest.unwrap_or_default());
    }

    fn record_health(&self, health: &Health) {
        let current = health.state.name();
        // The current state first, so that a concurrent scrape sees two states rather than none.
        HEALTH.gauge(self.labels([("state", current)])).set(1);
        for other in HealthState::NAMES.into_iter().filter(|state| *state != current) {
            HEALTH.gauge(self.labels([("state", other)])).set(0);
        }
        let degraded = match health.state {
            HealthState::Degraded { since, .. } => since,
            _ => Duration::ZERO,
        };
        DEGRADED.gauge(self.labels([])).set(degraded);
        DRAIN_RATE.gauge(self.labels([])).set(health.drain_rate);
    }

    /// Sets the gauges of the resources of a store. For a store without [`StoreControl`]; otherwise part of
    /// [`record_gauges`](Self::record_gauges).
    pub fn record_usage(&self, usage: Usage) {
        CACHE_BYTES.gauge(self.labels([])).set(usage.cache_bytes as f64);
        if let Some(counts) = usage.shapes {
            SHAPES.gauge(self.labels([("indexed", "true")])).set(counts.indexed as f64);
            SHAPES.gauge(self.labels([("indexed", "false")])).set(counts.unindexed() as f64);
        }
        if let Some(Connections { used, idle, max, waiting }) = usage.connections {
            for (state, count) in [("used", used), ("idle", idle)] {
                let labels = self.pool_labels([("db.client.connection.state", state)]);
                CONNECTIONS.gauge(labels).set(count as f64);
            }
            CONNECTIONS_MAX.gauge(self.pool_labels([])).set(max as f64);
            PENDING_REQUESTS.gauge(self.pool_labels([])).set(waiting as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use shape_meta_core::{Degradation, Error, ErrorKind};

    use super::*;

    /// Records these states in turn. Returns the states whose gauge is 1, and the degraded duration in
    /// seconds.
    fn recorded(states: [HealthState; 2]) -> (Vec<String>, f64) {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let observer = MetricsObserver::new("main");
            states.into_iter().for_each(|state| observer.record_health(&Health::new(state)));
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
