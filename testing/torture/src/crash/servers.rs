//! Crash tests over PostgreSQL: the client is killed, the server is killed beneath it, and a synchronous
//! replica takes the place of the server.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use shape_meta::{
    NoopObserver, OnLiveOwner, PostgresOptions, PostgresPool, PostgresStore, postgres::Durability,
};
use shape_meta_core::{MemoryStore, conformance::View};
use shape_meta_testing_postgres::{self as server, Cluster};

use super::{
    Outcome, Report,
    check::{self, timeless},
    child,
    child_log::{ChildLog, Place, kill_at},
    plan::{Moment, Task},
};

/// The stack on which all children of a chain work.
pub(super) const STACK: &str = "crash";
/// How long a server may take to start, or to replicate.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What happens to the server while a child works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing.
    Nothing,
    /// It is killed, and started again.
    Kill,
    /// It is killed, and its replica is promoted.
    FailOver,
}

impl Event {
    fn draw(random: &mut Rng, task: Task, has_replica: bool) -> Self {
        // Without a buffer, and a cache that answers all look-ups, a mutation fails when the server does.
        let rides_out = task.buffer > 0 && task.cache == 1;
        match random.u8(..4) {
            0 => Self::Nothing,
            _ if !rides_out => Self::Nothing,
            1 | 2 if has_replica => Self::FailOver,
            _ => Self::Kill,
        }
    }

    /// Whether everything that a receipt says is durable survives it.
    fn keeps_durable(self, durability: Durability) -> bool {
        durability
            >= match self {
                Self::Nothing => Durability::ProcessCrash,
                Self::Kill => Durability::ServerCrash,
                Self::FailOver => Durability::FailOver,
            }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Kill => "server killed",
            Self::FailOver => "replica promoted",
        }
    }
}

/// A server, perhaps with a replica, on which several children work in succession.
pub(super) struct Servers {
    primary: Cluster,
    replica: Option<Cluster>,
    held: MemoryStore,
    past: Vec<String>,
}

impl Servers {
    /// Starts a server; `None` if there is no PostgreSQL.
    pub(super) fn begin(random: &mut Rng) -> Outcome<Option<Self>> {
        // The servers of other tests do not sync. What need not wait for a sync is lost by a kill for sure.
        let Some(primary) = server::own(&["fsync=on", "wal_writer_delay=10s"]) else { return Ok(None) };
        let mut servers = Self { primary, replica: None, held: MemoryStore::new(), past: Vec::new() };
        if random.bool() {
            servers.replica = Some(servers.primary.replica());
            servers.await_replica()?;
        }
        Ok(Some(servers))
    }

    /// Makes commits wait for the replica, and waits until they do.
    fn await_replica(&self) -> Outcome<()> {
        let set = "ALTER SYSTEM SET synchronous_standby_names = '*'";
        self.primary.execute(&[set, "SELECT pg_reload_conf()"])?;
        let deadline = Instant::now() + TIMEOUT;
        while self.primary.query("SELECT sync_state FROM pg_stat_replication")? != "sync" {
            if Instant::now() > deadline {
                return Err("the replica does not become synchronous".into());
            }
            thread::yield_now();
        }
        Ok(())
    }

    fn connection(&self) -> String {
        match &self.replica {
            Some(replica) => server::connection_to_any([self.primary.port, replica.port]),
            None => self.primary.connection(),
        }
    }

    /// Plays one round: a child works while something may happen to the server, is killed, and the stack is
    /// checked. Returns whether it passed.
    pub(super) fn round(&mut self, binary: &Path, random: &mut Rng, report: &mut Report) -> Outcome {
        let (mut task, mut moment) = (Task::draw(random), Moment::draw(random));
        // Most children ride out what happens to the server.
        if random.u8(..4) > 0 {
            (task.buffer, task.cache) = (task.buffer.max(1), 1);
        }
        let event = Event::draw(random, task, self.replica.is_some());
        let delay = Duration::from_millis(random.u64(..600));
        if event != Event::Nothing {
            moment.times = u64::MAX;
            moment.latest = delay + Duration::from_millis(random.u64(200..4_000));
        }
        let connection = self.connection();
        let place = Place::Server(&connection);
        let (log, broken) = thread::scope(|scope| {
            let broken = scope.spawn(|| {
                // The random moment of the event, not a wait for one.
                thread::sleep(delay);
                catch_unwind(AssertUnwindSafe(|| self.happen(event).map_err(|error| error.to_string())))
            });
            let log = kill_at(moment, task, binary, place, None);
            (log, broken.join())
        });
        let log = log?;
        match broken {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(error.into()),
            _ => return Err(format!("{} has panicked (see above)", event.name()).into()),
        }
        report.rounds += 1;
        *report.events.entry(event.name()).or_default() += 1;
        if log.killed.is_some() {
            report.kills += 1;
            *report.hits.entry(log.last.clone()).or_default() += 1;
        }
        report.acknowledged += log.did.iter().flatten().filter(|(seq, _)| seq.is_some()).count() as u64;
        // What a stack shows must agree with itself, or the check panics.
        let checked = catch_unwind(AssertUnwindSafe(|| self.check(log, task, event)))
            .unwrap_or_else(|_| Err("C1: the stack contradicts itself (see above)".into()));
        self.past.push(format!("{task:?}, {event:?} after {delay:?}, {moment:?}"));
        let Err(wrong) = checked else { return Ok(true) };
        let wrong = format!("{wrong}\n  round {}, after\n  {}", report.rounds, self.past.join("\n  "));
        println!("{wrong}");
        report.violations.push(wrong);
        Ok(false)
    }

    fn happen(&mut self, event: Event) -> Outcome<()> {
        match (event, self.replica.take()) {
            (Event::FailOver, Some(replica)) => {
                self.primary.kill();
                replica.promote();
                self.primary = replica;
                // Its backup and its stream have what is committed until commits wait again.
                self.replica = Some(self.primary.replica());
                self.await_replica()
            }
            (Event::Kill, replica) => {
                self.primary.kill();
                self.primary.start();
                self.replica = replica;
                Ok(())
            }
            (_, replica) => {
                self.replica = replica;
                Ok(())
            }
        }
    }

    fn check(&mut self, mut log: ChildLog, task: Task, event: Event) -> Result<(), String> {
        let left = self.read().map_err(|error| format!("C6: the stack cannot be read: {error}"))?;
        let view = timeless(View::of(&left));
        let keeps_durable = event.keeps_durable(task.durability_of_server());
        if !keeps_durable {
            log.durable = 0;
        }
        // A loss that the durability allows may include the open itself.
        let is_unopened = !keeps_durable && view == timeless(View::of(&self.held));
        if !is_unopened {
            check::is_prefix(&self.held, &view, &log, task)?;
        }
        self.held = left;
        Ok(())
    }

    /// Returns the content of the stack. Takes the ownership, which waits for a transaction that the killed
    /// child has left.
    fn read(&self) -> Outcome<MemoryStore> {
        let pool = PostgresPool::new(child::pool_options(&self.primary.connection())?)?;
        let options = PostgresOptions::default().on_live_owner(OnLiveOwner::Fence);
        let store = PostgresStore::open(&pool, STACK, options, Arc::new(NoopObserver))?;
        let copy = check::copy(&store)?;
        store.close();
        Ok(copy)
    }
}
