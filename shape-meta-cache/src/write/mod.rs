mod apply;
mod in_flight;
mod refresh;
mod sweep;
mod update;
mod writer;

#[cfg(test)]
pub(crate) use self::update::MirrorUpdate;
pub(crate) use self::{in_flight::InFlight, writer::Writer};
