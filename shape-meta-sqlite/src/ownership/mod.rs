//! Ownership of a database: the owner lock, the row that names the owner, and the identity of files.

pub(crate) mod file_id;
pub(crate) mod lock;
pub(crate) mod opening;
pub(crate) mod owner;
pub(crate) mod position;
pub(crate) mod presence;
pub(crate) mod witness;
