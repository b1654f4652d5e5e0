//! Transactions become frames in the logs of the shapes that they change. One thread does it, so every log
//! has its transactions in the order of their commits.

mod applier;
mod messages;
mod shape;

pub(crate) use applier::{Applier, Input, SnapshotDone};
pub(crate) use messages::Messages;
