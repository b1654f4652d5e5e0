//! C14: the futures of a store never block an executor, on any composition, whatever the disk does. An
//! executor with a single thread runs each of them next to a ticker, and the ticks are counted while the disk
//! hangs. No time is measured.

mod ticker;

mod dropped;
mod last_clone;
mod pool;
mod standby;
mod store;
mod stream;
