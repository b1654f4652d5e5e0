use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Checkin, Checkout, Error, ErrorKind, Observer, Result, Span};

use crate::connection::operation::Operation;

/// Counts the connections in use, and tells the observer of each that is handed out and given back.
pub(crate) struct Meter {
    observer: Arc<dyn Observer>,
    waiting: AtomicUsize,
    active: AtomicUsize,
}

impl Meter {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, waiting: AtomicUsize::new(0), active: AtomicUsize::new(0) }
    }

    /// How many connections are in use now.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// How many operations wait for one now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// An operation begins to wait for a connection.
    pub(crate) fn wait(&self, operation: Operation) -> Waiting<'_> {
        let label = operation.label();
        let span = self.observer.begin(Activity::Checkout { label });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { place: Place(self), label, since: Instant::now(), span }
    }
}

/// An operation waits for a connection.
pub(crate) struct Waiting<'a> {
    place: Place<'a>,
    label: &'static str,
    since: Instant,
    span: Option<Box<dyn Span>>,
}

/// One of those that wait, until this is dropped.
struct Place<'a>(&'a Meter);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Waiting<'a> {
    /// It has got one. The queue time is told also when it was nothing.
    pub(crate) fn granted(self) -> Lease<'a> {
        let now = Instant::now();
        let meter = self.place.0;
        drop(self.place);
        let active = meter.active.fetch_add(1, Ordering::Relaxed) + 1;
        let queued = now - self.since;
        meter.observer.checkout(&Checkout { label: self.label, queued, active });
        if let Some(span) = self.span {
            span.end(None);
        }
        Lease { meter, label: self.label, queued, since: now, error: None }
    }

    /// It gives up.
    pub(crate) fn refused(self, error: Error) -> Error {
        if let Some(span) = self.span {
            span.end(Some(&error));
        }
        error
    }
}

/// A connection is in use until this is dropped.
pub(crate) struct Lease<'a> {
    meter: &'a Meter,
    label: &'static str,
    /// How long the operation had waited for it.
    queued: Duration,
    since: Instant,
    /// How the operation failed, if it did.
    error: Option<ErrorKind>,
}

impl Lease<'_> {
    /// What the operation came to, for whoever hears of its end.
    pub(crate) fn note<T>(&mut self, outcome: &Result<T>) {
        if let Err(error) = outcome {
            self.error = Some(error.kind());
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let active = self.meter.active.fetch_sub(1, Ordering::Relaxed) - 1;
        let error = if thread::panicking() { Some(ErrorKind::Panicked) } else { self.error };
        let (queued, used) = (self.queued, self.since.elapsed());
        self.meter.observer.checkin(&Checkin { label: self.label, queued, used, active, error });
    }
}
