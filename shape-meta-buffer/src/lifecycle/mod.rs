//! The states of an open store: health, repair, close.

mod close;
mod health;
mod repair;

pub(crate) use health::{Condition, Phase};
