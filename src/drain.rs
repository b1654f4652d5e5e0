use shape_meta_admission::{Drain, DrainRate};
use shape_meta_core::StoreControl;

use crate::WeakShapeMeta;

/// The number of pending shapes and the rate at which they are committed, for the `Retry-After` of rejected
/// requests. Both are zero once the store is dropped.
///
/// ```
/// # #[cfg(all(feature = "sqlite", feature = "buffer"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use shape_meta::{BufferOptions, NoopCleaner, ShapeMeta, admission::{Admission, AdmissionLimits, RetryAfter}};
///
/// let store = ShapeMeta::builder(NoopCleaner).buffered(BufferOptions::default()).open_in_memory()?;
/// let limits = AdmissionLimits::from_env()?.unwrap_or_default();
/// let admission = Admission::with_retry_after(limits, RetryAfter::default().drain(store.downgrade()));
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "sqlite", feature = "buffer")))]
/// # fn main() {}
/// ```
impl DrainRate for WeakShapeMeta {
    fn drain(&self) -> Drain {
        self.upgrade().map_or(Drain::default(), |store| Drain {
            pending: store.pending().shapes,
            per_second: store.drain_rate(),
        })
    }
}
