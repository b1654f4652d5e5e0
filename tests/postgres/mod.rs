//! Compositions over stacks in PostgreSQL. Without a server the tests are skipped: see `testing/postgres`.

mod clock;
mod standby;
mod support;

pub(crate) use support::Schema;
