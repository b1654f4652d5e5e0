//! What keeps two owners apart: the owner lock, the identity of files, and the files that this process has
//! open.

pub(crate) mod file_id;
pub(crate) mod lock;
pub(crate) mod owner;
pub(crate) mod presence;
