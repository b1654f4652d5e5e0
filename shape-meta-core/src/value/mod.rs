//! Small value types: identities, numbers and times.

mod handle;
mod hash;
mod key;
mod relation;
mod seq;
mod snapshot;
mod timestamp;

pub use handle::{Handle, InvalidHandle};
pub use hash::DefinitionHash;
pub use key::{InvalidKey, Key};
pub use relation::{Relation, Relations};
pub use seq::Seq;
pub use snapshot::SnapshotState;
pub use timestamp::Timestamp;
