use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Checkin, Checkout, Error, ErrorKind, LastError, Observer, Result, Span};

use crate::connection::operation::Operation;

/// Counts the connections in use and the operations that wait for one, and emits each checkout and checkin.
pub(crate) struct Meter {
    observer: Arc<dyn Observer>,
    waiting: AtomicUsize,
    active: AtomicUsize,
    /// The latest damage that an operation met, until a repair.
    damage: Mutex<Option<(Error, Instant)>>,
}

impl Meter {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, waiting: AtomicUsize::new(0), active: AtomicUsize::new(0), damage: Mutex::default() }
    }

    /// Returns the latest damage that an operation met.
    pub(crate) fn damage(&self) -> Option<LastError> {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.as_ref().map(|(error, at)| LastError { error: error.clone(), ago: at.elapsed() })
    }

    /// Forgets the damage, after a repair.
    pub(crate) fn clear_damage(&self) {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the number of connections in use.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Returns the number of operations that wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Begins the wait of an operation for a connection.
    pub(crate) fn wait(&self, operation: Operation) -> Waiting<'_> {
        let label = operation.label();
        let span = self.observer.begin(Activity::Checkout { label });
        Waiting { count: WaitingCount::add(self), label, since: Instant::now(), span }
    }
}

/// An operation that waits for a connection.
pub(crate) struct Waiting<'a> {
    count: WaitingCount<'a>,
    label: &'static str,
    since: Instant,
    span: Option<Box<dyn Span>>,
}

/// Counts one waiting operation until it is dropped.
struct WaitingCount<'a>(&'a Meter);

impl<'a> WaitingCount<'a> {
    fn add(meter: &'a Meter) -> Self {
        meter.waiting.fetch_add(1, Ordering::Relaxed);
        Self(meter)
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Waiting<'a> {
    /// Ends the wait with a connection, and emits the checkout, also if the operation did not have to wait.
    pub(crate) fn granted(self) -> Lease<'a> {
        let now = Instant::now();
        let meter = self.count.0;
        drop(self.count);
        let active = meter.active.fetch_add(1, Ordering::Relaxed) + 1;
        let queued = now - self.since;
        meter.observer.checkout(&Checkout { label: self.label, queued, active });
        if let Some(span) = self.span {
            span.end(None);
        }
        Lease { meter, label: self.label, queued, since: now, error: None }
    }

    /// Ends the wait without a connection. Returns the error.
    pub(crate) fn refused(self, error: Error) -> Error {
        if let Some(span) = self.span {
            span.end(Some(&error));
        }
        error
    }
}

/// Counts one connection in use, and emits the checkin when it is dropped.
pub(crate) struct Lease<'a> {
    meter: &'a Meter,
    label: &'static str,
    /// The time that the operation waited for the connection.
    queued: Duration,
    since: Instant,
    /// The kind of the error, if the operation failed.
    error: Option<ErrorKind>,
}

impl Lease<'_> {
    /// Records the outcome of the operation, for the checkin.
    pub(crate) fn record<T>(&mut self, outcome: &Result<T>) {
        if let Err(error) = outcome {
            self.error = Some(error.kind());
            if error.kind() == ErrorKind::Corrupt {
                let mut damage = self.meter.damage.lock().unwrap_or_else(PoisonError::into_inner);
                *damage = Some((error.clone(), Instant::now()));
            }
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
