use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Receipt, ShapeMeta, SqliteOptions, prelude::*};
use shape_meta_faults::{Disk, VFS};

use super::Workload;
use crate::{
    Candidate, Result,
    latency::Latencies,
    pace::{Paced, paced},
    run::{Measure, Run},
    sample,
    subject::{DIRECT, FULL, Ours},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "slow-disk",
    about: "each sync takes no time, or 20 ms; one client adds 100 shapes a second and reads each at once (open \
            loop): what it notices, and when the adds are on disk. Compositions of shape-meta only; the disk is a \
            model that keeps all in memory",
    run,
    charts: &[],
};

const RATE: u64 = 100;

struct Round {
    adds: Paced,
    reads: Latencies,
    durable: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let duration = Duration::from_millis(run.scale.pick([50, 250, 2_000, 2_000]));
    let candidates = run.candidates(0);
    let wanted = |ours: &Ours| candidates.iter().any(|one| one.name() == ours.name());
    for delay in [0, 20] {
        let ours = [FULL, DIRECT].into_iter().filter(wanted);
        let mut contestants: Vec<_> = ours.map(|ours| (ours.name(), ours)).collect();
        let rows = run.in_turn(&mut contestants, |ours| {
            round(ours, run.directory()?.path(), Duration::from_millis(delay), duration)
        })?;
        let measure = |what: &str| Measure::lower(what, "us").at(delay, "ms a sync");
        run.tell_latencies(&rows, measure("an add, from due"), |round| &round.adds.due)?;
        run.tell_latencies(&rows, measure("a read"), |round| &round.reads)?;
        run.tell_latencies(&rows, measure("the way to disk"), |round| &round.durable)?;
    }
    Ok(())
}

fn round(ours: &Ours, directory: &Path, delay: Duration, duration: Duration) -> Result<Round> {
    let disk = Disk::mount(directory)?;
    let store = ours.open_with(directory, 1_000, SqliteOptions::default().vfs(VFS))?;
    disk.delay_syncs(delay);
    let mut reads = Latencies::default();
    let (sender, receipts) = mpsc::sync_channel(10_000);
    let (adds, durable) = thread::scope(|scope| {
        let waiting = scope.spawn(move || wait(receipts));
        let adds = paced(RATE, duration, |number| add(&store, number, &mut reads, &sender));
        drop(sender);
        let durable = waiting.join().map_err(|_| "the waiting thread panicked")?;
        disk.heal();
        let closed = store.close(Duration::from_secs(60)).is_complete();
        if closed {
            Ok::<_, crate::BoxError>((adds?, durable?))
        } else {
            Err("something was not written".into())
        }
    })?;
    Ok(Round { adds, reads, durable })
}

type Added = (Instant, Receipt);

fn add(store: &ShapeMeta, number: u64, reads: &mut Latencies, receipts: &mpsc::SyncSender<Added>) -> Result {
    let begun = Instant::now();
    let receipt = store.add(sample::shape(number), Wait::UpTo(Duration::from_secs(60)))?;
    let added = Instant::now();
    let found = store.metadata(&sample::handle(number))?.is_some();
    reads.record(added.elapsed());
    receipts.send((begun, receipt))?;
    if found { Ok(()) } else { Err("a shape that was added is not there".into()) }
}

fn wait(receipts: mpsc::Receiver<Added>) -> Result<Latencies> {
    let mut durable = Latencies::default();
    for (begun, receipt) in receipts {
        receipt.wait_durable(Duration::from_secs(60))?;
        durable.record(begun.elapsed());
    }
    Ok(durable)
}
