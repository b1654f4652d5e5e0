//! Model tests: sequences of operations on a composition and on the reference model in step.
//!
//! Any six bytes make an operation, so a property test can generate sequences from bytes and shrink them
//! well:
//!
//! ```ignore
//! proptest! {
//!     #[test]
//!     fn c5_buffered_equals_direct(ops in vec(any::<[u8; 6]>().prop_map(Op::from), 1..80)) {
//!         lockstep(&OverMemory, &ops);
//!     }
//! }
//! ```

mod follower;
mod history;
mod lockstep;
mod op;
mod spec;

pub use history::History;
pub use lockstep::{Lockstep, lockstep};
pub use op::Op;
pub use spec::{HANDLES, KEYS, RELATIONS, ShapeSpec};

use super::CompositionFixture;

/// Random sequences of all operations have the same outcomes on the composition and on the reference model
/// (C5).
pub fn c5_equals_the_reference<F: CompositionFixture>(fixture: &F) {
    for seed in 0..8 {
        lockstep(fixture, &Op::random(seed, 150));
    }
}
