//! The tables, their rows, and the statements.

pub(crate) mod cleanup;
pub(crate) mod lineage;
pub(crate) mod lookups;
pub(crate) mod migrate;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod stack_row;
pub(crate) mod stamp;
pub(crate) mod statements;
