//! The life of an open store: health, repair, close and drop.

mod close;
mod health;
mod repair;
pub(crate) use close::Closer;
