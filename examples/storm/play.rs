use std::{
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Definition, NewShape, Shape, ShapeMeta, prelude::*};

use crate::{
    Result,
    composition::{Composition, Transactions},
    latencies::Latencies,
    options::Options,
    trace::Definitions,
};

/// The time for which a client waits for capacity in the buffer, as a request would.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of reads in a burst. Bursts are a millisecond apart.
const BURST: usize = 100;

/// The measurements of a storm.
pub(crate) struct Played {
    pub(crate) acknowledged: Duration,
    pub(crate) durable: Duration,
    pub(crate) creation: Latencies,
    pub(crate) reads: Latencies,
    pub(crate) max_pending: usize,
    pub(crate) transactions: u64,
}

/// State shared by the threads of a storm.
struct Storm<'a> {
    store: ShapeMeta,
    trace: &'a Definitions,
    start: Barrier,
    done: AtomicUsize,
    over: AtomicBool,
}

pub(crate) fn play(
    composition: Composition,
    directory: &Path,
    trace: &Definitions,
    options: &Options,
) -> Result<Played> {
    let transactions = Arc::new(Transactions::default());
    let (clients, readers) = (options.clients, options.readers);
    let storm = Storm {
        store: composition.open(directory, Arc::clone(&transactions) as _)?,
        trace,
        start: Barrier::new(clients + readers + 1),
        done: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let before = transactions.count();
    let mut progress = Progress::new(composition, trace.requested.len());
    let mut max_pending = 0;
    let (start, acknowledged, creation, reads) = thread::scope(|scope| -> Result<_> {
        let storm = &storm;
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || client(storm, number, clients))).collect();
        let readers: Vec<_> = (0..readers).map(|number| scope.spawn(move || reader(storm, number))).collect();
        storm.start.wait();
        while clients.iter().any(|client| !client.is_finished()) {
            max_pending = max_pending.max(storm.store.pending().shapes);
            progress.print_if_due(storm.done.load(Ordering::Relaxed));
            thread::park_timeout(Duration::from_millis(20));
        }
        let mut creation = Vec::new();
        let mut times: Option<(Instant, Instant)> = None;
        let mut failed = None;
        for client in clients {
            match client.join().map_err(|_| "a client panicked")? {
                Ok((latencies, begun, ended)) => {
                    creation.push(latencies);
                    let (first, last) = times.unwrap_or((begun, ended));
                    times = Some((first.min(begun), last.max(ended)));
                }
                Err(error) => failed = Some(error),
            }
        }
        storm.over.store(true, Ordering::Release);
        let mut reads = Vec::new();
        for reader in readers {
            reads.push(reader.join().map_err(|_| "a reader panicked")??);
        }
        // From the first begin of a client to the last end of one. This thread may run later than both.
        let (begun, ended) = times.ok_or("there is a client")?;
        let (creation, reads) = (Latencies::merge(creation), Latencies::merge(reads));
        failed.map_or(Ok((begun, ended - begun, creation, reads)), Err)
    })?;
    max_pending = max_pending.max(storm.store.pending().shapes);
    storm.store.flush(Duration::from_secs(600))?;
    let durable = start.elapsed();

    let report = storm.store.close(Duration::from_secs(60));
    if !report.is_complete() {
        return Err(format!("{} mutations were not written: {:?}", report.unwritten, report.error).into());
    }
    let transactions = transactions.count() - before;
    Ok(Played { acknowledged, durable, creation, reads, max_pending, transactions })
}

/// Requests every `step`-th shape, adds it if it is new, and reads it back.
fn client(storm: &Storm<'_>, number: usize, step: usize) -> Result<(Latencies, Instant, Instant)> {
    let store = &storm.store;
    let mut creation = Latencies::default();
    storm.start.wait();
    let begun = Instant::now();
    for (at, definition) in storm.trace.requested.iter().enumerate().skip(number).step_by(step) {
        let handle = Handle::new(format!("{:08}-{}", at, Timestamp::now().as_micros()))?;
        let shape = NewShape::of(handle, definition);
        let start = Instant::now();
        let made = store.get_or_add(&shape, Wait::UpTo(CLIENT_TIMEOUT))?;
        creation.record(start);
        if made.added {
            store.mark_snapshot_started(&made.handle, Wait::UpTo(CLIENT_TIMEOUT))?;
            store.mark_snapshot_complete(&made.handle, Wait::UpTo(CLIENT_TIMEOUT))?;
        }
        if !store.validate_handle(&made.handle, shape.hash)? {
            return Err(format!("the handle {} is not valid for its definition", made.handle).into());
        }
        let record = store.record(&made.handle)?.ok_or("a shape that was just added is missing")?;
        if record.decode::<Shape>()? != *definition {
            return Err(format!("the handle {} has another definition", made.handle).into());
        }
        storm.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok((creation, begun, Instant::now()))
}

/// Looks up the handle of a definition and its snapshot state, until the storm is over.
fn reader(storm: &Storm<'_>, number: usize) -> Result<Latencies> {
    let keys: Vec<_> =
        storm.trace.requested.iter().map(|shape| (shape.key(), shape.definition_hash())).collect();
    let mut reads = Latencies::default();
    let mut at = number;
    storm.start.wait();
    while !storm.over.load(Ordering::Acquire) {
        for _ in 0..BURST.min(keys.len()) {
            at = (at + 7_919) % keys.len();
            let (key, hash) = &keys[at];
            let start = Instant::now();
            if let Some(handle) = storm.store.handle_for(key)? {
                let metadata = storm.store.metadata(&handle)?;
                reads.record(start);
                if metadata.is_none_or(|metadata| metadata.hash != *hash) {
                    return Err(format!(
                        "the handle {handle} was found by its key, but its metadata is missing or wrong"
                    )
                    .into());
                }
            }
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    Ok(reads)
}

/// Prints the progress of a slow storm: each tenth, and at most once a second.
struct Progress {
    composition: Composition,
    total: usize,
    next: usize,
    last: Instant,
}

impl Progress {
    fn new(composition: Composition, total: usize) -> Self {
        Self { composition, total, next: 0, last: Instant::now() }
    }

    fn print_if_due(&mut self, done: usize) {
        if done >= self.next && self.last.elapsed() >= Duration::from_secs(1) {
            println!("{}: {done} of {}", self.composition.name(), self.total);
            self.next = done + self.total / 10;
            self.last = Instant::now();
        }
    }
}
