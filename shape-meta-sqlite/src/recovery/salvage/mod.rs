//! Salvage: copies the sound rows of a damaged database into a new one.
//!
//! The damaged file is read page by page and without SQLite, which gives up on a table at its first damaged
//! page. The columns of a row identify its table, and a row is copied if its checksum matches. The damaged
//! file and its companions are only read.

mod btree;
mod journal;
mod page_cells;
mod page_image;
mod page_overrides;
mod record;
mod scan;
mod wal;

mod copy;
mod rebuild;
mod recognise;

pub(crate) use rebuild::{finish, rebuild};
pub(crate) use recognise::{has_sound_free_list, header, recognise};
