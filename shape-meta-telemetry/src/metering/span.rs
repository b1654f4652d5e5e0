use std::{thread, time::Instant};

use shape_meta_core::{Error, ErrorKind, Span};

use super::MetricsObserver;

/// A span that measures an activity until it ends.
pub(super) struct TimedSpan {
    observer: MetricsObserver,
    activity: Timed,
    started_at: Instant,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Timed {
    Activity(&'static str),
    /// Recorded here only if it fails: `checkout` records a successful wait.
    Checkout(&'static str),
}

impl TimedSpan {
    pub(super) fn activity(observer: MetricsObserver, name: &'static str) -> Self {
        Self { observer, activity: Timed::Activity(name), started_at: Instant::now(), ended: false }
    }

    pub(super) fn checkout(observer: MetricsObserver, label: &'static str) -> Self {
        Self { observer, activity: Timed::Checkout(label), started_at: Instant::now(), ended: false }
    }

    fn record_end(&mut self, failure: Option<ErrorKind>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let took = self.started_at.elapsed();
        match (self.activity, failure) {
            (Timed::Activity(name), _) => {
                self.observer.record_activity(name, took, failure.map(ErrorKind::name))
            }
            (Timed::Checkout(label), Some(failure)) => {
                self.observer.record_no_connection(label, took, failure)
            }
            (Timed::Checkout(_), None) => {}
        }
    }
}

impl Span for TimedSpan {
    fn end(mut self: Box<Self>, error: Option<&Error>) {
        self.record_end(error.map(Error::kind));
    }
}

impl Drop for TimedSpan {
    fn drop(&mut self) {
        self.record_end(thread::panicking().then_some(ErrorKind::Panicked));
    }
}
