//! A disk below SQLite with faults that a test sets.
//!
//! The package registers a SQLite VFS that passes every call on to the default VFS. If a [`Disk`] is mounted
//! over the directory of the file, the disk counts the calls. It can make them fail, run out of space, be
//! slow, hang, lose its open files, or lose its power. It knows which writes were synced, and makes images of
//! what a power cut could leave of the others.
//!
//! ```
//! use shape_meta_faults::{Cut, Disk, Failure, Op, VFS, When};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let disk = Disk::mount(directory.path())?;
//! let path = directory.path().join("database");
//! let connection = rusqlite::Connection::open_with_flags_and_vfs(&path, Default::default(), VFS)?;
//! connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")?;
//!
//! disk.fail(Op::Sync, When::Next, Failure::Io);
//! assert!(connection.execute_batch("INSERT INTO t VALUES (2)").is_err());
//! connection.execute_batch("INSERT INTO t VALUES (3)")?;
//!
//! disk.power_off();
//! let left = tempfile::tempdir()?;
//! disk.image(left.path(), Cut::Torn(42))?;
//! let connection = rusqlite::Connection::open(left.path().join("database"))?;
//! let sum: i64 = connection.query_row("SELECT sum(x) FROM t", [], |row| row.get(0))?;
//! assert_eq!(sum, 4);
//! # Ok(())
//! # }
//! ```
//!
//! # What is modelled
//!
//! - A write is volatile until its file is synced. After a power cut, any subset of the writes since the last
//!   sync may survive, or any subset of their sectors.
//! - A sync that fails loses the writes before it. As on Linux, the next sync does not write them again,
//!   while reads still return them.
//! - The creation or deletion of a name is volatile until the directory is synced. SQLite syncs it with the
//!   first sync of a journal or WAL that it has created, and when it deletes a journal.
//! - Syncs are not passed on, because the model decides what is durable. So tests do not wait for the real
//!   disk.
//! - Shared memory is lost in a power cut.
//!
//! File operations that bypass SQLite are not modelled: the lock file of a store, and moving a damaged
//! database aside.
//!
//! # Why not a crate
//!
//! `sqlite-plugin` requires an implementation of every call, including locks and the shared memory of a WAL,
//! and cannot pass them on; its build needs libclang. `sqlite-vfs` has not been maintained since 2022. This
//! package needs only the default VFS behind a filter: one file with `unsafe` in it.

#![deny(unsafe_code)]

mod fault;
mod op;

mod cut;
mod model;

mod file;
mod registry;
mod state;
#[expect(unsafe_code, reason = "SQLite calls it through C function pointers; a proof at each use")]
mod vfs;

mod disk;

pub use cut::Cut;
pub use disk::{Disk, Hang};
pub use fault::{Failure, When};
pub use op::Op;
pub use vfs::VFS;
