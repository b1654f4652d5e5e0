use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Receipt, ShapeMeta, SqliteOptions, prelude::*};
use shape_meta_faults::{Disk, VFS};

use super::definition::Workload;
use crate::{
    BoxError, Candidate, Result,
    candidate::{Composition, DIRECT, FULL_STACK},
    data::sample,
    probe::{Latencies, OpenLoop, open_loop},
    result::Measure,
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "slow-disk",
    about: "each sync takes no time, or 20 ms; one client adds 100 shapes per second and reads each at once (open \
            loop): the latencies, and the time until an add is durable. Compositions of shape-meta only; the disk \
            is a model in memory",
    run,
    charts: &[],
};

const RATE: u64 = 100;

struct Round {
    adds: OpenLoop,
    reads: Latencies,
    durable: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let duration = Duration::from_millis(run.scale.pick([50, 200, 2_000, 2_000]));
    let candidates = run.candidates(0);
    let is_candidate =
        |composition: &Composition| candidates.iter().any(|one| one.name() == composition.name());
    for delay in [0, 20] {
        let compositions = [FULL_STACK, DIRECT].into_iter().filter(is_candidate);
        let mut candidates: Vec<_> =
            compositions.map(|composition| (composition.name(), composition)).collect();
        let rows = run.measure_rounds(&mut candidates, |composition| {
            round(composition, run.directory()?.path(), Duration::from_millis(delay), duration)
        })?;
        let measure = |what: &str| Measure::lower(what, "us").at(delay, "ms per sync");
        run.record_latencies(&rows, measure("an add, response time"), |round| &round.adds.response);
        run.record_latencies(&rows, measure("a read"), |round| &round.reads);
        run.record_latencies(&rows, measure("durability of an add"), |round| &round.durable);
    }
    Ok(())
}

fn round(composition: &Composition, directory: &Path, delay: Duration, duration: Duration) -> Result<Round> {
    let disk = Disk::mount(directory)?;
    let store = composition.open_with(directory, 1_000, SqliteOptions::default().vfs(VFS))?;
    disk.delay_syncs(delay);
    let mut reads = Latencies::default();
    let (sender, receipts) = mpsc::sync_channel(10_000);
    let (adds, durable) = thread::scope(|scope| {
        let waiting = scope.spawn(move || wait(receipts));
        let adds = open_loop(RATE, duration, |number| add(&store, number, &mut reads, &sender));
        drop(sender);
        let durable = waiting.join().map_err(|_| "the waiting thread panicked")?;
        disk.heal();
        let closed = store.close(Duration::from_secs(60)).is_complete();
        if closed { Ok::<_, BoxError>((adds?, durable?)) } else { Err("a mutation was not written".into()) }
    })?;
    Ok(Round { adds, reads, durable })
}

type Added = (Instant, Receipt);

fn add(store: &ShapeMeta, number: u64, reads: &mut Latencies, receipts: &mpsc::SyncSender<Added>) -> Result {
    let start = Instant::now();
    let receipt = store.add(sample::shape(number), Wait::UpTo(Duration::from_secs(60)))?;
    let added = Instant::now();
    let found = store.metadata(&sample::handle(number))?.is_some();
    reads.record(added.elapsed());
    receipts.send((start, receipt))?;
    if found { Ok(()) } else { Err("an added shape is missing".into()) }
}

fn wait(receipts: mpsc::Receiver<Added>) -> Result<Latencies> {
    let mut durable = Latencies::default();
    for (start, receipt) in receipts {
        receipt.wait_durable(Duration::from_secs(60))?;
        durable.record(start.elapsed());
    }
    Ok(durable)
}
