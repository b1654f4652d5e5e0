//! Every switch of threads in the buffer, chosen by a scheduler: the boundary of a flush, back-pressure,
//! receipts, closing and pausing, one flush being published while the next is committed. See [`explore`](explore::explore) for how many, and how to repeat one.

mod explore;
mod support;

mod history;
mod model;

mod backpressure;
mod boundaries;
mod closing;
mod linear;
mod pausing;
mod pipeline;
mod receipts;
