use std::{thread, time::Instant};

use shape_meta_core::{Error, ErrorKind, Span};

use super::MetricsObserver;

/// An activity that is measured until it ends.
pub(super) struct Timed {
    observer: MetricsObserver,
    what: What,
    since: Instant,
    ended: bool,
}

#[derive(Clone, Copy)]
enum What {
    Activity(&'static str),
    /// Its wait is told to the observer when it is over; only that it got no connection is not.
    Checkout(&'static str),
}

impl Timed {
    pub(super) fn activity(observer: MetricsObserver, name: &'static str) -> Self {
        Self { observer, what: What::Activity(name), since: Instant::now(), ended: false }
    }

    pub(super) fn checkout(observer: MetricsObserver, label: &'static str) -> Self {
        Self { observer, what: What::Checkout(label), since: Instant::now(), ended: false }
    }

    fn ends(&mut self, failure: Option<ErrorKind>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let took = self.since.elapsed();
        match (self.what, failure) {
            (What::Activity(name), _) => self.observer.ended(name, took, failure.map(ErrorKind::name)),
            (What::Checkout(label), Some(failure)) => self.observer.gave_up(label, took, failure),
            (What::Checkout(_), None) => {}
        }
    }
}

impl Span for Timed {
    fn end(mut self: Box<Self>, error: Option<&Error>) {
        self.ends(error.map(Error::kind));
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.ends(thread::panicking().then_some(ErrorKind::Panicked));
    }
}
