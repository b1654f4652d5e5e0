//! Admission control from outside.

mod limits;
#[cfg(feature = "metrics")]
mod metering;
mod model;
mod permits;
mod storm;
#[cfg(feature = "tower")]
mod tower;

use shape_meta_admission::{Admission, Limits};

fn admission(initial: u32, existing: u32) -> Admission {
    Admission::new(Limits { initial, existing })
}
