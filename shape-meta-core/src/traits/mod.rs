//! The traits of stores and layers, and the types of their arguments and results.

mod check;
mod read;
mod read_ext;

mod capabilities;
mod store;

mod control;
mod mutate;
mod mutate_ext;

mod forward;

mod delta;
mod dependency_order;
mod repair;

pub use capabilities::{ChangeLog, LastReadStore, RebuildStore};
pub use check::{Check, check_key};
pub use control::{CloseReport, Pending, StoreControl, Unwritten};
pub use delta::{Delta, RefreshReport, SweepProgress};
pub use mutate::{AttemptContext, GetOrAdd, MutateShapes, Submitted};
pub use mutate_ext::{MutateShapesExt, Wait};
pub use read::{HandleSet, LeastRecentlyUsed, ReadShapes, Scan};
pub use read_ext::ReadShapesExt;
pub use repair::{Lost, Repaired, TrustedState};
pub use store::{ShapeStore, ShapeStoreExt};
