//! The command as a script uses it: its output, its exit codes, and which files it changes.

mod support;

mod corruption;
mod live_owner;
mod operators;
mod read_only;
#[cfg(all(unix, feature = "postgres"))]
mod stacks;
#[cfg(unix)]
mod terminal;
mod transfer;
mod words;
