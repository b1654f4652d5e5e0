//! C5 to C9 by histories of any kind, each step compared with the reference model. Nothing here is slow, so
//! these are many; what fails is shrunk.

use proptest::prelude::*;
use shape_meta_core::conformance::ops::{Op, lockstep};

use crate::support::OverFailing;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c5_c6_c8_c9_the_buffer_follows_the_model(
        ops in prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..80),
    ) {
        lockstep(&OverFailing::stepped(), &ops);
    }

    #[test]
    fn c5_c6_c8_c9_over_a_store_that_shows_things_late(
        ops in prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..80),
    ) {
        lockstep(&OverFailing::late_and_stepped(), &ops);
    }
}
