use std::{
    sync::{
        Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use fastrand::Rng;
use shape_meta::MutateShapes;
use todc_utils::linearizability::{
    WGLChecker,
    history::{Action, History},
};

use super::{
    call::{Call, Request, Response, table},
    table::Table,
};

const THREADS: u64 = 4;
/// Calls of each thread in one round. The search for a linear order is exponential in the worst case, so a
/// history is split into rounds, between which all threads are idle.
const CALLS: usize = 8;

/// A call of a thread, with the times of its start and its end.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    pub thread: usize,
    pub start: u64,
    pub end: u64,
    pub call: Call,
}

/// Runs rounds of concurrent calls on a store, and checks that each round is linearizable (C1).
///
/// The seed determines the calls, and the scheduler how they interleave.
///
/// # Errors
///
/// The calls of the first round that is not linearizable.
pub fn run_rounds(
    store: &(impl MutateShapes + Clone + 'static),
    seed: u64,
    rounds: usize,
) -> Result<(), Vec<RecordedCall>> {
    let (mut before, clock) = (table(store), AtomicU64::new(0));
    let start_line = Barrier::new(THREADS as usize);
    for round in 0..rounds {
        let calls = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, start_line, calls, clock) = (store.clone(), &start_line, &calls, &clock);
                let mut random = Rng::with_seed(seed ^ (round as u64) << 8 ^ thread);
                scope.spawn(move || {
                    let request = if round % 2 == 0 { Request::random } else { Request::random_recency };
                    let requests: Vec<_> = (0..CALLS).map(|_| request(&mut random)).collect();
                    start_line.wait();
                    let requests = requests.into_iter();
                    let recorded: Vec<_> =
                        requests.map(|request| record(&store, clock, thread as usize, request)).collect();
                    calls.lock().expect("no thread panics while it holds the lock").extend(recorded);
                });
            }
        });
        let mut calls = calls.into_inner().expect("no thread panics while it holds the lock");
        // The final state belongs to the history, and is the initial state of the next round.
        let after = table(store);
        for request in [Request::Scan, Request::LastSeq, Request::LeastRecentlyUsed(u8::MAX, 0)] {
            calls.push(record(store, &clock, THREADS as usize, request));
        }
        if !is_linearizable(before, &calls) {
            return Err(calls);
        }
        before = after;
    }
    Ok(())
}

fn record(store: &impl MutateShapes, clock: &AtomicU64, thread: usize, request: Request) -> RecordedCall {
    // Ticks are unique and totally ordered across processors, which clock times are not.
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let start = tick();
    let response = request.send(store);
    RecordedCall { thread, start, end: tick(), call: Call { request, response } }
}

/// Whether a sequential store that starts with this table gives all these responses in some order that keeps
/// a call after every call that ended before it started.
pub fn is_linearizable(before: Table, calls: &[RecordedCall]) -> bool {
    let mut actions = Vec::new();
    for recorded in calls {
        let call = with_touches(recorded, &before, calls);
        actions.push((recorded.start, recorded.thread, Action::Call(call.clone())));
        actions.push((recorded.end, recorded.thread, Action::Response(call)));
    }
    actions.sort_by_key(|(at, ..)| *at);
    let begin = Call { request: Request::Begin(before), response: Response::Nothing };
    let mut history = vec![(0, Action::Call(begin.clone())), (0, Action::Response(begin))];
    history.extend(actions.into_iter().map(|(_, thread, action)| (thread, action)));
    WGLChecker::<Table>::is_linearizable(History::from_actions(history))
}

/// Returns the call, and for a read of the least recently used shapes the touches that it must and that it
/// may have seen.
fn with_touches(read: &RecordedCall, before: &Table, calls: &[RecordedCall]) -> Call {
    let mut call = read.call.clone();
    if let Response::LeastRecentlyUsed(found) = &mut call.response {
        found.earlier.extend(before.touches.values().flatten());
        for other in calls {
            match other.call.request {
                Request::Touch(_, at) if other.end < read.start => drop(found.earlier.insert(at)),
                Request::Touch(handle, at) if other.start < read.end => found.during.push((handle, at)),
                _ => {}
            }
        }
    }
    call
}
