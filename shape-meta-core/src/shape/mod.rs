//! The ready-made definition: a filtered view of one PostgreSQL table, its JSON, its key, and a reader of
//! traces of such definitions.

mod log;
mod replica;
mod table;

mod model;

mod canonical;
mod filter;
mod json;
mod token;

mod trace;

pub use json::InvalidShape;
pub use log::LogMode;
pub use model::Shape;
pub use replica::Replica;
pub use table::TableName;
pub use trace::{Trace, TraceError};
