//! C6 with real processes: a child is killed with SIGKILL in the middle of a storm, and its database is
//! compared with its reports.

mod child;
mod loss_window;
mod many_threads;
mod one_thread;
mod parent;
mod stored_data;
