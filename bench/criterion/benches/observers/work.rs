use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use shape_meta::{BufferOptions, CacheOptions, NoopCleaner, prelude::*};
use shape_meta_core::MemoryStore;
use tempfile::TempDir;

use crate::{
    TIMEOUT,
    case::{Case, Instrumentation},
};

/// The number of shapes in the store.
const SHAPES: u64 = 10_000;

/// A measured operation.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    ReadMetadata,
    /// Reads from a database.
    ReadDefinition,
    Add,
    /// A flush of a thousand changes to a store in memory. A flush to a disk takes longer, so the share of an
    /// observer is smaller there.
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

    /// Returns the number of operations in a sample: it takes about as long as a few hundred reads of the
    /// clock.
    pub(crate) fn times(self) -> u32 {
        match self {
            Self::ReadMetadata => 4_000,
            Self::ReadDefinition => 50,
            Self::Add => 300,
            Self::Flush => 1,
        }
    }
}

/// A store with one observer, and the operation to measure.
pub(crate) struct Workload {
    work: Work,
    instrumentation: Instrumentation,
    store: ShapeMeta,
    next: u64,
    _directory: Option<TempDir>,
}

impl Workload {
    pub(crate) fn new(work: Work, case: Case) -> Self {
        let instrumentation = Instrumentation::new(case);
        let (store, directory) = instrumentation.during(|| {
            let builder = ShapeMeta::builder(NoopCleaner)
                .observer(instrumentation.observer())
                // Definitions come from the disk.
                .cached(CacheOptions::default().definition_cache_bytes(0))
                // The measuring thread flushes.
                .buffered(
                    BufferOptions::default()
                        .background_flush(false)
                        .max_pending_shapes(1 << 20)
                        .max_pending_bytes(usize::MAX),
                );
            let directory = matches!(work, Work::ReadDefinition)
                .then(|| tempfile::tempdir().expect("a temporary directory"));
            let store = match &directory {
                Some(directory) => builder.open(directory.path()),
                None => builder.over(MemoryStore::new()),
            };
            (store.expect("a new store"), directory)
        });
        let mut workload = Self { work, instrumentation, store, next: 0, _directory: directory };
        workload.refill();
        workload
    }

    /// Resets the store to the initial shapes.
    fn refill(&mut self) {
        self.instrumentation.during(|| {
            self.store.reset(Wait::No).expect("below the limit");
            for number in 0..SHAPES {
                self.store.add(shape(number), Wait::No).expect("below the limit");
            }
            self.store.flush(TIMEOUT).expect("it is written");
        });
        self.next = SHAPES;
    }

    fn shapes(&mut self, count: u64) -> Vec<NewShape> {
        let from = self.next;
        self.next += count;
        (from..self.next).map(shape).collect()
    }

    /// Returns the duration of one sample.
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
        let Self { work, instrumentation, store, .. } = self;
        instrumentation.during(|| match work {
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
                        store.add(shape, Wait::No).expect("below the limit");
                    }
                });
                store.flush(TIMEOUT).expect("it is written");
                took
            }
            Work::Flush => {
                // Otherwise the growth of the table would dominate.
                store.reset(Wait::No).expect("below the limit");
                store.flush(TIMEOUT).expect("it is written");
                for shape in new {
                    store.add(shape, Wait::No).expect("below the limit");
                }
                timed(|| store.flush(TIMEOUT).expect("it is written"))
            }
        })
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    let started_at = Instant::now();
    run();
    started_at.elapsed()
}

fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let key = Key::new(key);
    NewShape {
        handle: Handle::new(format!("{number:08}-1768476874000000")).expect("printable"),
        key,
        hash: key.definition_hash(),
        relations: [Relation::new(number as u32 % 1000)].into_iter().collect(),
        dependencies: [].into(),
        indexed: false,
        definition: vec![7; 419].into(),
        created_at: None,
    }
}
