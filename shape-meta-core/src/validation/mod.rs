//! From a mutation to a change: limits, refusals, and the rules C2 to C4.

mod change;
mod limits;
mod mutation;
mod refusal;
mod removal;
mod validate;

pub use change::{Batch, Change};
pub use limits::Limits;
pub use mutation::{Mutation, NewShape};
pub use refusal::Refusal;
pub use removal::{Removal, Selection};
pub use validate::{Existing, validate, validate_add};
