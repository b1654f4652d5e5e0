//! Electric's HTTP API.

mod query;
mod respond;
mod serve;
mod shape;
mod sse;

pub(crate) use serve::{Service, serve};
