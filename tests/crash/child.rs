//! The process that is killed: this test binary, whose environment holds its task.

use std::{
    collections::VecDeque,
    env,
    io::{Write, stdout},
    path::Path,
    process, thread,
};

use shape_meta::ShapeMeta;

use shape_meta_harness::compositions::{ALL, Composition, FlushSchedule};
use shape_meta_harness::script::Script;

/// The name of the test that is the child.
pub(super) const NAME: &str = "crash::child::storm";
pub(super) const DIRECTORY: &str = "SHAPE_META_CRASH_DIRECTORY";
pub(super) const TASK: &str = "SHAPE_META_CRASH_TASK";

/// The work of a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// An index into [`ALL`].
    pub(super) composition: usize,
    /// Makes the flusher commit a few changes at a time, rather than some dozens.
    pub(super) small_batches: bool,
    pub(super) threads: u64,
    pub(super) seed: u64,
}

impl Task {
    pub(super) fn composition(self) -> Composition {
        ALL[self.composition].with_flush_schedule(if self.small_batches {
            FlushSchedule::Continuous
        } else {
            FlushSchedule::Frequent
        })
    }

    /// The text form for the environment.
    pub(super) fn text(self) -> String {
        let numbers = [self.composition as u64, u64::from(self.small_batches), self.threads, self.seed];
        numbers.map(|number| number.to_string()).join(" ")
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [composition, small_batches, threads, seed] = numbers[..] else { return None };
        Some(Self { composition: composition as usize, small_batches: small_batches == 1, threads, seed })
    }
}

#[test]
#[ignore = "a child process of the crash tests; it does nothing on its own"]
fn storm() {
    let (Some(directory), Ok(task)) = (env::var_os(DIRECTORY), env::var(TASK)) else { return };
    let task = Task::parse(&task).expect("the parent wrote a valid task");
    let store = task.composition().open(Path::new(&directory));
    // The test runner has written an incomplete line, so this begins a new one.
    report("\nopen\n");
    if task.threads == 1 {
        run(&store, 0, Script::single_threaded(task.seed));
    }
    thread::scope(|scope| {
        for number in 0..task.threads {
            let store = &store;
            scope.spawn(move || run(store, number, Script::for_thread(task.seed, number)));
        }
    });
}

/// Reports the sequence number of each step, and each receipt that has become durable. It never waits for a
/// flush, so the kill hits a storm.
fn run(store: &ShapeMeta, thread: u64, script: Script) {
    let mut waiting = VecDeque::new();
    for step in script {
        let receipt = step.play(store);
        report(&format!("did {thread} {}\n", receipt.as_ref().map_or(0, |receipt| receipt.seq().get())));
        waiting.extend(receipt);
        let mut durable = None;
        while let Some(receipt) = waiting.pop_front_if(|receipt| receipt.is_durable()) {
            durable = Some(receipt.seq().get());
        }
        if let Some(seq) = durable {
            report(&format!("durable {thread} {seq}\n"));
        }
    }
}

/// Writes a whole line to the parent. Exits if the parent is gone.
fn report(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}
