use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use shape_meta::{BufferOptions, CacheOptions, NoopCleaner, prelude::*};
use shape_meta_core::MemoryStore;
use tempfile::TempDir;

use crate::{
    PATIENT,
    case::{Case, Observed},
};

/// Shapes that are there.
const SHAPES: u64 = 10_000;

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    ReadMetadata,
    /// Asks a database.
    ReadDefinition,
    Add,
    /// Of a thousand changes, over a store in memory: the share that an observer takes of a flush to a disk is smaller by as
    /// much as the disk is slower.
    Flush,
}

impl Work {
    pub(crate) const ALL: [Self; 4] = [Self::ReadMetadata, Self::ReadDefinition, Self::Add, Self::Flush];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadMetadata => "read of metadata",
            Self::ReadDefinition => "read of a definition",
            Self::Add => "add",
            Self::Flush => "flush of 1,000 changes",
        }
    }

    /// Operations of a sample: so many that it takes about as long as a few hundred looks at the clock.
    pub(crate) fn times(self) -> u32 {
        match self {
            Self::ReadMetadata => 4_000,
            Self::ReadDefinition => 50,
            Self::Add => 300,
            Self::Flush => 1,
        }
    }
}

/// A store that is worked with, under one observer.
pub(crate) struct Worked {
    work: Work,
    observed: Observed,
    store: ShapeMeta,
    next: u64,
    _directory: Option<TempDir>,
}

impl Worked {
    pub(crate) fn new(work: Work, case: Case) -> Self {
        let observed = Observed::new(case);
        let (store, directory) = observed.during(|| {
            let builder = ShapeMeta::builder(NoopCleaner)
                .observer(observed.observer())
                .cached(CacheOptions::default())
                // Flushed on the thread that measures.
                .buffered(
                    BufferOptions::default()
                        .background_flush(false)
                        .max_pending_shapes(1 << 20)
                        .max_pending_bytes(usize::MAX),
                );
            let directory = matches!(work, Work::ReadDefinition)
                .then(|| tempfile::tempdir().expect("there is room for temporary files"));
            let store = match &directory {
                Some(directory) => builder.open(directory.path()),
                None => builder.over(MemoryStore::new()),
            };
            (store.expect("a place of our own"), directory)
        });
        let mut worked = Self { work, observed, store, next: 0, _directory: directory };
        worked.refill();
        worked
    }

    /// The shapes that are there, and nothing else.
    fn refill(&mut self) {
        self.observed.during(|| {
            self.store.reset(Wait::No).expect("room");
            for number in 0..SHAPES {
                self.store.add(shape(number), Wait::No).expect("room");
            }
            self.store.flush(PATIENT).expect("it is written");
        });
        self.next = SHAPES;
    }

    fn shapes(&mut self, count: u64) -> Vec<NewShape> {
        let from = self.next;
        self.next += count;
        (from..self.next).map(shape).collect()
    }

    /// How long the operations of one sample took.
    pub(crate) fn sample(&mut self) -> Duration {
        if matches!(self.work, Work::Add) && self.next > 5 * SHAPES {
            self.refill();
        }
        let (times, handle) = (self.work.times(), shape(7).handle);
        let new = match self.work {
            Work::Add => self.shapes(times.into()),
            Work::Flush => self.shapes(1_000),
            Work::ReadMetadata | Work::ReadDefinition => Vec::new(),
        };
        let Self { work, observed, store, .. } = self;
        observed.during(|| match work {
            Work::ReadMetadata => timed(|| {
                for _ in 0..times {
                    black_box(store.metadata(black_box(&handle)).expect("it reads"));
                }
            }),
            Work::ReadDefinition => timed(|| {
                for _ in 0..times {
                    black_box(store.record(black_box(&handle)).expect("it reads"));
                }
            }),
            Work::Add => {
                let took = timed(|| {
                    for shape in new {
                        store.add(shape, Wait::No).expect("room");
                    }
                });
                store.flush(PATIENT).expect("it is written");
                took
            }
            Work::Flush => {
                // Or the growth of the table would be most of what is seen.
                store.reset(Wait::No).expect("room");
                store.flush(PATIENT).expect("it is written");
                for shape in new {
                    store.add(shape, Wait::No).expect("room");
                }
                timed(|| store.flush(PATIENT).expect("it is written"))
            }
        })
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    NewShape {
        handle: Handle::new(format!("{number:08}-1768476874000000")).expect("printable"),
        key: Key::new(key),
        hash: DefinitionHash::new(number),
        relations: [Relation::new(number as u32 % 1000)].into_iter().collect(),
        dependencies: [].into(),
        indexed: false,
        definition: vec![7; 419].into(),
    }
}
