//! Waits for a state of a shape: a future of any runtime, or a blocking call with a time-out.
//!
//! A wait registers with its handle, looks at the shape, and sleeps. A layer that changes a shape wakes the
//! waits for its handle, and each looks again. So the only state is that of the shapes, and nothing polls.

mod milestone;
mod registry;
mod wait;
mod wait_ext;

pub use milestone::{Milestone, NotReached};
pub use registry::{ShapeWaits, Watch};
#[cfg(feature = "conformance")]
pub(crate) use wait::{ReadsBelow, wait_for};
pub use wait_ext::{AwaitShapes, AwaitShapesExt, LookUp};
