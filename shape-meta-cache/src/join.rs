use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

/// The number of shapes from which a second thread pays off: starting one takes some 30 microseconds.
const MIN_PARALLEL_SHAPES: usize = 10_000;

/// Runs two closures, in parallel if there are enough shapes and a thread can be started.
///
/// # Panics
///
/// If one of the closures panics, after both have ended.
pub(crate) fn join<A, B: Send>(
    shapes: usize,
    local: impl FnOnce() -> A,
    spawned: impl FnOnce() -> B + Send,
) -> (A, B) {
    if shapes < MIN_PARALLEL_SHAPES {
        return (local(), spawned());
    }
    // Behind a lock, so that the closure is still here to run if the thread cannot be started.
    let spawned = Mutex::new(Some(spawned));
    let run = || spawned.lock().unwrap_or_else(PoisonError::into_inner).take().map(|spawned| spawned());
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("shape-meta-cache".into()).spawn_scoped(scope, run);
        let first = local();
        let second = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => run(),
        };
        (first, second.expect("either the thread or this function has run it"))
    })
}
