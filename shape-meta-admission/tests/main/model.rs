//! Random operations compared with a plain list of kinds.

use proptest::prelude::*;
use shape_meta_admission::{Kind, Permit};

use crate::admission;

#[derive(Clone, Debug)]
enum Op {
    Acquire(Kind),
    Switch(prop::sample::Index, Kind),
    Release(prop::sample::Index),
    /// A release during unwinding.
    Panic(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let kind = || prop::sample::select(&Kind::ALL[..]);
    prop_oneof![
        3 => kind().prop_map(Op::Acquire),
        2 => (any::<prop::sample::Index>(), kind()).prop_map(|(at, kind)| Op::Switch(at, kind)),
        1 => any::<prop::sample::Index>().prop_map(Op::Release),
        1 => any::<prop::sample::Index>().prop_map(Op::Panic),
    ]
}

proptest! {
    #[test]
    fn permits_equal_a_list_of_kinds(initial in 0..5_u32, existing in 0..5_u32, ops in prop::collection::vec(op(), 0..80)) {
        let admission = admission(initial, existing);
        let limit = |kind| match kind { Kind::Initial => initial, Kind::Existing => existing };
        let mut permits: Vec<Permit> = Vec::new();
        let mut model: Vec<Kind> = Vec::new();
        let mut totals = [(0, 0); 2];

        for op in ops {
            let has_capacity = |model: &[Kind], kind| {
                (model.iter().filter(|held| **held == kind).count() as u32) < limit(kind)
            };
            let mut count = |kind: Kind, admitted: bool| {
                let (acquired, rejected) = &mut totals[kind as usize];
                *if admitted { acquired } else { rejected } += 1;
            };
            match op {
                Op::Acquire(kind) => {
                    let admitted = admission.try_acquire(kind);
                    prop_assert_eq!(admitted.is_ok(), has_capacity(&model, kind));
                    count(kind, admitted.is_ok());
                    if let Ok(permit) = admitted {
                        permits.push(permit);
                        model.push(kind);
                    }
                }
                Op::Switch(at, kind) if !model.is_empty() => {
                    let at = at.index(model.len());
                    let expected = model[at] == kind || has_capacity(&model, kind);
                    prop_assert_eq!(permits[at].switch_to(kind).is_ok(), expected);
                    if model[at] != kind {
                        count(kind, expected);
                    }
                    if expected {
                        model[at] = kind;
                    }
                }
                Op::Release(at) if !model.is_empty() => {
                    let at = at.index(model.len());
                    drop(permits.swap_remove(at));
                    model.swap_remove(at);
                }
                Op::Panic(at) if !model.is_empty() => {
                    let at = at.index(model.len());
                    let permit = permits.swap_remove(at);
                    model.swap_remove(at);
                    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                        let _permit = permit;
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }));
                    prop_assert!(unwound.is_err());
                }
                _ => {}
            }
            for (permit, kind) in permits.iter().zip(&model) {
                prop_assert_eq!(permit.kind(), *kind);
            }
            let stats = admission.stats();
            for kind in Kind::ALL {
                let stats = stats.of(kind);
                let held = model.iter().filter(|held| **held == kind).count();
                prop_assert_eq!(stats.current as usize, held);
                prop_assert_eq!((stats.acquired, stats.rejected), totals[kind as usize]);
                prop_assert_eq!(stats.limit, limit(kind));
            }
        }
        drop(permits);
        prop_assert_eq!(admission.stats().initial.current + admission.stats().existing.current, 0);
    }
}
