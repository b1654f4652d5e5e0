//! Carrying what is sound in a damaged database into a fresh one.
//!
//! The damaged file is read page by page and without SQLite, which gives up a table at its first damaged page.
//! Each row is told by its columns, and taken if it verifies. Nothing is written to the damaged file, or beside
//! it under a name of SQLite's.

mod btree;
mod cells;
mod found;
mod image;
mod log;
mod record;

mod carry;
mod rebuild;

pub(crate) use rebuild::{finish, rebuild};
