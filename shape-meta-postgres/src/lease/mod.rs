//! The lease of a pool on the stacks that it owns, by the clock of the server (C11).
//!
//! Nothing that is stored depends on it: each commit checks the epoch. A lease says when another process may
//! take a stack over without force, and when the owner has to stop acknowledging what is in memory alone.
//!
//! **At most one owner acknowledges.** The server extends a lease that has not run out, and an owner counts
//! its time from before it sent the request, by a clock that only moves forward. So its lease ends for itself
//! first. An opening locks the row of the process before it takes a stack over. A lease that has run out is
//! not renewed, but begun anew, after which the owner looks which stacks are still its own.

mod keeper;
mod member;

pub(crate) use member::{Holding, Member, Members};
