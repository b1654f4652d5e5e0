//! One client reads at a rate, quietly and beside others that write.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::reads::{Picks, Read};
use crate::{
    Candidate, Client, Result, Subject,
    figure::Target,
    pace::Paced,
    run::{Filling, Measure, Run},
    sample,
    subject::{BareMap, FULL},
};

/// Reads a second.
const READS: u64 = 20_000;
/// Shapes that come and go, and that nobody reads, have numbers from here on.
const UNRELATED: u64 = 1 << 40;

/// What goes on beside the reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writers {
    pub(super) threads: u64,
    /// Adds a second of all of them together; where an add takes longer, as many as they manage.
    pub(super) rate: u64,
    /// What each has added last and keeps; what is older it removes.
    pub(super) keep: u64,
}

/// Tells how long reads take quietly and beside these writers, and how they compare.
///
/// The limit is the read of a bare evmap, beside the same writers on a full stack: what a read must wait because
/// the processor is busy is in there as well.
pub(super) fn compare(run: &mut Run<'_>, writers: Writers, target: Option<Target>) -> Result {
    let shapes = run.scale.shapes();
    let duration = Duration::from_millis(run.scale.pick([30, 150, 1_500, 1_500]));
    let mut contestants = run.candidates(shapes);
    contestants.push(&BareMap);
    let filling = Filling { name: "plain", shapes, shape: sample::shape };
    let picks = Picks::of(shapes, run.scale.pick([500, 100_000, 400_000, 400_000]));
    for read in [Read::Metadata, Read::Key] {
        let opened = run.open_filled(&contestants, filling)?;
        let extra = match run.wants_full() {
            true => None,
            false => Some(FULL.open(&run.filled(&FULL, filling)?, shapes)?),
        };
        let full = opened.iter().find(|(name, _)| *name == FULL.name()).map(|(_, full)| full);
        let full = full.or(extra.as_ref()).ok_or("there is a full stack")?;
        let mut contestants: Vec<_> = opened
            .iter()
            .map(|(name, read)| {
                let written = if *name == "bare evmap" { full } else { read };
                (*name, (read, written))
            })
            .collect();
        let mut turn = 0;
        let rows = run.in_turn(&mut contestants, |(subject, written)| {
            turn += 1;
            let mut client = subject.client()?;
            let quiet = picks.paced(&mut *client, read, READS, duration)?;
            let mut measured = || picks.paced(&mut *client, read, READS, duration);
            let (beside, added) = with_writers(&***written, writers, turn, &mut measured)?;
            Ok(Round { quiet, beside, added: added as f64 / duration.as_secs_f64() })
        })?;
        let what = read.what();
        let measure = |what: String| Measure::lower(what, "us").limit("bare evmap");
        run.tell_latencies(&rows, measure(format!("{what}, quiet, from due")), |round| &round.quiet.due)?;
        run.tell_latencies(&rows, measure(format!("{what}, beside, from due")), |round| &round.beside.due)?;
        run.tell_latencies(&rows, measure(format!("{what}, quiet, itself")), |round| &round.quiet.own)?;
        run.tell_latencies(&rows, measure(format!("{what}, beside, itself")), |round| &round.beside.own)?;
        let ratio = Measure::lower(format!("{what}: p99 beside, as a multiple of quiet"), "");
        let ratio = target.map_or(ratio.clone(), |target| ratio.target(target));
        run.tell(&rows, ratio, |round| Some(round.beside.own.at(0.99) / round.quiet.own.at(0.99)))?;
        run.tell(&rows, Measure::higher(format!("{what}: adds meanwhile"), "shapes/s"), |round| {
            Some(round.added)
        })?;
    }
    Ok(())
}

struct Round {
    quiet: Paced,
    beside: Paced,
    added: f64,
}

/// Measures while these write, and says how many shapes they added.
pub(super) fn with_writers<R>(
    subject: &dyn Subject,
    writers: Writers,
    turn: u64,
    measured: &mut dyn FnMut() -> Result<R>,
) -> Result<(R, u64)> {
    let (stop, added) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers.threads)
            .map(|thread| {
                let (stop, added) = (&stop, &added);
                scope.spawn(move || {
                    let from = UNRELATED + (turn * 64 + thread) * 10_000_000;
                    write(&mut *subject.client()?, writers, from, stop, added)
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
    subject.flush()?;
    Ok((result, added.into_inner()))
}

/// Adds at a rate, a hundred at a time, removes what is old, and in the end everything.
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
