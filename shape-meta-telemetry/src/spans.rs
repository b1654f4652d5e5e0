use std::thread;

use shape_meta_core::{Activity, Error, ErrorKind, Span};
use tracing::{Level, field::Empty, span::EnteredSpan};

/// Begins the span of an activity; `None` if no subscriber is interested.
pub(crate) fn begin(stack: &str, activity: Activity<'_>) -> Option<Box<dyn Span>> {
    macro_rules! span {
        ($level:expr, $name:literal $(, $field:ident = $value:expr)*) => {
            tracing::span!(
                target: "shape_meta", $level, $name,
                stack $(, $field = $value)*, error = Empty, error.type = Empty
            )
        };
    }
    let span = match activity {
        Activity::Open { path } => {
            span!(Level::INFO, "shape_meta.open", path = tracing::field::display(path.display()))
        }
        Activity::Recovery => span!(Level::INFO, "shape_meta.recovery"),
        Activity::Clean { shapes } => span!(Level::INFO, "shape_meta.clean", shapes = shapes),
        Activity::Refresh => span!(Level::DEBUG, "shape_meta.refresh"),
        Activity::Promote { path } => {
            span!(Level::INFO, "shape_meta.promote", path = tracing::field::display(path.display()))
        }
        Activity::SaveReads => span!(Level::DEBUG, "shape_meta.save_reads"),
        Activity::Close => span!(Level::INFO, "shape_meta.close"),
        Activity::Flush { changes, bytes } => {
            span!(Level::DEBUG, "shape_meta.flush", changes = changes, bytes = bytes)
        }
        Activity::Checkout { label } => span!(Level::TRACE, "shape_meta.checkout", operation = label),
        // An activity that this version does not know.
        _ => return None,
    };
    (!span.is_disabled()).then(|| Box::new(Entered { span: span.entered(), ended: false }) as _)
}

/// An entered span: events on this thread belong to it until it ends.
struct Entered {
    span: EnteredSpan,
    ended: bool,
}

impl Span for Entered {
    fn end(mut self: Box<Self>, error: Option<&Error>) {
        self.ended = true;
        if let Some(error) = error {
            self.span.record("error", error as &(dyn std::error::Error + 'static));
            self.span.record("error.type", error.kind().name());
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.ended && thread::panicking() {
            self.span.record("error.type", ErrorKind::Panicked.name());
        }
    }
}
