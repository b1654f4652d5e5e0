//! The recorded histories of the tests, for as long as one likes.

#[path = "../../tests/linear/call.rs"]
mod call;
#[path = "../../tests/linear/rounds.rs"]
mod rounds;
#[path = "../../tests/linear/table.rs"]
mod table;

pub(crate) use rounds::play;
