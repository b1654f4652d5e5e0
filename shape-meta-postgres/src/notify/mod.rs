//! How standbys learn of commits: `LISTEN` and `NOTIFY`, and polling where notifications do not arrive.
//!
//! An owner announces after the commit, on the connection that renews its lease, many stacks at once: a
//! notification within the transaction would make all commits of the server wait for each other. One that is
//! lost costs a standby the time until it polls.

mod channel;
mod listener;
mod subscription;

pub(crate) use channel::{Channel, News};
pub(crate) use listener::Listeners;
pub(crate) use subscription::{Owned, Subscription};
