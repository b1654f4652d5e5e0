//! Recorded histories and the checker that searches them for a linear order.

pub mod call;
pub mod rounds;
pub mod table;
