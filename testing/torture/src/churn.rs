//! Long use of a stack in PostgreSQL: shapes come, are marked, read and removed at a steady rate, and the
//! sizes of the tables are sampled. With the server's default settings for autovacuum they must level off. A
//! standby follows, and some mutations are timed from their commit until it shows them.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use lexopt::{Arg, Parser, ValueExt};
use shape_meta::{
    BoxError, BufferOptions, Builder, CacheOptions, Handle, MutateShapesExt, NewShape, PoolOptions,
    PostgresPool, ReadShapes, ReadShapesExt, Receipt, ShapeCleaner, ShapeMeta, Standby, StoreControl, Wait,
};
use shape_meta_core::conformance;
use shape_meta_testing_postgres::{self as server, Cluster};

use crate::crash::Outcome;

const STACK: &str = "churn";

/// How often a part of the work is done.
const TICK: Duration = Duration::from_millis(100);
/// The number of ticks after which the snapshot of a new shape starts, and is complete.
const MARKED_AFTER: [usize; 2] = [3, 12];
/// Of the new shapes, one in this number lives long.
const ONE_IN: u64 = 20;
/// The number of definitions that are read in a tick.
const READS: usize = 3;
/// Longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(60);
const WAIT: Wait = Wait::UpTo(TIMEOUT);
/// The largest relation of two sizes that still counts as level.
const LEVEL: f64 = 1.1;
/// The size in bytes up to which growth does not count.
const SMALL: u64 = 1 << 20;

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The number of live shapes. A fifth of them lives five times as long as the others.
    pub shapes: u64,
    /// The number of shapes that are added, marked, touched and removed in a second.
    pub rate: u64,
    /// For how long.
    pub duration: Duration,
    /// How often the tables are sampled.
    pub interval: Duration,
}

/// Runs the load and prints a report.
///
/// # Errors
///
/// If the arguments are invalid, or the store or the server fails.
pub fn run(mut arguments: Parser) -> Outcome {
    let (mut minutes, mut shapes, mut rate) = (60, 50_000, 200);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("minutes") => minutes = arguments.value()?.parse::<u64>()?,
            Arg::Long("shapes") => shapes = arguments.value()?.parse()?,
            Arg::Long("rate") => rate = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let duration = Duration::from_secs(60 * minutes);
    let load = Load { shapes, rate, duration, interval: Duration::from_secs(60) };
    let report = churn(load)?.ok_or("there is no PostgreSQL")?;
    println!("{report}");
    Ok(true)
}

/// Runs the load over a server of its own; `None` if there is no PostgreSQL.
///
/// # Errors
///
/// If the store or the server fails.
pub fn churn(load: Load) -> Outcome<Option<Report>> {
    let Some(cluster) = server::own(&["fsync=on"]) else { return Ok(None) };
    let pool = || PostgresPool::new(PoolOptions::parse(&cluster.connection())?);
    let store = builder().open_postgres(&pool()?, STACK)?;
    let mut client = Client { store, live: Default::default(), next: 0, random: Rng::with_seed(1) };
    for number in 0..load.shapes {
        let number = client.add(number % 5 == 0)?.0;
        client.mark(number, true)?;
        client.mark(number, false)?;
    }
    client.store.flush(TIMEOUT)?;
    // As on another machine.
    let standby = builder().open_postgres_standby(&pool()?, STACK)?;
    let (timings, (to_follower, receipts)) = (Timings::default(), sync_channel(16));
    let mut report = Report::default();
    thread::scope(|scope| {
        let follower = scope.spawn(|| timings.follow(&standby, receipts));
        let mut sample = |at| {
            report.samples.push(Sample::take(&cluster, at, &timings)?);
            println!("{}", report.samples[report.samples.len() - 1]);
            Outcome::Ok(())
        };
        sample(Duration::ZERO)?;
        let begin = Instant::now();
        let (mut due, mut sampled, mut done) = (begin, begin, 0);
        let mut marks = MARKED_AFTER.map(|ticks| VecDeque::from(vec![Vec::new(); ticks]));
        while begin.elapsed() < load.duration {
            // What is due by now: a tick that was late is made up for.
            let wanted = u64::try_from(begin.elapsed().as_millis())? * load.rate / 1_000;
            let mut added = Vec::new();
            while done < wanted {
                let lives_long = done % ONE_IN == 0;
                let (number, receipt) = client.add(lives_long)?;
                added.push(number);
                client.remove(lives_long)?;
                client.touch()?;
                done += 1;
                if done == wanted {
                    // While the follower is late, no more are timed.
                    let _ = to_follower.try_send(receipt);
                }
            }
            for (waiting, is_started) in marks.iter_mut().zip([true, false]) {
                waiting.push_back(added.clone());
                for number in waiting.pop_front().unwrap_or_default() {
                    client.mark(number, is_started)?;
                }
            }
            // At a random moment between two flushes.
            thread::sleep(TICK.mul_f64(client.random.f64() * 0.8));
            for _ in 0..READS {
                let took = client.read()?;
                lock(&timings.reads).push(took);
            }
            if sampled.elapsed() >= load.interval {
                sampled += load.interval;
                sample(begin.elapsed())?;
            }
            due += TICK;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        drop(to_follower);
        if sampled.elapsed() >= load.interval / 2 {
            sample(begin.elapsed())?;
        }
        report.cycles = done;
        let followed = follower.join().map_err(|_| "the follower has panicked")?;
        followed.map_err(|error| -> Box<dyn Error> { error })
    })?;
    client.store.close(TIMEOUT);
    Ok(Some(report))
}

fn builder() -> Builder {
    ShapeMeta::builder(DeletesNothing).cached(CacheOptions::default()).buffered(BufferOptions::default())
}

/// How long operations took since the latest sample.
#[derive(Default)]
struct Timings {
    /// The reads of a definition.
    reads: Mutex<Vec<Duration>>,
    /// From the commit of a mutation until the standby shows it.
    shown: Mutex<Vec<Duration>>,
}

impl Timings {
    fn follow(&self, standby: &Standby, receipts: Receiver<Receipt>) -> Result<(), BoxError> {
        for receipt in receipts {
            receipt.wait_durable(TIMEOUT)?;
            let committed = Instant::now();
            if !standby.wait_visible(receipt.seq(), TIMEOUT)? {
                return Err("the standby does not follow".into());
            }
            lock(&self.shown).push(committed.elapsed());
        }
        Ok(())
    }
}

fn lock(timings: &Mutex<Vec<Duration>>) -> MutexGuard<'_, Vec<Duration>> {
    timings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Median and 99th percentile of some times.
#[derive(Clone, Copy, Debug, Default)]
struct Percentiles {
    of: usize,
    p50: Duration,
    p99: Duration,
}

impl Percentiles {
    /// Takes all of them.
    fn take(timings: &Mutex<Vec<Duration>>) -> Self {
        let mut sorted = std::mem::take(&mut *lock(timings));
        sorted.sort_unstable();
        let of = sorted.len();
        let at = |part| sorted.get(of.saturating_sub(1) * part / 100).copied().unwrap_or_default();
        Self { of, p50: at(50), p99: at(99) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{}, p50 {:.2} ms, p99 {:.2} ms", self.of, milliseconds(self.p50), milliseconds(self.p99))
    }
}

/// A cleaner that deletes nothing, so that each removal leaves a cleanup task which is soon acknowledged.
struct DeletesNothing;

impl ShapeCleaner for DeletesNothing {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Client {
    store: ShapeMeta,
    /// The shapes that live long, and the others.
    live: [Vec<u64>; 2],
    next: u64,
    random: Rng,
}

impl Client {
    fn add(&mut self, lives_long: bool) -> Outcome<(u64, Receipt)> {
        let number = self.next;
        self.next += 1;
        let receipt = self.store.add(shape(number), WAIT)?;
        self.live[usize::from(!lives_long)].push(number);
        Ok((number, receipt))
    }

    /// Removes a random shape.
    fn remove(&mut self, lives_long: bool) -> Outcome<()> {
        let live = &mut self.live[usize::from(!lives_long)];
        let number = live.swap_remove(self.random.usize(..live.len()));
        self.store.remove(&conformance::handle(number), WAIT)?;
        Ok(())
    }

    /// Marks the snapshot of a shape as started or complete, unless the shape was removed meanwhile.
    fn mark(&self, number: u64, is_started: bool) -> Outcome<()> {
        let handle = conformance::handle(number);
        if self.store.has_handle(&handle)? {
            match is_started {
                true => self.store.mark_snapshot_started(&handle, WAIT)?,
                false => self.store.mark_snapshot_complete(&handle, WAIT)?,
            };
        }
        Ok(())
    }

    fn random(&mut self) -> Handle {
        let [long, short] = &self.live;
        let at = self.random.usize(..long.len() + short.len());
        conformance::handle(long.get(at).copied().unwrap_or_else(|| short[at - long.len()]))
    }

    fn touch(&mut self) -> Outcome<()> {
        let handle = self.random();
        self.store.touch_now(&handle)?;
        Ok(())
    }

    /// Returns how long the read of a definition takes.
    fn read(&mut self) -> Outcome<Duration> {
        let handle = self.random();
        let began = Instant::now();
        let record = self.store.record(&handle)?;
        let took = began.elapsed();
        record.map(|_| took).ok_or_else(|| format!("{handle} is live and was not found").into())
    }
}

/// Returns a shape whose record has about 500 bytes.
fn shape(number: u64) -> NewShape {
    NewShape { definition: vec![number as u8; 350].into(), created_at: None, ..conformance::shape(number) }
}

/// The size and the statistics of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    heap: u64,
    indexes: u64,
    live: u64,
    dead: u64,
    vacuums: u64,
    updates: u64,
    hot_updates: u64,
}

/// The tables at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    at: Duration,
    tables: BTreeMap<String, Table>,
    wal: u64,
    reads: Percentiles,
    shown: Percentiles,
}

impl Sample {
    fn take(cluster: &Cluster, at: Duration, timings: &Timings) -> Outcome<Self> {
        let (reads, shown) = (Percentiles::take(&timings.reads), Percentiles::take(&timings.shown));
        let mut sample = Self { at, reads, shown, ..Self::default() };
        let wal = cluster.query("SELECT (pg_current_wal_lsn() - '0/0')::bigint")?;
        sample.wal = wal.parse()?;
        let tables = cluster.query(
            "SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup, \
             autovacuum_count, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables",
        )?;
        for line in tables.lines() {
            let mut fields = line.split('|');
            let name = fields.next().unwrap_or_default().to_owned();
            let numbers: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
            let [heap, indexes, live, dead, vacuums, updates, hot_updates] = numbers[..] else {
                return Err(format!("an unexpected row of statistics: {line}").into());
            };
            let table = Table { heap, indexes, live, dead, vacuums, updates, hot_updates };
            sample.tables.insert(name, table);
        }
        Ok(sample)
    }

    /// Returns the size of all tables and indexes.
    fn size(&self) -> u64 {
        self.tables.values().map(|table| table.heap + table.indexes).sum()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:4} s: {:.1} MB, WAL {:.0} MB; reads of a definition: {}; from commit to standby: {}",
            self.at.as_secs(),
            megabytes(self.size()),
            megabytes(self.wal),
            self.reads,
            self.shown
        )
    }
}

/// The samples of a run.
#[derive(Debug, Default)]
pub struct Report {
    samples: Vec<Sample>,
    /// The number of shapes that were added and removed.
    pub cycles: u64,
}

impl Report {
    /// Returns the samples of each quarter.
    fn quarters(&self) -> [&[Sample]; 4] {
        let samples = self.samples.get(1..).unwrap_or_default();
        [0, 1, 2, 3].map(|quarter| &samples[samples.len() * quarter / 4..samples.len() * (quarter + 1) / 4])
    }

    /// Returns the tables that were larger in the last quarter than in the second one: their sizes are not
    /// level yet.
    pub fn growing(&self) -> Vec<&str> {
        let [_, second, _, last] = self.quarters();
        let largest = |samples: &[Sample], name: &str| {
            samples
                .iter()
                .filter_map(|sample| sample.tables.get(name))
                .map(|table| table.heap + table.indexes)
                .max()
        };
        let names = self.samples.first().map(|sample| sample.tables.keys());
        let grows = |name: &&String| match (largest(second, name), largest(last, name)) {
            (Some(second), Some(last)) => last > SMALL && last as f64 > second as f64 * LEVEL,
            _ => false,
        };
        names.into_iter().flatten().filter(grows).map(String::as_str).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else { return Ok(()) };
        writeln!(f, "{} shapes were added and removed in {} s", self.cycles, last.at.as_secs())?;
        writeln!(
            f,
            "MB of each table and its indexes, the largest of each quarter; its dead rows likewise\n"
        )?;
        writeln!(f, "| table | start | 1st quarter | 2nd | 3rd | 4th | dead rows | vacuums | HOT updates |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for (name, start) in &first.tables {
            let size = |table: &Table| table.heap + table.indexes;
            let quarters = self.quarters().map(|quarter| {
                let tables = quarter.iter().filter_map(|sample| sample.tables.get(name));
                let heap = tables.clone().map(|table| table.heap).max().unwrap_or_default();
                let dead = tables.clone().map(|table| table.dead).max().unwrap_or_default();
                (heap, tables.map(size).max().unwrap_or_default(), dead)
            });
            let table = last.tables.get(name).copied().unwrap_or_default();
            write!(f, "| `{name}` ({} rows) | {:.2}", table.live, megabytes(size(start)))?;
            for (heap, size, _) in quarters {
                write!(
                    f,
                    " | {:.2} ({:.2} + {:.2})",
                    megabytes(size),
                    megabytes(heap),
                    megabytes(size - heap)
                )?;
            }
            let dead = quarters.map(|(_, _, dead)| dead.to_string()).join(", ");
            let hot = 100 * table.hot_updates / table.updates.max(1);
            let updates =
                if table.updates == 0 { String::new() } else { format!("{hot}% of {}", table.updates) };
            writeln!(f, " | {dead} | {} | {updates} |", table.vacuums)?;
        }
        writeln!(f, "\n{first}\n{last}")?;
        let growing = self.growing();
        match growing.is_empty() {
            true => write!(f, "no table was larger by a tenth in the last quarter than in the second one"),
            false => write!(
                f,
                "larger by a tenth in the last quarter than in the second one: {}",
                growing.join(", ")
            ),
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
