//! The results of a run: figures, the machine that they were measured on, and the comparison with an earlier
//! run.

mod baseline;
mod figure;
mod machine;
mod measure;
mod number;
mod outcome;
mod spread;

pub(crate) use baseline::compare;
pub(crate) use figure::{At, Better, Figure, Target};
pub(crate) use machine::Machine;
pub(crate) use measure::Measure;
pub(crate) use number::number;
pub(crate) use outcome::Outcome;

#[cfg(test)]
pub(crate) use figure::{Limit, example};
