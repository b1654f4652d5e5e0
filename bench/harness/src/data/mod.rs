//! The data of the workloads: sample shapes, and how many of them.

mod definition;
pub(crate) mod sample;
mod scale;

pub(crate) use scale::Scale;
