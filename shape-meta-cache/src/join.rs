use shape_meta_core::store_parts;

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
    match shapes < MIN_PARALLEL_SHAPES {
        true => (local(), spawned()),
        false => store_parts::join("shape-meta-cache", local, spawned),
    }
}
