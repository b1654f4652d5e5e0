//! Model tests: sequences of operations, for a composition and the reference in step.
//!
//! An operation is made from any six bytes, so a property test generates sequences without knowing
//! operations, and shrinks them well:
//!
//! ```ignore
//! proptest! {
//!     #[test]
//!     fn c5_buffered_equals_direct(ops in vec(any::<[u8; 6]>().prop_map(Op::from), 1..80)) {
//!         lockstep(&OverMemory, &ops);
//!     }
//! }
//! ```

mod history;
mod lockstep;
mod op;
mod spec;

pub use history::History;
pub use lockstep::{Lockstep, lockstep};
pub use op::Op;
pub use spec::{HANDLES, KEYS, RELATIONS, Spec};

use super::Fixture;

/// Random sequences of all operations, on the composition and on the reference: C5.
pub fn c5_equals_the_reference<F: Fixture>(fixture: &F) {
    for seed in 0..8 {
        lockstep(fixture, &Op::random(seed, 150));
    }
}
