//! Options of a pool and of a store.

mod durability;
mod options;
mod pool_options;
mod schema_name;
mod tls;

pub use durability::Durability;
pub use options::PostgresOptions;
pub use pool_options::PoolOptions;
pub(crate) use schema_name::SchemaName;
pub(crate) use tls::Encryption;
#[cfg(feature = "rustls")]
pub use tls::Tls;
