//! One client reads at a fixed rate, first idle and then during the writes of other threads.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::random_reads::{RandomReads, Read};
use crate::{
    Candidate, Client, Kind, Result, Store,
    candidate::{BareEvmap, FULL_STACK},
    data::{Scale, sample},
    probe::OpenLoop,
    result::{Measure, Target},
    run::{Filling, Run},
};

/// Reads per second.
const READS: u64 = 20_000;
/// The first number of the shapes that the writers add and that no client reads.
const UNRELATED: u64 = 1 << 40;

/// The load of the writers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writers {
    pub(super) threads: u64,
    /// The adds per second of all threads together, or fewer if the store is slower.
    pub(super) rate: u64,
    /// The number of latest shapes that each thread keeps. It removes older ones.
    pub(super) keep: u64,
}

/// Records the latencies of reads when idle and during writes, and their ratio.
///
/// The limit is the read of a bare evmap during the same writes on a full stack. So it includes the time for
/// which a busy processor delays a read.
pub(super) fn compare(run: &mut Run<'_>, writers: Writers, target: Option<Target>) -> Result {
    let shapes = run.scale.shapes();
    let duration = Duration::from_millis(run.scale.pick([30, 80, 1_500, 1_500]));
    let mut candidates = run.candidates(shapes);
    candidates.push(&BareEvmap);
    let filling = Filling { name: "plain", shapes, shape: sample::shape };
    let random_reads = RandomReads::new(shapes, run.scale.pick([500, 100_000, 400_000, 400_000]));
    for read in [Read::Metadata, Read::Key] {
        if read == Read::Key && run.scale == Scale::Quick {
            candidates.retain(|one| one.kind() != Kind::Peer);
        }
        let opened = run.open_filled(&candidates, filling)?;
        let extra = match run.has_full_stack() {
            true => None,
            false => {
                let full = run.backend.full_stack();
                Some(full.open(&run.filled(full, filling)?, shapes)?)
            }
        };
        let full = opened.iter().find(|(name, _)| *name == FULL_STACK.name()).map(|(_, full)| full);
        let full = full.or(extra.as_ref()).ok_or("the full stack is missing")?;
        let mut candidates: Vec<_> = opened
            .iter()
            .map(|(name, read)| {
                let written = if *name == "bare evmap" { full } else { read };
                (*name, (read, written))
            })
            .collect();
        let mut round = 0;
        let rows = run.measure_rounds(&mut candidates, |(store, written)| {
            round += 1;
            let mut client = store.client()?;
            let idle = random_reads.open_loop(&mut *client, read, READS, duration)?;
            let mut measured = || random_reads.open_loop(&mut *client, read, READS, duration);
            let (busy, added) = with_writers(&***written, writers, round, &mut measured)?;
            Ok(Round { idle, busy, added: added as f64 / duration.as_secs_f64() })
        })?;
        let what = read.name();
        let measure = |what: String| Measure::lower(what, "us").limit("bare evmap");
        run.record_latencies(&rows, measure(format!("{what}, idle, response time")), |round| {
            &round.idle.response
        });
        run.record_latencies(&rows, measure(format!("{what}, during writes, response time")), |round| {
            &round.busy.response
        });
        run.record_latencies(&rows, measure(format!("{what}, idle, service time")), |round| {
            &round.idle.service
        });
        run.record_latencies(&rows, measure(format!("{what}, during writes, service time")), |round| {
            &round.busy.service
        });
        let ratio = Measure::lower(format!("{what}: p99 during writes / p99 idle"), "");
        let ratio = target.map_or(ratio.clone(), |target| ratio.target(target));
        run.record(&rows, ratio, |round| Some(round.busy.service.at(0.99) / round.idle.service.at(0.99)));
        run.record(&rows, Measure::higher(format!("{what}: adds per second"), "shapes/s"), |round| {
            Some(round.added)
        });
    }
    Ok(())
}

struct Round {
    idle: OpenLoop,
    busy: OpenLoop,
    added: f64,
}

/// Measures while the writers run, and returns the number of shapes that they added.
pub(super) fn with_writers<R>(
    store: &dyn Store,
    writers: Writers,
    round: u64,
    measured: &mut dyn FnMut() -> Result<R>,
) -> Result<(R, u64)> {
    let (stop, added) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers.threads)
            .map(|thread| {
                let (stop, added) = (&stop, &added);
                scope.spawn(move || {
                    let from = UNRELATED + (round * 64 + thread) * 10_000_000;
                    write(&mut *store.client()?, writers, from, stop, added)
                })
            })
            .collect();
        let result = measured();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a writer panicked")??;
        }
        result
    })?;
    store.flush()?;
    Ok((result, added.into_inner()))
}

/// Adds at a fixed rate in steps of a hundred, removes old shapes, and removes all shapes at the end.
fn write(
    client: &mut dyn Client,
    writers: Writers,
    from: u64,
    stop: &AtomicBool,
    added: &AtomicU64,
) -> Result {
    const STEP: u64 = 100;
    let interval = Duration::from_nanos(1_000_000_000 * STEP * writers.threads / writers.rate);
    let start = Instant::now();
    let (mut first, mut next) = (from, from);
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep((start + interval * step).saturating_duration_since(Instant::now()));
        for _ in 0..STEP {
            client.add(sample::shape(next))?;
            next += 1;
            if next - first > writers.keep {
                client.remove(&sample::handle(first))?;
                first += 1;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    added.fetch_add(next - from, Ordering::Relaxed);
    (first..next).try_for_each(|number| client.remove(&sample::handle(number)))
}
