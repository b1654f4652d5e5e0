//! C5 to C9 by random histories, each step compared with the reference model. A failing history is shrunk.

use proptest::prelude::*;
use shape_meta_core::conformance::ops::{Op, ShapeSpec, lockstep};

use crate::support::OverFailing;

/// Operations on a few shapes that take over each other's handles and keys, while changes of some are
/// rejected in a flush during which others are accepted. Histories of all operations hardly ever do that.
fn rejections() -> impl Strategy<Value = Op> {
    let few = || 0..3_u8;
    let add = (few(), few(), 1..3_u8).prop_map(|(handle, key, relations)| {
        Op::Add(ShapeSpec { handle, key, relations, dependencies: 0, size: 1 })
    });
    prop_oneof![
        8 => add,
        8 => few().prop_map(|handle| Op::Remove { handle }),
        1 => few().prop_map(|handle| Op::MarkStarted { handle }),
        1 => Just(Op::Reset),
        3 => (0..2_u8).prop_map(|kind| Op::PartialFlush { kind }),
        2 => Just(Op::Flush),
        3 => (few(), 0..2_u8).prop_map(|(handle, kind)| Op::RejectHandle { handle, kind }),
        1 => Just(Op::ClearFaults),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c5_c6_c8_c9_the_buffer_follows_the_model(
        ops in prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..80),
    ) {
        lockstep(&OverFailing::stepped(), &ops);
    }

    #[test]
    fn c5_c6_c8_c9_with_a_deferred_publish(
        ops in prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..80),
    ) {
        lockstep(&OverFailing::late_and_stepped(), &ops);
    }

    #[test]
    fn c8_rejections_while_more_is_accepted(ops in prop::collection::vec(rejections(), 1..60)) {
        lockstep(&OverFailing::stepped(), &ops);
        lockstep(&OverFailing::late_and_stepped(), &ops);
    }
}
