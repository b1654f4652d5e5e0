//! Tests of the checker itself: it accepts valid histories and rejects invalid ones.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver};
use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{FailingStore, Faults},
};

use shape_meta_harness::linear::{
    call::{Call, LeastUsed, Refused, Request, Response},
    rounds::{RecordedCall, is_linearizable, run_rounds},
    table::{NewRow, Table},
};

const NEW: NewRow = NewRow { key: 1, relations: 0b11 };

/// A recorded call: its thread, the times of its begin and end, the call, and the response.
type Made = (usize, [u64; 2], Request, Response);

fn has_order(calls: impl IntoIterator<Item = Made>) -> bool {
    let recorded = |(thread, [start, end], request, response): Made| RecordedCall {
        thread,
        start,
        end,
        call: Call { request, response },
    };
    is_linearizable(Table::default(), &calls.into_iter().map(recorded).collect::<Vec<_>>())
}

fn added(at: [u64; 2]) -> Made {
    (0, at, Request::Add(0, NEW), Response::Accepted(Ok(1)))
}

#[test]
fn a_read_during_an_add_may_see_it_or_not() {
    for response in [None, Some(0)] {
        assert!(has_order([added([0, 3]), (1, [1, 2], Request::HandleFor(1), Response::Handle(response))]));
    }
}

#[test]
fn c1_a_read_after_an_add_must_see_it_in_every_way() {
    for unseen in [
        (Request::HandleFor(1), Response::Handle(None)),
        (Request::Metadata(0), Response::Metadata(None)),
        (Request::Record(0), Response::Record(None)),
        (Request::Touch(0, 1), Response::Live(false)),
        (Request::HandlesForRelations(0b10), Response::Handles([].into())),
        (Request::Counts, Response::Counts((0, 0))),
        (Request::Counts, Response::Counts((1, 0))),
        (Request::Scan, Response::Scan(Vec::new())),
        (Request::LastSeq, Response::LastSeq(0)),
        (Request::Remove(0), Response::Accepted(Err(Refused::UnknownHandle))),
        (Request::GetOrAdd(2, NEW), Response::Accepted(Ok(2))),
    ] {
        let (request, response) = unseen;
        assert!(
            !has_order([added([0, 1]), (1, [2, 3], request.clone(), response.clone())]),
            "{request:?}: {response:?}"
        );
    }
}

/// A shape that one index returns and another then misses, while its add is under way.
#[test]
fn c1_a_shape_that_is_half_visible_has_no_order() {
    let half = |first: (Request, Response), then: (Request, Response)| {
        has_order([added([0, 9]), (1, [1, 2], first.0, first.1), (1, [3, 4], then.0, then.1)])
    };
    let by_key = |seen: bool| (Request::HandleFor(1), Response::Handle(seen.then_some(0)));
    let by_handle = |seen: bool| (Request::Metadata(0), Response::Metadata(seen.then_some((1, 0))));
    let by_relation = |seen: bool| {
        (Request::HandlesForRelations(0b10), Response::Handles(if seen { [0].into() } else { [].into() }))
    };
    let counted = |seen: bool| (Request::Counts, Response::Counts((seen.into(), seen.into())));
    let ways: [&dyn Fn(bool) -> (Request, Response); 4] = [&by_key, &by_handle, &by_relation, &counted];
    for first in ways {
        for then in ways {
            assert!(half(first(false), then(true)) && half(first(true), then(true)));
            assert!(!half(first(true), then(false)), "C1: half visible");
        }
    }
}

/// The least recently used shape must be returned by each read that starts after it was touched. A read
/// during two touches may miss the first one and see the second one.
#[test]
fn c1_a_read_that_misses_the_least_used_shape_has_no_order() {
    let both = || {
        let other = NewRow { key: 0, relations: 0 };
        let second = (0, [2, 3], Request::Add(1, other), Response::Accepted(Ok(2)));
        [added([0, 1]), second]
    };
    let touch = |handle, time, at| (0, at, Request::Touch(handle, time), Response::Live(true));
    let read = |n, at, found: &[(u8, u64)]| {
        let found = LeastUsed { found: found.to_vec(), ..LeastUsed::default() };
        (1, at, Request::LeastRecentlyUsed(n, 0), Response::LeastRecentlyUsed(found))
    };
    let touches = || [touch(0, 10, [4, 5]), touch(1, 20, [6, 7])];
    let has = |read: Made| has_order(both().into_iter().chain(touches()).chain([read]));
    assert!(has(read(1, [8, 9], &[(0, 10)])) && has(read(2, [8, 9], &[(0, 10), (1, 20)])));
    assert!(
        !has(read(1, [8, 9], &[(1, 20)])) && !has(read(2, [8, 9], &[(1, 20)])),
        "C1: it misses the least recently used shape"
    );
    let during = |found: &[(u8, u64)]| {
        let [first, second] = [touch(0, 10, [5, 6]), touch(1, 20, [7, 8])];
        has_order(both().into_iter().chain([read(1, [4, 9], found), first, second]))
    };
    assert!(during(&[]) && during(&[(0, 10)]) && during(&[(1, 20)]));
    assert!(!during(&[(0, 20)]), "a time that the shape never had");
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
    assert!(run_rounds(&Arc::new(store), 1, 2_000).is_err(), "the fault was not detected");
}
