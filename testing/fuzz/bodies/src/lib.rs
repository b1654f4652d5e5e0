//! What must hold for any bytes at all: reading them as a definition, as a trace or as a database never
//! panics, never takes one thing for another, and never loses what was there.
//!
//! Each function takes the bytes of one try and panics if something does not hold. The fuzzer in `fuzz/`
//! calls them with bytes of its making, and the tests here with a bounded number of damaged samples.

#![forbid(unsafe_code)]

mod damage;
mod database;
mod definition;
mod sample;
mod trace;

pub use damage::{Damage, Target};
pub use database::{Opening, database, database_bytes};
pub use definition::definition;
pub use sample::{Sample, sample};
pub use trace::trace;
