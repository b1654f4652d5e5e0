//! Recorded histories, and a checker that searches each of them for a linear order (C1).

pub mod call;
pub mod rounds;
pub mod table;
