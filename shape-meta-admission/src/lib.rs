//! Admission control for whoever serves requests from a `shape-meta` store: at most so many requests of a kind
//! are worked on at a time, and the others are told at once when to come again.
//!
//! # What it is not
//!
//! No queue: nobody waits here, because a request that waits keeps its memory and its client's patience for
//! nothing. No rate limit either: it bounds how many requests there are at a time, not how many come in a second.
//! And it is not the bound of the write buffer, which stands below it and has its own refusal.
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
//! let refused = admission.try_acquire(Kind::Initial).expect_err("there is room for one");
//! println!("Retry-After: {}", refused.retry_after_seconds());
//!
//! permit.switch_to(Kind::Existing)?; // the shape exists now: others may make theirs
//! assert_eq!(admission.stats().initial.current, 0);
//! drop(permit);
//! assert_eq!(admission.stats().existing.current, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Kinds
//!
//! A request that may have to make a shape ([`Kind::Initial`]) costs far more than one that reads a shape which is
//! there ([`Kind::Existing`]). Each has its own limit, so that a redeploy, in which all clients make
//! shapes at once, does not shut out those who only read. [`Permit::switch_to`] moves a request from one
//! to the other when it turns out what it is.
//!
//! # Trade-offs
//!
//! The counts of both kinds are the two halves of one atomic word. So a permit is moved in one step, nobody
//! ever sees it in both kinds or in neither, and no moment exists in which a limit is exceeded. The price is that
//! the kinds share a cache line: under contention an acquire may repeat its compare-and-swap, tens of
//! nanoseconds each.
//!
//! # When to come again
//!
//! [`RetryAfter`] makes the delay from how much is pending and how fast it is written, both measured, with
//! a random part so that those who are refused together do not come back together.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `metrics` | no | `Admission::record_metrics`, for the `metrics` facade |
//! | `tower` | no | `AdmissionLayer`: a refusal becomes 503 with `Retry-After` |
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
pub use tower::{AdmissionFuture, AdmissionLayer, AdmissionService, Admitted, RequestPermit};
