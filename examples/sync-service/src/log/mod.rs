//! The log of a shape: an append-only file of frames. The first frame is the header, the next ones hold the
//! snapshot, and each of the others holds what one transaction changed in the shape.
//!
//! Only one thread appends to a log. Readers take whole frames up to the first that is not valid, so they
//! need no lock and no index: an offset contains the file position at which to go on.

mod frame;
mod header;
mod offset;
mod read;
mod write;

pub(crate) use header::{Header, Snapshot};
pub(crate) use offset::{After, Offset};
pub(crate) use read::{Chunk, read};
pub(crate) use write::{LogWriter, sync};
