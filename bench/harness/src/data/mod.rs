//! The data of the workloads: sample shapes, and how many of them.

pub(crate) mod sample;
mod scale;

pub(crate) use scale::Scale;
