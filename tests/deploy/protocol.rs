//! Code of both processes: shapes by number, threads that read and write, and messages to the parent.

use std::{
    collections::HashSet,
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

/// The number of reads that one report covers.
const READS: usize = 64;

pub(super) fn handle(number: u64) -> Handle {
    Handle::new(format!("{number}")).expect("digits are printable")
}

pub(super) fn number_of(handle: &Handle) -> u64 {
    handle.as_str().parse().expect("all handles are numbers")
}

/// Writes a whole line to the parent. Exits if the parent is gone.
pub(super) fn report(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// Waits for the next line of the parent. Exits if the parent is gone.
pub(super) fn receive() -> String {
    let mut line = String::new();
    match stdin().read_line(&mut line) {
        Ok(1..) => line.trim().to_owned(),
        _ => process::exit(1),
    }
}

/// Shapes that are known to be complete. They must stay readable.
#[derive(Default)]
pub(super) struct KnownShapes {
    all: Mutex<Vec<u64>>,
    /// Those of them that are in the database: a new owner keeps them.
    durable: Mutex<HashSet<u64>>,
}

impl KnownShapes {
    pub(super) fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
    }

    pub(super) fn add_durable(&self, numbers: impl IntoIterator<Item = u64> + Clone) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers.clone());
        self.add(numbers);
    }

    fn is_durable(&self, number: u64) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    fn any(&self, random: &mut fastrand::Rng) -> Option<u64> {
        let known = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        random.choice(&*known).copied()
    }
}

/// Reads known shapes in every way until `ends` is set. Reports a complaint if one is missing or a read
/// fails.
pub(super) fn read(store: &impl ReadShapes, known: &KnownShapes, ends: &AtomicBool) {
    let mut random = fastrand::Rng::new();
    let mut reads = 0;
    while !ends.load(Ordering::Relaxed) {
        let Some(number) = known.any(&mut random) else { continue };
        let (handle, shape) = (handle(number), shape(number));
        let found = match random.u8(..4) {
            0 => store.validate_handle(&handle, shape.hash),
            1 => store.handle_for(&shape.key).map(|found| found == Some(handle.clone())),
            2 => store.touch(&handle, Timestamp::now()),
            // Read from the disk, where a new owner may have removed what was not yet complete there.
            _ if !known.is_durable(number) => continue,
            _ => store
                .record(&handle)
                .map(|found| found.is_some_and(|record| record.definition == shape.definition)),
        };
        match found {
            Ok(true) => {}
            Ok(false) => report(&format!("complaint: {number} is missing")),
            Err(error) => report(&format!("complaint: {error:?}")),
        }
        reads += 1;
        if reads % READS == 0 {
            report(&format!("reads {READS}"));
        }
    }
}

/// Adds and completes shapes with these numbers, until `ends` is set or the store fails. Reports the sequence
/// number at which each became complete.
pub(super) fn write(
    store: &ShapeMeta,
    numbers: impl Iterator<Item = u64>,
    known: &KnownShapes,
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
                report(&format!("added {number} {}", receipt.seq()));
                // The parent learns of some durable shapes; most are not durable yet.
                if number % 16 == 0 && receipt.wait_durable(std::time::Duration::from_secs(10)).is_ok() {
                    known.add_durable([number]);
                    report(&format!("durable {}", receipt.seq()));
                }
            }
            Err(MutateError::Failed(error)) => return report(error.kind().name()),
            Err(refused) => return report(&format!("complaint: {refused}")),
        }
    }
}
