//! Which opening owns a stack (C11, C13).

pub(crate) mod opening;
pub(crate) mod owner;
pub(crate) mod position;
