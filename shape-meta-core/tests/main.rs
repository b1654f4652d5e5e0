//! The tests of the crate, in one binary.

mod compositions;
mod naive;

mod failing;
mod limits;
mod order;
mod orphans;
mod progress;
mod reads;
mod records;
mod room;
mod signal;
mod texts;
mod told;
