//! C6 with real processes: a child in the middle of a storm is killed with SIGKILL, and what its database
//! holds is compared with what it said before.

mod child;
mod many_threads;
mod one_thread;
mod parent;
mod queue;
