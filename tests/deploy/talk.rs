//! What both processes have in common: shapes by their numbers, threads that read all the time, and lines to the parent.

use std::{
    io::{Write, stdin, stdout},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use shape_meta::{
    Handle, MutateError, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt, ShapeMeta, Timestamp,
};
use shape_meta_core::conformance::shape;

use shape_meta_harness::compositions::WAIT;

/// The parent is told of every so many reads.
const READS: usize = 64;

pub(super) fn handle(number: u64) -> Handle {
    Handle::new(format!("{number}")).expect("digits are printable")
}

pub(super) fn number_of(handle: &Handle) -> u64 {
    handle.as_str().parse().expect("all handles are numbers")
}

/// A line to the parent, as a whole. Without a parent there is nothing to go on for.
pub(super) fn say(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// The next line of the parent.
pub(super) fn told() -> String {
    let mut line = String::new();
    match stdin().read_line(&mut line) {
        Ok(1..) => line.trim().to_owned(),
        _ => process::exit(1),
    }
}

/// Shapes that are known to be complete, and so to stay.
#[derive(Default)]
pub(super) struct TrustedState(Mutex<Vec<u64>>);

impl TrustedState {
    pub(super) fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
    }

    fn any(&self, random: &mut fastrand::Rng) -> Option<u64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.choice(&*known).copied()
    }
}

/// Reads known shapes in every way until it is time to end. None may ever be missing, and no read may fail.
pub(super) fn read(store: &impl ReadShapes, known: &TrustedState, ends: &AtomicBool) {
    let mut random = fastrand::Rng::new();
    let mut reads = 0;
    while !ends.load(Ordering::Relaxed) {
        let Some(number) = known.any(&mut random) else { continue };
        let (handle, shape) = (handle(number), shape(number));
        let found = match random.u8(..4) {
            0 => store.validate_handle(&handle, shape.hash),
            1 => store.handle_for(&shape.key).map(|found| found == Some(handle.clone())),
            2 => store.touch(&handle, Timestamp::now()),
            _ => store
                .record(&handle)
                .map(|found| found.is_some_and(|record| record.definition == shape.definition)),
        };
        match found {
            Ok(true) => {}
            Ok(false) => say(&format!("complaint: {number} is missing")),
            Err(error) => say(&format!("complaint: {error:?}")),
        }
        reads += 1;
        if reads % READS == 0 {
            say(&format!("reads {READS}"));
        }
    }
}

/// Adds shapes of these numbers and completes them, until it is time to end or the store takes no more. Says at which
/// place in the order each became complete.
pub(super) fn write(
    store: &ShapeMeta,
    numbers: impl Iterator<Item = u64>,
    known: &TrustedState,
    ends: &AtomicBool,
) {
    for number in numbers {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let new = NewShape { handle: handle(number), ..shape(number) };
        let outcome = store.add(new, WAIT).and_then(|_| store.mark_snapshot_complete(&handle(number), WAIT));
        match outcome {
            Ok(receipt) => {
                known.add([number]);
                say(&format!("added {number} {}", receipt.seq()));
                // So that the parent knows of some; most are behind.
                if number % 16 == 0 && receipt.wait_durable(std::time::Duration::from_secs(10)).is_ok() {
                    say(&format!("durable {}", receipt.seq()));
                }
            }
            Err(MutateError::Failed(error)) => return say(error.kind().name()),
            Err(refused) => return say(&format!("complaint: {refused}")),
        }
    }
}
