use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::sync::thread::{self, Scope, ScopedJoinHandle};

/// Does both: one here, the other on a thread of the moment, or before if there is none to be had. Both have ended
/// when this returns, or panics because one of them has.
pub(crate) fn join<A, B: Send>(here: impl FnOnce() -> A, there: impl Fn() -> B + Sync) -> (A, B) {
    let here = AssertUnwindSafe(here);
    let (done, other) = thread::scope(|scope| match spawn(scope, &there) {
        Ok(thread) => (catch_unwind(here), thread.join()),
        Err(_) => {
            let other = catch_unwind(AssertUnwindSafe(&there));
            (catch_unwind(here), other)
        }
    });
    match (done, other) {
        (Ok(done), Ok(other)) => (done, other),
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
