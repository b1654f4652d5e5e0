use std::{
    future::Future,
    path::Path,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use shape_meta::{HandleSet, ShapeMeta, SqliteOptions, prelude::*};
use shape_meta_faults::{Disk, VFS};

use super::definition::Workload;
use crate::{
    Candidate, Result,
    candidate::{Composition, DIRECT, FULL_STACK},
    data::sample,
    probe::Latencies,
    result::Measure,
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "executor-stall",
    about: "how long each future keeps the thread that polls it, while each sync takes 20 ms: the time of one poll, \
            which is what another task of the same thread waits. Compositions of shape-meta only; the disk is a model \
            in memory",
    run,
    charts: &[],
};

const SYNC: Duration = Duration::from_millis(20);

type Form = (&'static str, fn(ShapeMeta, u64) -> Pin<Box<dyn Future<Output = Result> + Send>>);

/// A form of its name.
macro_rules! form {
    ($name:literal, |$store:ident, $number:ident| $call:expr) => {
        ($name, |$store, $number| {
            Box::pin(async move {
                $call;
                let _ = $number;
                Ok(())
            })
        })
    };
}

const FORMS: &[Form] = &[
    form!("get_or_add", |store, number| store.get_or_add_async(&sample::shape(number)).await?),
    form!("mark", |store, number| store.mark_snapshot_complete_async(&sample::handle(number)).await?),
    form!("durable", |store, number| store
        .add_async(sample::shape(1_000_000 + number))
        .await?
        .durable()
        .await?),
    form!("flush", |store, number| store.flush_async().await?),
    form!("metadata", |store, number| store.metadata_async(&sample::handle(number)).await?),
    form!("record", |store, number| store.record_async(&sample::handle(number)).await?),
    form!("least_recently_used", |store, number| store
        .least_recently_used_async(10, HandleSet::new())
        .await?),
    form!("scan", |store, number| {
        let mut scan = store.scan_async();
        while let Some(shape) = scan.next().await {
            shape?;
        }
    }),
    form!("remove", |store, number| store.remove_async(&sample::handle(number)).await?),
];

fn run(run: &mut Run<'_>) -> Result {
    let calls = run.scale.pick([2, 8, 100, 100]);
    let candidates = run.candidates(0);
    let is_candidate =
        |composition: &Composition| candidates.iter().any(|one| one.name() == composition.name());
    let compositions = [FULL_STACK, DIRECT].into_iter().filter(is_candidate);
    let mut candidates: Vec<_> = compositions.map(|composition| (composition.name(), composition)).collect();
    let rows = run
        .measure_rounds(&mut candidates, |composition| round(composition, run.directory()?.path(), calls))?;
    for (form, (name, _)) in FORMS.iter().enumerate() {
        let measure = Measure::lower(format!("a poll of {name}"), "us");
        run.record_latencies(&rows, measure, |round| &round[form]);
    }
    Ok(())
}

/// Returns the times of the polls of each form.
fn round(composition: &Composition, directory: &Path, calls: u64) -> Result<Vec<Latencies>> {
    let disk = Disk::mount(directory)?;
    let store = composition.open_with(directory, 1_000, SqliteOptions::default().vfs(VFS))?;
    disk.delay_syncs(SYNC);
    let mut polls = Vec::new();
    for (_, form) in FORMS {
        let mut latencies = Latencies::default();
        for number in 0..calls {
            block_on(form(store.clone(), number), &mut latencies)?;
        }
        polls.push(latencies);
    }
    disk.heal();
    if store.close(Duration::from_secs(60)).is_complete() {
        Ok(polls)
    } else {
        Err("a mutation was not written".into())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, and records how long each poll takes.
fn block_on(future: impl Future<Output = Result>, polls: &mut Latencies) -> Result {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        let begun = Instant::now();
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        polls.record(begun.elapsed());
        match poll {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}
