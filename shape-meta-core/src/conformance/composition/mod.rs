//! The checks of a composition: what every [`MutateShapes`](crate::MutateShapes) must do.

mod creation;
mod durable;
mod eviction;
mod lookups;
mod recency;
mod refusals;
mod removal;
mod reopened;
mod threads;
mod unique;
mod visible;
mod waits;

pub use super::ops::c5_equals_the_reference;
pub use creation::*;
pub use durable::*;
pub use eviction::*;
pub use lookups::*;
pub use recency::*;
pub use refusals::*;
pub use removal::*;
pub use reopened::*;
pub use threads::*;
pub use unique::*;
pub use visible::*;
pub use waits::*;
