//! The buffer under a scheduler that chooses every context switch: the boundary of a flush, backpressure,
//! receipts, close and pause, feeds, and a flush that is published while the next one is committed; and the
//! queue of a store without a buffer. [`explore`](explore::explore) says how many schedules are run, and how
//! to replay one.

mod explore;
mod support;

mod history;
mod model;

mod backpressure;
mod boundaries;
mod closing;
mod eviction;
mod feeds;
mod group_commit;
mod linear;
mod pausing;
mod pipeline;
mod receipts;
mod waits;
