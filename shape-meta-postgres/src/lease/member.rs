use std::{
    collections::{HashMap, HashSet},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result, Seq, store_parts::Identity};
use tokio_postgres::types::ToSql;

use crate::{
    config::SchemaName,
    connection::{client::Client, pool::Connections},
    format::statements::Statements,
    lease::keeper,
    notify::{Channel, News},
    ownership::{opening::not_ours_any_more, owner},
};

/// The leases of a pool: one for each schema.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<Arc<str>, Arc<Member>>>);

impl Members {
    /// Returns the member of the pool in this schema.
    pub(crate) fn of(&self, connections: &Arc<Connections>, schema: &SchemaName) -> Result<Arc<Member>> {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(schema.as_str()) {
            return Ok(Arc::clone(member));
        }
        let member = Arc::new(Member::new(connections, schema)?);
        members.insert(schema.as_str().into(), Arc::clone(&member));
        Ok(member)
    }
}

/// A pool as an owner of stacks: a row of the table `process`.
pub(crate) struct Member {
    pub(crate) id: Identity,
    pub(crate) statements: Arc<Statements>,
    pub(crate) length: Duration,
    address: String,
    /// The moment from which `valid_for` counts.
    origin: Instant,
    /// Until when the stacks are ours, by our clock: microseconds after the origin.
    valid_for: AtomicU64,
    state: Mutex<State>,
    pub(crate) channel: Channel,
    /// What is to be announced. Notified also when a stack is closed.
    pub(crate) news: News,
}

#[derive(Default)]
struct State {
    /// The openings that own a stack.
    open: HashMap<Identity, Arc<AtomicBool>>,
    /// Those whose commit is not answered yet: the row of the stack may name them already.
    committing: HashSet<Identity>,
    /// Those of them whose row this process has locked for longer than a renewal takes.
    locked: HashSet<Identity>,
    has_keeper: bool,
}

/// A stack that is open. Its ownership is given up in memory when this is dropped.
pub(crate) struct Holding {
    member: Arc<Member>,
    opening: Identity,
    /// Whether another process has taken it over.
    is_lost: Arc<AtomicBool>,
}

/// An opening whose transaction is about to commit, until its stack is held or the commit has failed.
pub(crate) struct Committing<'a>(&'a Member, Identity);

impl Member {
    fn new(connections: &Connections, schema: &SchemaName) -> Result<Self> {
        Ok(Self {
            id: Identity::random()?,
            statements: Arc::new(Statements::of(schema)),
            length: connections.options().lease,
            address: connections.options().address.clone(),
            origin: Instant::now(),
            valid_for: AtomicU64::new(0),
            state: Mutex::default(),
            channel: Channel::of(schema),
            news: News::default(),
        })
    }

    /// Whether a store of this pool still has the stack that this opening opened, or is about to have it.
    pub(crate) fn has_open(&self, opening: Identity) -> bool {
        let state = self.state();
        state.open.contains_key(&opening) || state.committing.contains(&opening)
    }

    /// Records that the transaction of this opening is about to commit, so that another opening of this pool
    /// which sees the commit before this one does not take the stack over.
    pub(crate) fn committing(&self, opening: Identity) -> Committing<'_> {
        self.state().committing.insert(opening);
        Committing(self, opening)
    }

    /// Begins a lease in the transaction of the caller, or extends it. Returns when it was requested.
    pub(crate) async fn begin_lease(&self, client: &mut Client, doing: &str) -> Result<Instant> {
        let (pid, host, length) = (i64::from(process::id()), owner::host(), self.length.as_secs_f64());
        let params: [&(dyn ToSql + Sync); 5] = [&self.id.as_bytes(), &self.address, &host, &pid, &length];
        let requested = Instant::now();
        client.execute(doing, &self.statements.begin_lease, &params).await?;
        Ok(requested)
    }

    /// Records that the server has extended the lease after this moment. A tenth of it is left for clocks
    /// that run at different rates.
    pub(crate) fn extended(&self, requested: Instant) {
        let until = requested.saturating_duration_since(self.origin) + self.length - self.length / 10;
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.valid_for.fetch_max(until, Ordering::AcqRel);
    }

    /// Returns how much longer the lease lasts, by our clock.
    pub(crate) fn remaining(&self) -> Duration {
        let until = Duration::from_micros(self.valid_for.load(Ordering::Acquire));
        until.saturating_sub(self.origin.elapsed())
    }

    /// Holds a stack that was opened, and keeps the lease from now on.
    pub(crate) fn hold(self: &Arc<Self>, opening: Identity, connections: &Arc<Connections>) -> Holding {
        let is_lost = Arc::new(AtomicBool::new(false));
        let mut state = self.state();
        state.open.insert(opening, Arc::clone(&is_lost));
        if !std::mem::replace(&mut state.has_keeper, true) {
            drop(tokio::spawn(keeper::keep(Arc::clone(self), Arc::clone(connections))));
        }
        drop(state);
        Holding { member: Arc::clone(self), opening, is_lost }
    }

    /// Records which of the openings still own their stacks.
    pub(crate) fn retain(&self, owned: &[Identity], since: &[Identity]) {
        let state = self.state();
        // One that was opened after the rows were read is not in question.
        for opening in since.iter().filter(|opening| !owned.contains(opening)) {
            if let Some(is_lost) = state.open.get(opening) {
                is_lost.store(true, Ordering::Release);
            }
        }
    }

    /// Returns the openings that own a stack as far as is known.
    pub(crate) fn openings(&self) -> Vec<Identity> {
        let state = self.state();
        let open = state.open.iter().filter(|(_, is_lost)| !is_lost.load(Ordering::Acquire));
        open.map(|(opening, _)| *opening).collect()
    }

    /// Returns the openings whose rows this process has locked: no other process decides about them.
    pub(crate) fn locked(&self) -> Vec<Identity> {
        self.state().locked.iter().copied().collect()
    }

    /// Ends the keeper, if no stack is open. Returns whether it ends.
    pub(crate) fn end_keeper(&self) -> bool {
        let mut state = self.state();
        let ends = state.open.is_empty();
        state.has_keeper = !ends;
        ends
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.state().committing.remove(&self.1);
    }
}

impl Holding {
    /// Returns an error unless the stack is ours for certain, or until our lease ends.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_lost.load(Ordering::Acquire) {
            return Err(not_ours_any_more());
        }
        if self.member.remaining().is_zero() {
            return Err(expired());
        }
        Ok(())
    }

    /// Announces to standbys that this sequence number is committed. Does not wait.
    pub(crate) fn announce(&self, stack: i64, last_seq: Seq) {
        self.member.news.add(stack, Some(last_seq));
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// Records whether the row of the stack is locked by a long transaction of this process, for which a
    /// renewal must not wait. Only before the store is in use: if the transaction is lost, the stack counts
    /// as ours until the caller has noticed it.
    pub(crate) fn set_locked(&self, is_locked: bool) {
        let mut state = self.member.state();
        if is_locked {
            state.locked.insert(self.opening);
        } else {
            state.locked.remove(&self.opening);
        }
    }

    /// Gives the stack up, in memory.
    pub(crate) fn give_up(&self) {
        let mut state = self.member.state();
        state.open.remove(&self.opening);
        state.locked.remove(&self.opening);
        drop(state);
        self.member.news.arrived.notify_one();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("id", &self.id).finish_non_exhaustive()
    }
}

fn expired() -> Error {
    Error::new(
        ErrorKind::LeaseExpired,
        "the lease on the stack has run out and could not be renewed, so another process may take it over; reads go \
         on, nothing was acknowledged, and it can be tried again. Check the server and the network",
    )
}
