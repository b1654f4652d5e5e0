//! The emitted spans, events and metrics: names, levels, fields and labels.

mod capture;
mod everything;

#[cfg(feature = "metrics")]
mod metering;
mod names;
mod observers;
#[cfg(feature = "metrics")]
mod otel;
mod quiet;
#[cfg(feature = "metrics")]
mod reporter;
