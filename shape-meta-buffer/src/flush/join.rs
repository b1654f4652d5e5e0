use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::sync::thread::{self, Scope, ScopedJoinHandle};

/// Runs two functions in parallel, `here` on this thread and `there` on a new one, and returns when both have
/// ended. If no thread can be started, `there` runs first, on this thread.
///
/// # Panics
///
/// If one of them panics, after both have ended.
pub(super) fn join<A, B: Send>(here: impl FnOnce() -> A, there: impl Fn() -> B + Sync) -> (A, B) {
    let here = AssertUnwindSafe(here);
    let (a, b) = thread::scope(|scope| match spawn(scope, &there) {
        Ok(thread) => (catch_unwind(here), thread.join()),
        Err(_) => {
            let b = catch_unwind(AssertUnwindSafe(&there));
            (catch_unwind(here), b)
        }
    });
    match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(panic), _) | (_, Err(panic)) => resume_unwind(panic),
    }
}

#[cfg(not(shape_meta_interleaved))]
fn spawn<'scope, B: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    there: &'scope (impl Fn() -> B + Sync),
) -> io::Result<ScopedJoinHandle<'scope, B>> {
    thread::Builder::new().name("shape-meta-publish".into()).spawn_scoped(scope, there)
}

#[cfg(shape_meta_interleaved)]
fn spawn<'scope, B: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    there: &'scope (impl Fn() -> B + Sync),
) -> io::Result<ScopedJoinHandle<'scope, B>> {
    Ok(scope.spawn(there))
}
