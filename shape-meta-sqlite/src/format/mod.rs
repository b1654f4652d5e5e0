//! The file format: files, tables, rows and checksums, and the statements that read and write them.

pub(crate) mod block;
pub(crate) mod cleanup;
pub(crate) mod compat;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod lineage;
pub(crate) mod meta;
pub(crate) mod migrate;
pub(crate) mod query;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod stamp;
pub(crate) mod tables;
