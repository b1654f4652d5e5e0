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
    call::{Answer, Asked, Call, table},
    table::Table,
};

const THREADS: u64 = 4;
/// By each thread in one round. The search for an order is exponential in the worst case, so a history is cut
/// where all threads are at rest.
const CALLS: usize = 8;

/// A call by a thread, with the time between which it happened.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub thread: usize,
    pub begun: u64,
    pub ended: u64,
    pub call: Call,
}

/// Lets threads loose on this store for so many rounds, and checks each of them.
///
/// The calls are those of the seed; how the threads meet is for the scheduler to say.
///
/// # Errors
///
/// The first round that has no order.
pub fn play(
    store: &(impl MutateShapes + Clone + 'static),
    seed: u64,
    rounds: usize,
) -> Result<(), Vec<Recorded>> {
    let (mut before, clock) = (table(store), AtomicU64::new(0));
    let meet = Barrier::new(THREADS as usize);
    for round in 0..rounds {
        let all = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, meet, all, clock) = (store.clone(), &meet, &all, &clock);
                let mut random = Rng::with_seed(seed ^ (round as u64) << 8 ^ thread);
                scope.spawn(move || {
                    let asked: Vec<_> = (0..CALLS).map(|_| Asked::any(&mut random)).collect();
                    meet.wait();
                    let asked = asked.into_iter();
                    let recorded: Vec<_> =
                        asked.map(|asked| record(&store, clock, thread as usize, asked)).collect();
                    all.lock().expect("nobody panics under it").extend(recorded);
                });
            }
        });
        let mut all = all.into_inner().expect("nobody panics under it");
        // What the store holds when all are done belongs to the history, and is where the next one begins.
        let after = table(store);
        for asked in [Asked::Scan, Asked::LastSeq] {
            all.push(record(store, &clock, THREADS as usize, asked));
        }
        if !has_an_order(before, &all) {
            return Err(all);
        }
        before = after;
    }
    Ok(())
}

fn record(store: &impl MutateShapes, clock: &AtomicU64, thread: usize, asked: Asked) -> Recorded {
    // No two ticks are the same, and those of different processors are of one order, unlike the times that
    // they tell.
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let begun = tick();
    let answer = asked.of(store);
    Recorded { thread, begun, ended: tick(), call: Call { asked, answer } }
}

/// Whether a sequential store, beginning with this table, could have given all these answers in some order in
/// which no call comes before one that had ended when it began.
pub fn has_an_order(before: Table, all: &[Recorded]) -> bool {
    let mut actions = Vec::new();
    for Recorded { thread, begun, ended, call } in all {
        actions.push((*begun, *thread, Action::Call(call.clone())));
        actions.push((*ended, *thread, Action::Response(call.clone())));
    }
    actions.sort_by_key(|(at, ..)| *at);
    let begin = Call { asked: Asked::Begin(before), answer: Answer::Nothing };
    let mut history = vec![(0, Action::Call(begin.clone())), (0, Action::Response(begin))];
    history.extend(actions.into_iter().map(|(_, thread, action)| (thread, action)));
    WGLChecker::<Table>::is_linearizable(History::from_actions(history))
}
