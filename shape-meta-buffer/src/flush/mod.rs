//! The flush path: seal, commit, publish, drop (I1, I2), step by step (I7). Nothing else writes the store
//! below (I4).

mod flusher;
mod publish;
mod step;

mod committed;
mod join;
mod last_reads;
mod running;
mod work;

use std::any::Any;

use shape_meta_core::{Error, ErrorKind, Span};

pub(crate) use flusher::Flusher;
pub(crate) use running::inside_observer;

fn end(span: Option<Box<dyn Span>>, error: Option<&Error>) {
    if let Some(span) = span {
        span.end(error);
    }
}

/// Returns the error for a panic that was caught.
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        ErrorKind::Panicked,
        format!("the store below or an observer panicked ({message}); pending changes are kept and retried"),
    )
}
