//! Every switch of threads in the buffer, chosen by a scheduler: the boundary of a flush, back-pressure,
//! receipts, closing and pausing. See [`explore`](explore::explore) for how many, and how to repeat one.

mod explore;
mod support;

mod history;
mod model;

mod boundaries;
mod closing;
mod linear;
mod pausing;
mod receipts;
mod room;
