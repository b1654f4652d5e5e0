//! The checks of a store: what every [`ShapeStore`](crate::ShapeStore) must do, and functions that make
//! changes as validation makes them.

mod changes;
mod checks;

pub use changes::{added, apply, marked, record, removed};
pub use checks::*;
