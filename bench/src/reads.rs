//! Reads through the whole stack.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta::{Entry, Lookups, ShapeMeta, Timestamp, prelude::*};

use crate::{
    Result,
    bare_map::BareMap,
    figure::{Figure, Target},
    filled, sample,
};

/// Reads in one round.
const READS: u64 = 400_000;

/// A database of this size, made for the purpose.
pub(crate) fn single(root: &Path, shapes: u64, rounds: usize) -> Result<Vec<Figure>> {
    let directory = root.join(format!("reads-{shapes}"));
    filled::fill(&directory, shapes)?;
    single_in(&directory, shapes, rounds)
}

/// Reads of one shape, at random, with nothing pending.
pub(crate) fn single_in(directory: &Path, shapes: u64, rounds: usize) -> Result<Vec<Figure>> {
    let store = sample::open(directory, Lookups::InMemory, 0)?;
    let order: Vec<u64> = (0..READS).map(|at| sample::mix(at) % shapes).collect();
    let handles: Vec<_> = order.iter().map(|number| sample::handle_text(*number)).collect();
    let keys: Vec<_> = order.iter().map(|number| sample::key(*number)).collect();

    // The same entries in an evmap of our own.
    let all: Vec<Arc<Entry>> = (0..shapes)
        .map(|number| Ok(store.entry(&sample::handle(number))?.ok_or("a filled shape is there")?))
        .collect::<Result<_>>()?;
    let by_handle = BareMap::of(&all, |entry| Text::of(entry.handle().as_bytes()));
    let by_key = BareMap::of(&all, |entry| *entry.key().as_bytes());
    let texts: Vec<_> = handles.iter().map(|handle| Text::of(handle.as_bytes())).collect();

    let mut measured: [Vec<f64>; 5] = Default::default();
    for round in 0..=rounds {
        let times = [
            per_read(|| texts.iter().filter(|text| by_handle.get(text).is_some()).count()),
            per_read(|| {
                handles.iter().filter(|handle| store.metadata(handle).is_ok_and(|one| one.is_some())).count()
            }),
            per_read(|| keys.iter().filter(|key| by_key.get(key.as_bytes()).is_some()).count()),
            per_read(|| {
                keys.iter().filter(|key| store.handle_for(key).is_ok_and(|one| one.is_some())).count()
            }),
            per_read(|| {
                let now = Timestamp::now();
                handles.iter().filter(|handle| store.touch(handle, now).is_ok_and(|live| live)).count()
            }),
        ];
        if round > 0 {
            measured.iter_mut().zip(times).for_each(|(rounds, time)| rounds.push(time));
        }
    }
    let definition: Vec<f64> = (0..rounds).map(|_| definitions(&store, &handles)).collect();
    let [bare_handle, metadata, bare_key, handle_for, touch] = measured;
    let of = |what: &str, rounds| Figure::of("reads", format!("{what}, {shapes} shapes"), "ns", rounds);
    Ok(vec![
        of("metadata by handle (limit: bare evmap)", metadata)
            .limit(bare_handle)
            .target(Target::MostTimesLimit(2.0)),
        of("handle by key (limit: bare evmap)", handle_for)
            .limit(bare_key)
            .target(Target::MostTimesLimit(2.0)),
        of("touch", touch),
        of("definition by handle", definition),
    ])
}

/// The text of a handle, in place as in [`shape_meta::Handle`].
#[derive(Clone, PartialEq, Eq)]
struct Text([u8; 25]);

impl Text {
    fn of(handle: &[u8]) -> Self {
        let mut bytes = [0; 25];
        bytes.copy_from_slice(handle);
        Self(bytes)
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn per_read(read: impl FnOnce() -> usize) -> f64 {
    let begun = Instant::now();
    let found = black_box(read());
    let took = begun.elapsed();
    assert_eq!(found as u64, READS, "every shape that is asked for is there");
    took.as_nanos() as f64 / READS as f64
}

fn definitions(store: &ShapeMeta, handles: &[String]) -> f64 {
    let asked = &handles[..handles.len() / 20];
    let begun = Instant::now();
    for handle in asked {
        black_box(store.record(handle).is_ok());
    }
    begun.elapsed().as_nanos() as f64 / asked.len() as f64
}

/// Shapes of one relation, and those not read for longest: quiet, and with 50,000 changes pending.
pub(crate) fn lists(directory: &Path, shapes: u64, rounds: usize) -> Result<Vec<Figure>> {
    let store = sample::open(directory, Lookups::InMemory, 0)?;
    let relation = [sample::relation(0)];
    let milliseconds = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    let reading = || -> Result<f64> {
        let begun = Instant::now();
        let found = black_box(store.handles_reading(&relation)?.len());
        let took = milliseconds(begun);
        assert!(found as u64 >= sample::PER_RELATION.min(shapes), "{found} handles");
        Ok(took)
    };
    let stalest = || -> Result<f64> {
        let begun = Instant::now();
        assert_eq!(black_box(store.stalest(1_000)?.shapes.len()), 1_000);
        Ok(milliseconds(begun))
    };
    let several =
        |measure: &dyn Fn() -> Result<f64>| (0..rounds).map(|_| measure()).collect::<Result<Vec<_>>>();

    let quiet = several(&reading)?;
    let stalest_quiet = several(&stalest)?;
    store.pause();
    for number in shapes..shapes + 50_000 {
        store.add(sample::shape(number), Wait::No)?;
    }
    let pending = several(&reading)?;
    let stalest_pending = several(&stalest)?;
    // As a removal each, so that the file is as it was.
    for number in shapes..shapes + 50_000 {
        store.remove(&sample::handle(number), Wait::No)?;
    }
    store.resume();
    store.flush(Duration::from_secs(60))?;

    let of = |what: String, rounds| Figure::of("lists", what, "ms", rounds);
    let most = if shapes > 500_000 { 15.0 } else { 4.0 };
    Ok(vec![
        of("10,000 handles of a relation".into(), quiet).target(Target::Most(1.0)),
        of("the same, with 50,000 changes pending".into(), pending).target(Target::Most(1.0)),
        of(format!("1,000 least recently used of {shapes}"), stalest_quiet).target(Target::Most(most)),
        of("the same, with 50,000 changes pending".into(), stalest_pending).target(Target::Most(most)),
    ])
}
