//! Checkouts of connections, as observers see them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Checkin, Checkout, Error, ErrorKind, Observer, Span};

use crate::connection::operation::Operation;

/// Emits each checkout and checkin, on the thread of the caller.
pub(crate) struct Meter {
    observer: Arc<dyn Observer>,
}

impl Meter {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer }
    }

    /// Begins the wait of an operation for a connection.
    pub(crate) fn wait(&self, operation: Operation) -> Waiting<'_> {
        let label = operation.label();
        let span = self.observer.begin(Activity::Checkout { label });
        Waiting { meter: self, label, since: Instant::now(), span }
    }
}

/// An operation that waits for a connection.
pub(crate) struct Waiting<'a> {
    meter: &'a Meter,
    label: &'static str,
    since: Instant,
    span: Option<Box<dyn Span>>,
}

impl<'a> Waiting<'a> {
    /// Ends the wait with a connection, `active` of which are in use.
    pub(crate) fn granted(self, active: usize) -> Use<'a> {
        let queued = self.since.elapsed();
        self.granted_after(queued, active)
    }

    /// Ends a wait that took this time, and after which the operation has gone on already.
    pub(crate) fn granted_after(self, queued: Duration, active: usize) -> Use<'a> {
        let Self { meter, label, since, span } = self;
        meter.observer.checkout(&Checkout { label, queued, active });
        if let Some(span) = span {
            span.end(None);
        }
        Use { meter, label, queued, since: since + queued, active, error: None }
    }

    /// Ends the wait without a connection. Returns the error.
    pub(crate) fn refused(self, error: Error) -> Error {
        if let Some(span) = self.span {
            span.end(Some(&error));
        }
        error
    }
}

/// A connection in use. Emits the checkin when it is dropped.
pub(crate) struct Use<'a> {
    meter: &'a Meter,
    label: &'static str,
    queued: Duration,
    since: Instant,
    active: usize,
    error: Option<ErrorKind>,
}

impl Use<'_> {
    /// Records that the operation has failed.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.error = Some(error.kind());
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.meter.observer.checkin(&Checkin {
            label: self.label,
            queued: self.queued,
            used: self.since.elapsed(),
            active: self.active.saturating_sub(1),
            error: self.error,
        });
    }
}
