//! Eviction of the least recently used shapes.

mod eviction;
mod options;
mod pins;
mod policy;
mod removal;

pub use eviction::Eviction;
pub use options::EvictorOptions;
pub use policy::Evictor;
