//! Recovery after a crash, and repair of damaged databases.

pub(crate) mod quarantine;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod salvage;

#[cfg(test)]
mod interrupted;

pub use recover::Recovery;
