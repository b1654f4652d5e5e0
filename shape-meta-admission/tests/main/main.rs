//! The public interface of admission control.

mod limits;
#[cfg(feature = "metrics")]
mod metering;
mod model;
mod option_extremes;
mod permits;
mod storm;
#[cfg(feature = "tower")]
mod tower;

use shape_meta_admission::{Admission, AdmissionLimits};

fn admission(initial: u32, existing: u32) -> Admission {
    Admission::new(AdmissionLimits { initial, existing })
}
