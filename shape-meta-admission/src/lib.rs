//! Admission control for servers on a `shape-meta` store. It limits the concurrent requests of each kind. A
//! request above the limit is rejected at once, with the time after which to retry.
//!
//! # What it is not
//!
//! It is not a queue: a request that waits would hold memory and keep its client waiting. It is not a rate
//! limit: it bounds the number of concurrent requests, not the number per second. It is not the limit of the
//! write buffer below, which applies its own backpressure.
//!
//! # Example
//!
//! ```
//! use shape_meta_admission::{Admission, Kind, AdmissionLimits};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = AdmissionLimits::from_json(r#"{"initial":1,"existing":10000}"#)?;
//! let admission = Admission::new(limits);
//!
//! let mut permit = admission.try_acquire(Kind::Initial)?;
//! let rejected = admission.try_acquire(Kind::Initial).expect_err("the limit is one");
//! println!("Retry-After: {}", rejected.retry_after_seconds());
//!
//! permit.switch_to(Kind::Existing)?; // the shape exists now: other requests may create theirs
//! assert_eq!(admission.stats().initial.current, 0);
//! drop(permit);
//! assert_eq!(admission.stats().existing.current, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Kinds
//!
//! A request that may create a shape ([`Kind::Initial`]) costs far more than one that reads an existing shape
//! ([`Kind::Existing`]). Each kind has its own limit. A redeploy, in which all clients create shapes at once,
//! therefore does not block clients that only read. [`Permit::switch_to`] moves a request to the other kind
//! when its cost changes.
//!
//! # Trade-offs
//!
//! The counts of both kinds are the two halves of one atomic word. A permit therefore moves in one step: it
//! is never counted in both kinds or in neither, and no limit is ever exceeded. The price is that the kinds
//! share a cache line. Under contention an acquire may repeat its compare-and-swap, tens of nanoseconds each.
//!
//! # When to retry
//!
//! [`RetryAfter`] computes the delay from the measured number of pending changes and the measured write rate.
//! A random part spreads the retries of requests that are rejected together.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `metrics` | no | `Admission::record_metrics`, for the `metrics` facade |
//! | `tower` | no | `AdmissionLayer`: a rejected request is answered with 503, `Retry-After` and a JSON body |
//!
#![cfg_attr(feature = "metrics", doc = include_str!("metrics.md"))]
//!
//! # Related crates
//!
//! `shape-meta` composes the store. This crate depends on none of the others.

#![forbid(unsafe_code)]

mod admission;
mod kind;
mod limits;
#[cfg(feature = "metrics")]
mod metering;
mod permit;
mod rejected;
mod retry;
mod stats;
#[cfg(feature = "tower")]
mod tower;

pub use admission::Admission;
pub use kind::Kind;
pub use limits::{AdmissionLimits, ENV, InvalidLimits, LimitsProblem};
pub use permit::Permit;
pub use rejected::Rejected;
pub use retry::{Drain, DrainRate, RetryAfter};
pub use stats::{KindStats, Stats};
#[cfg(feature = "tower")]
pub use tower::{
    AdmissionFuture, AdmissionLayer, AdmissionService, Admitted, JsonRejection, RejectionResponse,
    RequestPermit,
};
