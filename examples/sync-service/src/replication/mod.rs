//! The changes of PostgreSQL: a logical replication stream with a slot and a publication of its own.

mod checkpoint;
mod pgoutput;
mod position;
mod slot;
mod stream;
mod transaction;

pub(crate) use checkpoint::{Applied, Checkpoints, Durable};
pub(crate) use position::PositionFile;
pub(crate) use slot::{create_publication, drop_others, open_slot};
pub(crate) use stream::Stream;
pub(crate) use transaction::{Change, Columns, Row, Transaction};
