//! Tests of the checker itself: it accepts valid histories and rejects invalid ones.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver};
use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{FailingStore, Faults},
};

use shape_meta_harness::linear::{
    call::{Answer, Asked, Call, No},
    rounds::{Recorded, has_an_order, play},
    table::{New, Table},
};

const NEW: New = New { key: 1, relations: 0b11 };

/// A recorded call: its thread, the times of its begin and end, the call, and the answer.
type Made = (usize, [u64; 2], Asked, Answer);

fn has_order(calls: impl IntoIterator<Item = Made>) -> bool {
    let recorded = |(thread, [begun, ended], asked, answer): Made| Recorded {
        thread,
        begun,
        ended,
        call: Call { asked, answer },
    };
    has_an_order(Table::default(), &calls.into_iter().map(recorded).collect::<Vec<_>>())
}

fn added(at: [u64; 2]) -> Made {
    (0, at, Asked::Add(0, NEW), Answer::Accepted(Ok(1)))
}

#[test]
fn a_read_during_an_add_may_see_it_or_not() {
    for answer in [None, Some(0)] {
        assert!(has_order([added([0, 3]), (1, [1, 2], Asked::HandleFor(1), Answer::Handle(answer))]));
    }
}

#[test]
fn c1_a_read_after_an_add_must_see_it_in_every_way() {
    for unseen in [
        (Asked::HandleFor(1), Answer::Handle(None)),
        (Asked::Metadata(0), Answer::Metadata(None)),
        (Asked::Record(0), Answer::Record(None)),
        (Asked::Touch(0), Answer::Live(false)),
        (Asked::Reading(0b10), Answer::Handles([].into())),
        (Asked::Counts, Answer::Counts((0, 0))),
        (Asked::Counts, Answer::Counts((1, 0))),
        (Asked::Scan, Answer::Scan(Vec::new())),
        (Asked::LastSeq, Answer::LastSeq(0)),
        (Asked::Remove(0), Answer::Accepted(Err(No::Unknown))),
        (Asked::GetOrAdd(2, NEW), Answer::Accepted(Ok(2))),
    ] {
        let (asked, answer) = unseen;
        assert!(
            !has_order([added([0, 1]), (1, [2, 3], asked.clone(), answer.clone())]),
            "{asked:?}: {answer:?}"
        );
    }
}

/// A shape that one index returns and another then misses, while its add is under way.
#[test]
fn c1_a_shape_that_is_half_visible_has_no_order() {
    let half = |first: (Asked, Answer), then: (Asked, Answer)| {
        has_order([added([0, 9]), (1, [1, 2], first.0, first.1), (1, [3, 4], then.0, then.1)])
    };
    let by_key = |seen: bool| (Asked::HandleFor(1), Answer::Handle(seen.then_some(0)));
    let by_handle = |seen: bool| (Asked::Metadata(0), Answer::Metadata(seen.then_some((1, 0))));
    let by_relation =
        |seen: bool| (Asked::Reading(0b10), Answer::Handles(if seen { [0].into() } else { [].into() }));
    let counted = |seen: bool| (Asked::Counts, Answer::Counts((seen.into(), seen.into())));
    let ways: [&dyn Fn(bool) -> (Asked, Answer); 4] = [&by_key, &by_handle, &by_relation, &counted];
    for first in ways {
        for then in ways {
            assert!(half(first(false), then(true)) && half(first(true), then(true)));
            assert!(!half(first(true), then(false)), "C1: half visible");
        }
    }
}

/// A cache that is configured for a buffer above it, but has none. It looks up keys on disk, so a shape is
/// visible by key before it is visible by handle. The threads must find that.
#[test]
fn c1_a_composition_that_publishes_in_two_steps_is_detected() {
    let faults = Faults::default();
    faults.slow_down(20);
    let below = FailingStore::with(MemoryStore::new(), faults);
    let options = CacheOptions::default().lookup_index(LookupIndex::Disk);
    let cached = Cached::open_below_buffer(below, options, Arc::new(NoopObserver)).expect("memory");
    let store = Direct::new(cached, Limits::default(), Arc::new(NoopObserver)).expect("memory");
    assert!(play(&Arc::new(store), 1, 2_000).is_err(), "the fault was not detected");
}
