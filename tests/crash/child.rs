//! The process that is killed: this same test binary, told by its environment what to do.

use std::{
    collections::VecDeque,
    env,
    io::{Write, stdout},
    path::Path,
    process, thread,
};

use shape_meta::ShapeMeta;

use shape_meta_harness::compositions::{ALL, Composition, Flushing};
use shape_meta_harness::script::Script;

/// The name of the test that is the child.
pub(super) const NAME: &str = "crash::child::storm";
pub(super) const DIRECTORY: &str = "SHAPE_META_CRASH_DIRECTORY";
pub(super) const TASK: &str = "SHAPE_META_CRASH_TASK";

/// What a child is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// A place among all compositions.
    pub(super) composition: usize,
    /// Whether its flusher writes a few changes at once, and not some dozens.
    pub(super) few: bool,
    pub(super) threads: u64,
    pub(super) seed: u64,
}

impl Task {
    pub(super) fn composition(self) -> Composition {
        ALL[self.composition].flushing(if self.few { Flushing::Busy } else { Flushing::Often })
    }

    /// As the environment has it.
    pub(super) fn text(self) -> String {
        let numbers = [self.composition as u64, u64::from(self.few), self.threads, self.seed];
        numbers.map(|number| number.to_string()).join(" ")
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [composition, few, threads, seed] = numbers[..] else { return None };
        Some(Self { composition: composition as usize, few: few == 1, threads, seed })
    }
}

#[test]
#[ignore = "the child of the tests of crashes; by itself it does nothing"]
fn storm() {
    let (Some(directory), Ok(task)) = (env::var_os(DIRECTORY), env::var(TASK)) else { return };
    let task = Task::parse(&task).expect("the parent knows how to say it");
    let store = task.composition().open(Path::new(&directory));
    // The harness has begun a line that it does not end.
    say("\nopen\n");
    if task.threads == 1 {
        run(&store, 0, Script::alone(task.seed));
    }
    thread::scope(|scope| {
        for number in 0..task.threads {
            let store = &store;
            scope.spawn(move || run(store, number, Script::among_others(task.seed, number)));
        }
    });
}

/// Says of each step which place it was given, and of each receipt that it has become durable. Waits for
/// no flush: what is killed is a storm.
fn run(store: &ShapeMeta, thread: u64, script: Script) {
    let mut waiting = VecDeque::new();
    for step in script {
        let receipt = step.play(store);
        say(&format!("did {thread} {}\n", receipt.as_ref().map_or(0, |receipt| receipt.seq().get())));
        waiting.extend(receipt);
        let mut durable = None;
        while let Some(receipt) = waiting.pop_front_if(|receipt| receipt.is_durable()) {
            durable = Some(receipt.seq().get());
        }
        if let Some(seq) = durable {
            say(&format!("durable {thread} {seq}\n"));
        }
    }
}

/// A line to the parent, as a whole. Without a parent there is nothing to go on for.
fn say(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}
