use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, EvictionStats, FlushStats, Handle,
    Latencies, MutateError, Observer, OpenStats, PublishStats, RecoveryStats, Refusal, Repaired, Seq, Span,
};
use tracing::{Level, level_filters::LevelFilter};

use crate::{rate_limit::RateLimit, spans};

/// The target of the event for every single change.
const CHANGE: &str = "shape_meta::change";

/// An observer that emits spans and events through the [`tracing`] crate. The [table](crate#names) lists them
/// all. Clones share one state.
///
/// Each event that can repeat without a bound (a failed flush, a refused mutation, ...) has a bounded rate:
/// 20 at once, and one more every three seconds. The next one has the number of suppressed ones in between in
/// its field `suppressed`. These are emitted at a lower level, so that no detail is lost for those who look.
#[derive(Clone, Debug)]
pub struct TracingObserver {
    stack: Arc<str>,
    limits: Arc<Limits>,
}

/// The rate of each event that can repeat.
#[derive(Debug, Default)]
struct Limits {
    retrying: RateLimit,
    rejected: RateLimit,
    refused: RateLimit,
    failed: RateLimit,
    stopped: RateLimit,
    quarantined: RateLimit,
    repaired: RateLimit,
    cleanup_failed: RateLimit,
    orphans_found: RateLimit,
    evicted: RateLimit,
}

impl TracingObserver {
    /// An observer of the store with this name, which is the field `stack` of every span and event.
    pub fn new(stack: impl Into<Arc<str>>) -> Self {
        Self { stack: stack.into(), limits: Arc::default() }
    }
}

/// Emits an event with the name of the store as its first field.
macro_rules! event {
    ($self:ident, $level:ident, $name:literal, { $($fields:tt)* }, $text:literal) => {
        event!($self, "shape_meta", $level, $name, { $($fields)* }, $text)
    };
    ($self:ident, $target:expr, $level:ident, $name:literal, { $($fields:tt)* }, $text:literal) => {
        tracing::event!(
            name: $name, target: $target, Level::$level,
            { stack = &*$self.stack, $($fields)* }, $text
        )
    };
}

/// Emits an event at the first level if its rate admits it, and otherwise at the second, lower one.
macro_rules! limited {
    ($self:ident.$limit:ident, $level:ident or $lower:ident, $name:literal, { $($fields:tt)* }, $text:literal) => {
        if Level::$level <= LevelFilter::current() {
            match $self.limits.$limit.admit(Instant::now()) {
                Some(suppressed) => event!($self, $level, $name, { suppressed, $($fields)* }, $text),
                None => event!($self, $lower, $name, { $($fields)* }, $text),
            }
        }
    };
}

#[deny(clippy::missing_trait_methods)] // A missing method would silently lose an event.
impl Observer for TracingObserver {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        spans::begin(&self.stack, activity)
    }

    fn checkout(&self, &Checkout { label, queued, active }: &Checkout) {
        event!(
            self, TRACE, "shape_meta.checked_out",
            { operation = label, queued_us = micros(queued), active },
            "connection checked out"
        );
    }

    fn checkin(&self, &Checkin { label, queued: _, used, active, error }: &Checkin) {
        event!(
            self, TRACE, "shape_meta.checked_in",
            {
                operation = label, used_us = micros(used), active,
                error.type = error.map(ErrorKind::name)
            },
            "connection returned"
        );
    }

    fn flushed(&self, flush: &FlushStats) {
        let &FlushStats { mutations, changes, bytes, took, oldest } = flush;
        event!(
            self, DEBUG, "shape_meta.flushed",
            {
                mutations, changes, coalesced = flush.coalesced(), bytes,
                took_us = micros(took), oldest_us = micros(oldest)
            },
            "flush committed"
        );
    }

    /// A warning for failures 1, 2, 4, ... and each 64th, which have the number of failures in a row. The
    /// others are for debugging.
    fn retrying(&self, error: &Error, failures: u32, delay: Duration) {
        let (delay_ms, error_type) = (millis(delay), error.kind().name());
        if is_milestone(failures) {
            limited!(
                self.retrying, WARN or DEBUG, "shape_meta.retrying",
                { failures, delay_ms, error = source(error), error.type = error_type },
                "flush failed and will be retried; pending changes are kept"
            );
        } else {
            event!(
                self, DEBUG, "shape_meta.retrying",
                { failures, delay_ms, error = source(error), error.type = error_type },
                "flush failed and will be retried; pending changes are kept"
            );
        }
    }

    fn rejected(&self, handle: Option<&Handle>, mutations: &[Seq], error: &Error) {
        limited!(
            self.rejected, ERROR or DEBUG, "shape_meta.rejected",
            {
                handle = handle.map(Handle::as_str), mutations = %SeqList(mutations),
                error = source(error), error.type = error.kind().name()
            },
            "change rejected permanently"
        );
    }

    fn refused(&self, refusal: &Refusal) {
        limited!(
            self.refused, DEBUG or TRACE, "shape_meta.refused",
            { refusal = refusal.name(), reason = %refusal },
            "mutation refused"
        );
    }

    fn failed(&self, error: &Error) {
        limited!(
            self.failed, DEBUG or TRACE, "shape_meta.failed",
            { error = source(error), error.type = error.kind().name() },
            "mutation not accepted, because the store failed"
        );
    }

    /// `false`: this is read only once, when the store is created, and subscribers may change later.
    fn wants_acknowledged(&self) -> bool {
        false
    }

    fn acknowledged(&self, _: &Latencies) {}

    fn awaited(&self, &DurabilityWait { took, error }: &DurabilityWait) {
        event!(
            self, TRACE, "shape_meta.awaited",
            { took_us = micros(took), error.type = error },
            "durability wait finished"
        );
    }

    fn stopped(&self, error: &Error) {
        limited!(
            self.stopped, ERROR or DEBUG, "shape_meta.stopped",
            { error = source(error), error.type = error.kind().name() },
            "writing stopped permanently; reads continue"
        );
    }

    fn published(&self, &PublishStats { changes, took }: &PublishStats) {
        event!(
            self, TRACE, "shape_meta.published",
            { changes, took_us = micros(took) },
            "batch published"
        );
    }

    fn wants_committed(&self) -> bool {
        tracing::enabled!(target: CHANGE, Level::DEBUG)
    }

    fn committed(&self, change: &Change) {
        event!(
            self, CHANGE, DEBUG, "shape_meta.committed",
            {
                change = change.name(), handle = change.entry().map(|entry| entry.handle().as_str()),
                created = change.entry().map(|entry| entry.created().get())
            },
            "change committed"
        );
    }

    fn opened(&self, &OpenStats { shapes, took }: &OpenStats) {
        event!(
            self, INFO, "shape_meta.opened",
            { shapes, took_us = micros(took) },
            "database opened"
        );
    }

    /// For debugging only if nothing had to be removed, as at each clean start.
    fn recovered(&self, &RecoveryStats { valid, removed, took }: &RecoveryStats) {
        macro_rules! recovered {
            ($level:ident) => {
                event!(
                    self, $level, "shape_meta.recovered",
                    { valid, removed, took_us = micros(took) },
                    "recovery finished"
                )
            };
        }
        match removed {
            0 => recovered!(DEBUG),
            _ => recovered!(INFO),
        }
    }

    fn quarantined(&self, path: &Path, error: &Error) {
        limited!(
            self.quarantined, ERROR or DEBUG, "shape_meta.quarantined",
            { path = %path.display(), error = source(error), error.type = error.kind().name() },
            "damaged database moved aside"
        );
    }

    /// A warning for failures 1, 2, 4, ... and each 64th, as for a flush.
    fn cleanup_failed(&self, error: &Error, failures: u32, delay: Duration) {
        let (delay_ms, error_type) = (millis(delay), error.kind().name());
        if is_milestone(failures) {
            limited!(
                self.cleanup_failed, WARN or DEBUG, "shape_meta.cleanup_failed",
                { failures, delay_ms, error = source(error), error.type = error_type },
                "stored data could not be deleted; it is tried again"
            );
        } else {
            event!(
                self, DEBUG, "shape_meta.cleanup_failed",
                { failures, delay_ms, error = source(error), error.type = error_type },
                "stored data could not be deleted; it is tried again"
            );
        }
    }

    fn orphans_found(&self, orphans: u64, sample: &[Handle], waits_for_confirmation: bool) {
        limited!(
            self.orphans_found, WARN or DEBUG, "shape_meta.orphans_found",
            { orphans, sample = ?sample, waits_for_confirmation },
            "stored data without a shape was found"
        );
    }

    fn repaired(&self, repaired: &Repaired) {
        limited!(
            self.repaired, ERROR or DEBUG, "shape_meta.repaired",
            {
                path = %repaired.path.display(), saved = repaired.saved, lost = repaired.missing(),
                took_us = micros(repaired.took)
            },
            "damaged database repaired"
        );
    }

    /// A warning if the step failed, or could not get below the limit. For debugging otherwise.
    fn evicted(&self, evicted: &EvictionStats, error: Option<&MutateError>) {
        let &EvictionStats { removed, spared, pinned, total, over_limit, newest_unread, took, .. } = evicted;
        let newest_unread_ms = newest_unread.map(millis);
        if error.is_some() || over_limit > 0 {
            limited!(
                self.evicted, WARN or DEBUG, "shape_meta.evicted",
                {
                    removed, spared, pinned, total, over_limit, newest_unread_ms, took_us = micros(took),
                    error = error.map(|error| error as &(dyn std::error::Error + 'static)),
                    error.type = error.map(error_type)
                },
                "eviction did not reach its limit"
            );
        } else {
            event!(
                self, DEBUG, "shape_meta.evicted",
                { removed, spared, pinned, total, newest_unread_ms, took_us = micros(took) },
                "shapes evicted"
            );
        }
    }
}

/// Returns the name of a refusal, or of the kind of a failure.
fn error_type(error: &MutateError) -> &'static str {
    match error {
        MutateError::Refused(refusal) => refusal.name(),
        MutateError::Failed(error) => error.kind().name(),
    }
}

/// Whether this number of failures in a row is worth a warning: 1, 2, 4, ... and each 64th.
fn is_milestone(failures: u32) -> bool {
    failures.is_power_of_two() || failures.is_multiple_of(64)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the error as a value and not as text, so that a subscriber can read its sources.
fn source(error: &Error) -> &(dyn std::error::Error + 'static) {
    error
}

/// Displays sequence numbers as `3, 4, 9`.
struct SeqList<'a>(&'a [Seq]);

impl fmt::Display for SeqList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, seq) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{seq}")?;
        }
        Ok(())
    }
}
