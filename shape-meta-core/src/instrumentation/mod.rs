//! What a store reports about itself: events, health and resource usage.

mod health;
mod latencies;
mod observer;
mod usage;

pub use health::{Degradation, Health, HealthState, LastError};
pub use latencies::Latencies;
pub use observer::{
    Activity, Checkin, Checkout, DurabilityWait, EvictionStats, FlushStats, NoopObserver, Observer,
    OpenStats, PublishStats, RecoveryStats, Span,
};
pub use usage::{Connections, Usage};
