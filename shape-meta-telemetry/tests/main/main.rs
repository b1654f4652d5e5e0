//! What is told, under which names, at which levels and with which fields.

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
