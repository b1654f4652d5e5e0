//! A subscriber that records spans and events as text.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry::LookupSpan};

/// Runs `run` with a subscriber for what is `enabled`, and returns the spans and events, one line each.
pub(crate) fn capture(
    enabled: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
    run: impl FnOnce(),
) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let filter = tracing_subscriber::filter::filter_fn(move |metadata| enabled(metadata));
    let layer = Capture(Arc::clone(&lines)).with_filter(filter);
    with_subscriber(tracing_subscriber::registry().with(layer), run);
    std::mem::take(&mut *lines.lock().expect("no panic"))
}

/// Runs `run` with a subscriber, and no other test at the same time: `tracing` caches the interest of the
/// subscribers of all threads for the whole process.
pub(crate) fn with_subscriber(subscriber: impl Subscriber + Send + Sync + 'static, run: impl FnOnce()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tracing::subscriber::with_default(subscriber, run);
}

struct Capture(Arc<Mutex<Vec<String>>>);

impl Capture {
    fn write(
        &self,
        what: &str,
        metadata: &Metadata<'_>,
        level: Option<&Level>,
        values: impl FnOnce(&mut Values),
    ) {
        let mut line = format!("{what} {}", metadata.name());
        if let Some(level) = level {
            write!(line, " {level} {}", metadata.target()).expect("a string");
        }
        let mut written = Values(line);
        values(&mut written);
        self.0.lock().expect("no panic").push(written.0);
    }
}

struct Values(String);

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("a string");
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let source = value.source().map(|source| format!(" because {source}")).unwrap_or_default();
        write!(self.0, " {}=<{value}{source}>", field.name()).expect("a string");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let metadata = span.metadata();
        self.write("span", metadata, Some(metadata.level()), |values| span.record(values));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let metadata = context.metadata(id).expect("a span that exists");
        self.write("record", metadata, None, |values| record.record(values));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        self.write("event", metadata, Some(metadata.level()), |values| event.record(values));
        if let Some(span) = context.lookup_current() {
            let last = self.0.lock().expect("no panic").pop().expect("just written");
            self.0.lock().expect("no panic").push(format!("{last} inside of {}", span.name()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.write("end", context.metadata(&id).expect("a span that exists"), None, |_| {});
    }
}
