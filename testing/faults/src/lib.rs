//! A disk that fails as told, below SQLite.
//!
//! A SQLite VFS that passes every call on to the default one, unless a [`Disk`] was made over the directory
//! of the file. Then the disk counts the calls and can let them fail, run out of space, be slow, lose its
//! open files, and lose its power: it knows which writes were synced, and makes an image of what could be
//! left of the others.
//!
//! ```
//! use shape_meta_faults::{Cut, Disk, Failure, Op, VFS, When};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let disk = Disk::over(directory.path())?;
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
//! - A write is in memory until its file is synced. A power cut may keep any of the writes since then, or
//!   any of their sectors.
//! - A sync that fails loses what was written before it: as on Linux, the next one does not try again, while
//!   reads still show it.
//! - A new name, and the end of one, is in memory until the directory is synced. SQLite does that with the
//!   first sync of a journal or log that it has made, and when it deletes a journal.
//! - Syncs are not passed on, since the model knows what is safe; so tests do not wait for the real disk.
//! - Shared memory is gone after a power cut.
//!
//! What does not go through SQLite is not seen: the lock file of a store, and the moving aside of a damaged
//! database.
//!
//! # Why not a crate
//!
//! `sqlite-plugin` asks for an implementation of every call, the locks and the shared memory of a log among
//! them, and cannot pass them on; its build needs libclang. `sqlite-vfs` has not been looked after since
//! 2022. What is needed here is the default VFS with a gate before it: one small file with `unsafe` in it.

#![deny(unsafe_code)]

mod fault;
mod op;

mod disk;
mod file;

mod cut;
mod model;

mod registry;
#[expect(unsafe_code, reason = "the calls of SQLite, as C makes them; a proof at each use")]
mod shim;

pub use cut::Cut;
pub use disk::Disk;
pub use fault::{Failure, When};
pub use op::Op;

/// The name of the VFS, registered with the first [`Disk`].
pub const VFS: &str = "shape-meta-faults";
