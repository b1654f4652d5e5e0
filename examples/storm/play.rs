use std::{
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use shape_meta::{Definition, NewShape, Shape, ShapeMeta, prelude::*};

use crate::{Options, Result, composition::Composition, composition::Transactions, trace::Definitions};

/// How long a client waits for room before it gives up: what a request would.
const PATIENCE: Duration = Duration::from_secs(30);
/// Readers come in bursts of so many reads, a millisecond apart.
const BURST: usize = 100;

/// What a storm came to.
pub(crate) struct Played {
    pub(crate) acknowledged: Duration,
    pub(crate) durable: Duration,
    /// Nanoseconds.
    pub(crate) creation: Histogram<u64>,
    /// Nanoseconds.
    pub(crate) reads: Histogram<u64>,
    pub(crate) most_pending: usize,
    pub(crate) transactions: u64,
}

/// What all threads of a storm share.
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
    let (clients, readers) = (usize::from(options.clients), usize::from(options.readers));
    let storm = Storm {
        store: composition.open(directory, Arc::clone(&transactions) as _)?,
        trace,
        start: Barrier::new(clients + readers + 1),
        done: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let before = transactions.count();
    let bar = bar(composition, trace.asked.len());
    let mut most_pending = 0;
    let (begun, acknowledged, creation, reads) = thread::scope(|scope| -> Result<_> {
        let storm = &storm;
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || client(storm, number, clients))).collect();
        let readers: Vec<_> = (0..readers).map(|number| scope.spawn(move || reader(storm, number))).collect();
        storm.start.wait();
        while clients.iter().any(|client| !client.is_finished()) {
            most_pending = most_pending.max(storm.store.pending().shapes);
            bar.set_position(storm.done.load(Ordering::Relaxed) as u64);
            thread::park_timeout(Duration::from_millis(20));
        }
        let mut creation = Histogram::new(3)?;
        let mut times: Option<(Instant, Instant)> = None;
        let mut failed = None;
        for client in clients {
            match client.join().map_err(|_| "a client panicked")? {
                Ok((histogram, begun, ended)) => {
                    creation.add(histogram)?;
                    let (first, last) = times.unwrap_or((begun, ended));
                    times = Some((first.min(begun), last.max(ended)));
                }
                Err(error) => failed = Some(error),
            }
        }
        storm.over.store(true, Ordering::Release);
        let mut reads = Histogram::new(3)?;
        for reader in readers {
            reads.add(reader.join().map_err(|_| "a reader panicked")??)?;
        }
        // From the first client's begin to the last one's end: this thread may have been late for both.
        let (begun, ended) = times.ok_or("there is a client")?;
        failed.map_or(Ok((begun, ended - begun, creation, reads)), Err)
    })?;
    most_pending = most_pending.max(storm.store.pending().shapes);
    storm.store.flush(Duration::from_secs(600))?;
    let durable = begun.elapsed();
    bar.finish_and_clear();

    let report = storm.store.close(Duration::from_secs(60));
    if !report.is_complete() {
        return Err(format!("{} mutations were not written: {:?}", report.unwritten, report.error).into());
    }
    let transactions = transactions.count() - before;
    Ok(Played { acknowledged, durable, creation, reads, most_pending, transactions })
}

/// Asks for every `step`-th shape, makes it if it is new, and reads it back.
fn client(storm: &Storm<'_>, number: usize, step: usize) -> Result<(Histogram<u64>, Instant, Instant)> {
    let store = &storm.store;
    let mut creation = Histogram::new(3)?;
    storm.start.wait();
    let begun = Instant::now();
    for (at, definition) in storm.trace.asked.iter().enumerate().skip(number).step_by(step) {
        let handle = Handle::new(format!("{:08}-{}", at, Timestamp::now().as_micros()))?;
        let shape = NewShape::of(handle, definition);
        let asked = Instant::now();
        let made = store.get_or_add(&shape, Wait::UpTo(PATIENCE))?;
        creation.record(nanoseconds(asked))?;
        if made.added {
            store.mark_snapshot_started(&made.handle, Wait::UpTo(PATIENCE))?;
            store.mark_snapshot_complete(&made.handle, Wait::UpTo(PATIENCE))?;
        }
        if !store.validate_handle(&made.handle, shape.hash)? {
            return Err(format!("the handle {} is not valid for its definition", made.handle).into());
        }
        let record = store.record(&made.handle)?.ok_or("a shape that was just made is not there")?;
        if record.decode::<Shape>()? != *definition {
            return Err(format!("the handle {} has another definition", made.handle).into());
        }
        storm.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok((creation, begun, Instant::now()))
}

/// Keeps asking which handle serves a definition, and whether its snapshot has begun.
fn reader(storm: &Storm<'_>, number: usize) -> Result<Histogram<u64>> {
    let keys: Vec<_> = storm.trace.asked.iter().map(|shape| (shape.key(), shape.hash())).collect();
    let mut reads = Histogram::new(3)?;
    let mut at = number;
    storm.start.wait();
    while !storm.over.load(Ordering::Acquire) {
        for _ in 0..BURST.min(keys.len()) {
            at = (at + 7_919) % keys.len();
            let (key, hash) = &keys[at];
            let asked = Instant::now();
            if let Some(handle) = storm.store.handle_for(key)? {
                let metadata = storm.store.metadata(&handle)?;
                reads.record(nanoseconds(asked))?;
                if metadata.is_none_or(|metadata| metadata.hash != *hash) {
                    return Err(format!("the handle {handle} was found by its key, and is not there").into());
                }
            }
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    Ok(reads)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn bar(composition: Composition, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:16} {wide_bar} {human_pos}/{human_len} {per_sec}");
    let bar = ProgressBar::new(length as u64).with_message(composition.name());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
