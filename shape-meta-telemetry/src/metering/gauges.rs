use std::time::Duration;

use shape_meta_core::{ControlWrites, Health, HealthState, Pending, Result};

use super::{MetricsObserver, metric::*};

impl MetricsObserver {
    /// Sets the gauges of a store to what they are now. Call it now and then, for example before each scrape; nothing
    /// here has a thread for it.
    ///
    /// All of them but the number of shapes come from memory. That one costs a query where a composition
    /// has no cache.
    ///
    /// # Errors
    ///
    /// If shapes could not be counted. Their gauges are as they were then; all others are set.
    pub fn record_gauges<S: ControlWrites + ?Sized>(&self, store: &S) -> Result<()> {
        let Pending { changes, mutations, bytes, oldest, .. } = store.pending();
        PENDING_CHANGES.gauge(self.labels([])).set(changes as f64);
        PENDING_MUTATIONS.gauge(self.labels([])).set(mutations as f64);
        PENDING_BYTES.gauge(self.labels([])).set(bytes as f64);
        PENDING_AGE.gauge(self.labels([])).set(oldest.unwrap_or_default());
        DRAIN_RATE.gauge(self.labels([])).set(store.drain_rate());
        self.record_health(&store.health());

        let counts = store.counts()?;
        SHAPES.gauge(self.labels([("indexed", "true")])).set(counts.indexed as f64);
        SHAPES.gauge(self.labels([("indexed", "false")])).set(counts.unindexed() as f64);
        Ok(())
    }

    fn record_health(&self, health: &Health) {
        for state in HealthState::NAMES {
            let is = if state == health.state.name() { 1 } else { 0 };
            HEALTH.gauge(self.labels([("state", state)])).set(is);
        }
        let failing = match health.state {
            HealthState::Degraded { since, .. } => since,
            _ => Duration::ZERO,
        };
        FAILING.gauge(self.labels([])).set(failing);
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use shape_meta_core::{Degradation, Error, ErrorKind};

    use super::*;

    /// The state that is told, and for how many seconds writes have failed.
    fn told(states: [HealthState; 2]) -> (Vec<String>, f64) {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let observer = MetricsObserver::new("main");
            states.into_iter().for_each(|state| observer.record_health(&Health::new(state)));
        });
        let (mut states, mut failing) = (Vec::new(), f64::NAN);
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
            let state = key.key().labels().find(|label| label.key() == "state");
            match state {
                Some(state) if *value == 1.0 => states.push(state.value().to_owned()),
                Some(_) => assert_eq!(*value, 0.0),
                None => failing = *value,
            }
        }
        (states, failing)
    }

    #[test]
    fn one_state_at_a_time_whatever_it_was_before() {
        let error = || Error::new(ErrorKind::Full, "the disk is full");
        let degraded = || {
            let why = Degradation::Failing { error: error(), failures: 2 };
            HealthState::Degraded { why, since: Duration::from_secs(5) }
        };
        let ready = || HealthState::Ready;
        assert_eq!(told([ready(), degraded()]), (vec!["degraded".to_owned()], 5.0));
        assert_eq!(told([degraded(), ready()]), (vec!["ready".to_owned()], 0.0));
        let stopped = HealthState::Stopped { error: error() };
        assert_eq!(told([degraded(), stopped]), (vec!["stopped".to_owned()], 0.0));
        let fenced = HealthState::Fenced { error: error() };
        assert_eq!(told([degraded(), fenced]), (vec!["fenced".to_owned()], 0.0));
        assert_eq!(told([degraded(), HealthState::Closing]), (vec!["closing".to_owned()], 0.0));
        assert_eq!(told([HealthState::Closing, HealthState::Closed]), (vec!["closed".to_owned()], 0.0));
    }
}
