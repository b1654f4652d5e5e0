//! The child process that is killed.

use std::{
    collections::VecDeque,
    env,
    io::{Write, stdout},
    path::Path,
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shape_meta::{
    Activity, Builder, NoopCleaner, Observer, OnLiveOwner, PoolOptions, PostgresOptions, PostgresPool,
    ShapeMeta, Span, StoreControl,
};

use super::{Outcome, plan::Task, servers::STACK, stored_data::StoredData};
use shape_meta_harness::script::Script;

/// The argument that makes the binary the child.
pub const NAME: &str = "crash-child";
pub(super) const DIRECTORY: &str = "SHAPE_META_CRASH_DIRECTORY";
pub(super) const CONNECTION: &str = "SHAPE_META_CRASH_CONNECTION";
pub(super) const DATA: &str = "SHAPE_META_CRASH_DATA";
pub(super) const TASK: &str = "SHAPE_META_CRASH_TASK";

/// Reports the activities of the store to the parent.
struct ReportActivities;

impl Observer for ReportActivities {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if !matches!(activity, Activity::Checkout { .. }) {
            report(&format!("{}\n", activity.name()));
        }
        None
    }
}

pub(super) fn run() -> Outcome {
    report("start\n");
    let task = Task::parse(&env::var(TASK)?).ok_or("the task is invalid")?;
    let data = env::var_os(DATA).map(|data| StoredData(data.into()));
    let builder = || {
        let builder = match &data {
            Some(data) => task.builder(StoredData(data.0.clone())),
            None => task.builder(NoopCleaner),
        };
        builder.observer(Arc::new(ReportActivities))
    };
    let store = match env::var(CONNECTION) {
        Ok(connection) => open_stack(&connection, task, builder)?,
        Err(_) => builder().open(Path::new(&env::var_os(DIRECTORY).ok_or("the directory is missing")?))?,
    };
    report("opened\n");
    thread::scope(|scope| {
        for number in 0..task.threads {
            let (store, data) = (&store, data.as_ref());
            let script = if task.threads == 1 {
                Script::single_threaded(task.seed)
            } else {
                Script::for_thread(task.seed, number)
            };
            scope.spawn(move || work(store, data, number, script, task.steps));
        }
    });
    let closed = store.close(Duration::from_secs(60));
    if !closed.is_complete() {
        return Err(format!("the store could not be closed: {closed:?}").into());
    }
    drop(store);
    report("closed\n");
    Ok(true)
}

/// The longest time for which a server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// Returns the options of a pool that rides out each failure of a server.
pub(super) fn pool_options(connection: &str) -> shape_meta::Result<PoolOptions> {
    // The lease never ends while the server is away: then mutations would be refused.
    let options = PoolOptions::parse(connection)?.lease(10 * OUTAGE);
    Ok(options.statement_timeout(Duration::from_secs(5)).transaction_timeout(Duration::from_secs(2)))
}

/// Opens the stack, whose former owner was killed. Tries again while the server is away.
fn open_stack(connection: &str, task: Task, builder: impl Fn() -> Builder) -> Outcome<ShapeMeta> {
    let pool = PostgresPool::new(pool_options(connection)?)?;
    let options =
        PostgresOptions::default().durability(task.durability_of_server()).on_live_owner(OnLiveOwner::Fence);
    let began = Instant::now();
    loop {
        match builder().postgres(options.clone()).open_postgres(&pool, STACK) {
            Err(error) if error.is_retryable() && began.elapsed() < OUTAGE => thread::yield_now(),
            opened => return Ok(opened?),
        }
    }
}

/// Reports the sequence number and time of each step, the data that was created after an add, and each
/// receipt that has become durable.
fn work(store: &ShapeMeta, data: Option<&StoredData>, thread: u64, script: Script, steps: u64) {
    let mut waiting = VecDeque::new();
    for step in script.take(usize::try_from(steps).unwrap_or(usize::MAX)) {
        let receipt = step.play(store);
        let seq = receipt.as_ref().map_or(0, |receipt| receipt.seq().get());
        report(&format!("did {thread} {seq} {}\n", now()));
        if let (Some(data), Some(shape), Some(receipt)) = (data, step.added(), &receipt) {
            data.create(&shape.handle, receipt.seq()).expect("the disk works");
            report(&format!("stored {seq}\n"));
        }
        waiting.extend(receipt);
        let mut durable = None;
        while let Some(receipt) = waiting.pop_front_if(|receipt| receipt.is_durable()) {
            durable = Some(receipt.seq().get());
        }
        if let Some(seq) = durable {
            report(&format!("durable {seq}\n"));
        }
    }
}

/// Returns a time in microseconds that both processes can compare.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Writes a whole line to the parent. It is in the pipe when this returns, even if this process is killed
/// then. Exits if the parent is gone.
fn report(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}
