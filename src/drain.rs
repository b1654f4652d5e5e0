use shape_meta_admission::{Drain, DrainRate};
use shape_meta_core::StoreControl;

use crate::WeakShapeMeta;

/// What waits to be written, and how fast: so that who is shed is told to come again when there is room. Of a store
/// that is gone, nothing.
///
/// ```
/// # #[cfg(all(feature = "sqlite", feature = "buffer"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use shape_meta::{BufferOptions, NoopCleaner, ShapeMeta, admission::{Admission, Limits, RetryAfter}};
///
/// let store = ShapeMeta::builder(NoopCleaner).buffered(BufferOptions::default()).open_in_memory()?;
/// let limits = Limits::from_env()?.unwrap_or_default();
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
