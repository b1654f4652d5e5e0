//! The process that is killed.

use std::{
    collections::VecDeque,
    env,
    io::{Write, stdout},
    path::Path,
    process,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use shape_meta::{Activity, NoopCleaner, Observer, ShapeMeta, Span, StoreControl};

use super::{Outcome, plan::Task};
use shape_meta_harness::script::Script;

/// How the binary is told that it is the child.
pub const NAME: &str = "crash-child";
pub(super) const DIRECTORY: &str = "SHAPE_META_CRASH_DIRECTORY";
pub(super) const TASK: &str = "SHAPE_META_CRASH_TASK";

/// Says what the store is doing.
struct Tells;

impl Observer for Tells {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if !matches!(activity, Activity::Checkout { .. }) {
            say(&format!("{}\n", activity.name()));
        }
        None
    }
}

pub(super) fn run() -> Outcome {
    say("start\n");
    let task = Task::parse(&env::var(TASK)?).ok_or("the task is not one")?;
    let directory = env::var_os(DIRECTORY).ok_or("there is no directory")?;
    let store = task.builder(NoopCleaner).observer(Arc::new(Tells)).open(Path::new(&directory))?;
    say("opened\n");
    thread::scope(|scope| {
        for number in 0..task.threads {
            let store = &store;
            let script = if task.threads == 1 {
                Script::alone(task.seed)
            } else {
                Script::among_others(task.seed, number)
            };
            scope.spawn(move || work(store, number, script, task.steps));
        }
    });
    let report = store.close(Duration::from_secs(60));
    if !report.is_complete() {
        return Err(format!("it could not be closed: {report:?}").into());
    }
    drop(store);
    say("closed\n");
    Ok(true)
}

/// Says of each step which place it was given and when, and of each receipt that it has become durable.
fn work(store: &ShapeMeta, thread: u64, script: Script, steps: u64) {
    let mut waiting = VecDeque::new();
    for step in script.take(usize::try_from(steps).unwrap_or(usize::MAX)) {
        let receipt = step.play(store);
        let seq = receipt.as_ref().map_or(0, |receipt| receipt.seq().get());
        say(&format!("did {thread} {seq} {}\n", now()));
        waiting.extend(receipt);
        let mut durable = None;
        while let Some(receipt) = waiting.pop_front_if(|receipt| receipt.is_durable()) {
            durable = Some(receipt.seq().get());
        }
        if let Some(seq) = durable {
            say(&format!("durable {seq}\n"));
        }
    }
}

/// Microseconds that both processes count in the same way.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A line to the parent, as a whole: it is in the pipe when this returns, whatever becomes of us. Without a
/// parent there is nothing to go on for.
fn say(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}
