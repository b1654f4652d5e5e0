use std::time::Duration;

use fastrand::Rng;
use shape_meta::{
    BufferOptions, Builder, CacheOptions, Durability, LookupIndex, Mode, OnCorruption, ShapeCleaner,
    ShapeMeta, SqliteOptions, postgres,
};

/// The work of a child. All fields are numbers, because the task is passed in the environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// 0: no cache; 1: look-ups in memory; 2: look-ups on disk.
    pub(super) cache: u8,
    /// 0: no buffer; 1: default flushes; 2: a flush each millisecond; 3: constant flushes.
    pub(super) buffer: u8,
    pub(super) exclusive: bool,
    pub(super) durability: u8,
    pub(super) threads: u64,
    /// The child closes the store when each thread has played this many steps.
    pub(super) steps: u64,
    pub(super) seed: u64,
}

impl Task {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let buffer = random.choice([0, 1, 2, 2, 3, 3]).unwrap_or(1);
        Self {
            cache: random.choice([0, 1, 1, 1, 2]).unwrap_or(1),
            buffer,
            exclusive: random.u8(..5) == 0,
            durability: random.u8(..3),
            threads: random.choice([1, 4]).unwrap_or(1),
            steps: if random.bool() { u64::MAX } else { random.u64(1..300) },
            seed: random.u64(..),
        }
    }

    pub(super) fn text(self) -> String {
        let numbers = [
            self.cache.into(),
            self.buffer.into(),
            self.exclusive.into(),
            self.durability.into(),
            self.threads,
            self.steps,
            self.seed,
        ];
        numbers.map(|number: u64| number.to_string()).join(" ")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [cache, buffer, exclusive, durability, threads, steps, seed] = numbers[..] else { return None };
        Some(Self {
            cache: cache.try_into().ok()?,
            buffer: buffer.try_into().ok()?,
            exclusive: exclusive == 1,
            durability: durability.try_into().ok()?,
            threads,
            steps,
            seed,
        })
    }

    /// Returns the durability of a stack in PostgreSQL, which has one level more than a file.
    pub(super) fn durability_of_server(self) -> postgres::Durability {
        use postgres::Durability::{FailOver, FailOverApplied, ProcessCrash, ServerCrash};
        let levels = [ProcessCrash, ServerCrash, FailOver, FailOverApplied];
        levels[(self.seed % levels.len() as u64) as usize]
    }

    /// Returns options with frequent checkpoints.
    pub(super) fn sqlite(self) -> SqliteOptions {
        let durability =
            [Durability::ProcessCrash, Durability::PowerLossConsistent, Durability::PowerLossDurable];
        SqliteOptions::default()
            .mode(if self.exclusive { Mode::Exclusive } else { Mode::Wal })
            .durability(durability[usize::from(self.durability)])
            .wal_autocheckpoint_bytes(256 << 10)
            // The parent checks the files, so the child must not quarantine them.
            .on_corruption(OnCorruption::Refuse)
    }

    pub(super) fn builder(self, cleaner: impl ShapeCleaner + 'static) -> Builder {
        let mut builder = ShapeMeta::builder(cleaner).sqlite(self.sqlite());
        if self.cache > 0 {
            let lookups = if self.cache == 1 { LookupIndex::Memory } else { LookupIndex::Disk };
            builder = builder.cached(CacheOptions::default().lookup_index(lookups));
        }
        let options = BufferOptions::default();
        match self.buffer {
            0 => builder,
            1 => builder.buffered(options),
            2 => builder.buffered(options.flush_interval(Duration::from_millis(1))),
            _ => builder.buffered(
                options
                    .flush_interval(Duration::from_micros(50))
                    .flush_shapes(3)
                    .concurrent_publish_min_changes(1),
            ),
        }
    }
}

/// The moment of a kill: a delay after the child has reported an activity for the given time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) activity: &'static str,
    pub(super) times: u64,
    pub(super) delay: Duration,
    /// The child is killed at the latest this long after it has opened the store, because not every activity
    /// occurs.
    pub(super) latest: Duration,
}

impl Moment {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let (activity, max_times, max_delay) = match random.u8(..16) {
            0 => ("start", 1, 10_000),
            1..=2 => ("open", 1, 4_000),
            3 => ("recovery", 1, 1_500),
            4 => ("clean", 8, 1_000),
            5 => ("opened", 1, 3_000),
            6..=8 => ("flush", 20, 2_000),
            9..=10 => ("close", 1, 3_000),
            _ => ("did", 3_000, 300),
        };
        Self {
            activity,
            times: random.u64(1..=max_times),
            delay: Duration::from_micros(random.u64(..=max_delay)),
            latest: Duration::from_millis(random.u64(20..=600)),
        }
    }
}

/// What happens to the files between two children, while no process has them open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The files are copied.
    Copy,
    /// A backup is made.
    Backup,
    /// The latest copy or backup is put in the place of the database.
    Restore,
    /// The directory of the database gets another name.
    Move,
    /// The file of the database is emptied.
    Empty,
    /// The directory of the database is empty, as that of a volume which is not mounted.
    Unmount,
    /// The volume is mounted again.
    Mount,
    /// Stored data without a shape appears.
    Plant,
    /// The store is opened, flushed and cleaned until nothing is left to do.
    Settle,
    /// The same, and the orphans that wait for it are confirmed.
    Confirm,
}

impl Event {
    pub(super) fn draw(random: &mut Rng) -> Option<Self> {
        Some(match random.u8(..20) {
            0..2 => Self::Copy,
            2..4 => Self::Backup,
            4..6 => Self::Restore,
            6 => Self::Move,
            7 => Self::Empty,
            8 => Self::Unmount,
            9..11 => Self::Mount,
            11 => Self::Plant,
            12..15 => Self::Settle,
            15 => Self::Confirm,
            _ => return None,
        })
    }

    /// Whether it happens to the stored data alone.
    pub(super) fn concerns_data(self) -> bool {
        matches!(self, Self::Plant | Self::Settle | Self::Confirm)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Move => "move",
            Self::Empty => "empty file",
            Self::Unmount => "unmount",
            Self::Mount => "mount",
            Self::Plant => "orphan",
            Self::Settle => "settle",
            Self::Confirm => "confirm",
        }
    }
}
