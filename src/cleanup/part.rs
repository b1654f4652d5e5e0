use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use shape_meta_core::{Activity, Error, ErrorKind, Handle, HandleState, Result, store_parts::CleanupTask};

use super::{
    OrphanSweep,
    pace::Failed,
    worker::{Cleanup, panic_error},
};
use crate::{database::Database, store::Core};

/// How many handles one call of the cleaner gets at most.
const HANDLES_PER_CALL: usize = 1_000;

/// Where the worker is: in a pass over all tasks, in the order of their ids.
#[derive(Clone)]
pub(super) struct Progress {
    /// The last task that this pass has done or left.
    after: Option<CleanupTask>,
    /// Whether that was the last one. Later tasks are of the next pass, so that a sweep runs during a stream
    /// of removals.
    is_at_end: bool,
    /// How many tasks the next call gets at most. Halved when a call fails, so that one handle that cannot be
    /// cleaned does not keep the others.
    pub(super) limit: usize,
    left: Left,
    /// Whether tasks were committed since this pass began.
    has_news: bool,
    needs_sweep: bool,
    /// Whether the application has said that orphans are garbage.
    is_confirmed: bool,
}

/// Why a pass leaves tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    #[default]
    Nothing,
    /// Their handles wait for a flush.
    Pending,
    /// The cleaner fails.
    Failed,
}

/// The outcome of a part.
#[derive(Debug)]
pub(super) enum Part {
    /// There may be more to do at once.
    More,
    /// A pass has ended, and has left tasks.
    Left(Left),
    /// A sweep has ended; `None` if the cleaner does not say what is stored.
    Swept(Option<OrphanSweep>),
    /// Nothing is left to do.
    Done,
}

impl Progress {
    pub(super) fn new(needs_sweep: bool, is_confirmed: bool) -> Self {
        Self {
            after: None,
            is_at_end: false,
            limit: HANDLES_PER_CALL,
            left: Left::Nothing,
            has_news: false,
            needs_sweep,
            is_confirmed,
        }
    }

    /// Requests a sweep that the application has confirmed.
    pub(super) fn request_sweep(&mut self) {
        (self.needs_sweep, self.is_confirmed) = (true, true);
    }

    /// Takes the progress for a part. Requests that come while the part runs are noticed afterwards.
    /// `has_news`: tasks were committed since the part before.
    pub(super) fn take(&mut self, has_news: bool) -> Self {
        self.has_news = has_news && self.after.is_some() || self.has_news;
        let taken = self.clone();
        (self.needs_sweep, self.is_confirmed) = (false, false);
        taken
    }

    pub(super) fn keep_requests_of(&mut self, other: &Self) {
        self.needs_sweep |= other.needs_sweep;
        self.is_confirmed |= other.is_confirmed;
    }

    /// Returns what a failed part that began with `begun` means for the next one.
    pub(super) fn failed_since(&self, begun: &Self) -> Failed {
        if self.limit < begun.limit {
            Failed::Narrowed
        } else if self.after.is_some() && self.after != begun.after {
            Failed::Left
        } else {
            Failed::Same
        }
    }

    /// Goes on after this task.
    fn leave(&mut self, last: CleanupTask, is_at_end: bool, left: Left) {
        (self.after, self.is_at_end) = (Some(last), is_at_end);
        self.left = self.left.max(left);
    }
}

impl Cleanup {
    /// Runs the next part: a page of tasks, or a sweep at the end of a pass.
    ///
    /// The order keeps C12. The handles are reserved first, so that no shape takes one of them until the call
    /// is acknowledged. A handle is only handed over if no shape has it on disk either: its removal is
    /// durable.
    pub(super) fn part(&self, store: &Core, progress: &mut Progress) -> Result<Part> {
        let Some(database) = store.database() else { return Ok(Part::Done) };
        let tasks = match progress.is_at_end {
            true => Vec::new(),
            false => database.cleanup_tasks(progress.after.as_ref(), progress.limit)?,
        };
        let Some(last) = tasks.last().cloned() else { return self.end_pass(store, database, progress) };
        let is_at_end = tasks.len() < progress.limit;
        let handles: HashSet<&Handle> = tasks.iter().map(CleanupTask::handle).collect();
        let handles: Vec<Handle> = handles.into_iter().cloned().collect();
        let reservation = store.stack().reserve_handles(&handles)?;
        let states: HashMap<&Handle, HandleState> = reservation.states().collect();
        let (mut free, mut superseded, mut left) = (Vec::new(), Vec::new(), Left::Nothing);
        for task in tasks {
            match states.get(task.handle()) {
                Some(HandleState::Free) => free.push(task),
                Some(HandleState::Live { created }) => superseded.push((task, *created)),
                Some(HandleState::Pending) | None => left = Left::Pending,
            }
        }
        // A newer shape that is not in the database yet may be lost, and leave the task as it is.
        if database.drop_superseded_tasks(&superseded)? < superseded.len() {
            left = Left::Pending;
        }
        let handles = reservation.free();
        if !handles.is_empty() {
            database.confirm_removals()?;
            if let Err(error) = self.clean(&handles) {
                match handles.len() {
                    // The others go on. It is tried again in the next pass.
                    1 => progress.leave(last, is_at_end, Left::Failed),
                    handles => progress.limit = handles / 2,
                }
                return Err(error);
            }
            database.ack_cleanup(&free)?;
        }
        progress.limit = progress.limit.saturating_mul(2).min(HANDLES_PER_CALL);
        progress.leave(last, is_at_end, left);
        Ok(Part::More)
    }

    /// Ends a pass over all tasks, of which some may be left.
    fn end_pass(&self, store: &Core, database: &dyn Database, progress: &mut Progress) -> Result<Part> {
        let began = progress.after.take().is_none();
        let (left, has_news) = (std::mem::take(&mut progress.left), std::mem::take(&mut progress.has_news));
        (progress.is_at_end, progress.limit) = (false, HANDLES_PER_CALL);
        if progress.needs_sweep {
            let part = self.sweep(store, database, progress.is_confirmed)?;
            if matches!(part, Part::Swept(_)) {
                (progress.needs_sweep, progress.is_confirmed) = (false, false);
            }
            return Ok(part);
        }
        Ok(match left {
            // The flush that they wait for may have come.
            Left::Pending if has_news => Part::More,
            Left::Pending | Left::Failed => Part::Left(left),
            // Meanwhile there may be tasks before those of this pass.
            Left::Nothing if !began => Part::More,
            Left::Nothing => Part::Done,
        })
    }

    /// Calls the cleaner within a span of the observer. A panic is a failure like any other.
    fn clean(&self, handles: &[Handle]) -> Result<()> {
        let clean = || {
            match catch_unwind(AssertUnwindSafe(|| self.cleaner.clean(handles))) {
            Ok(outcome) => outcome.map_err(|source| {
                let message = format!(
                    "the cleaner could not delete the stored data of {} removed shapes ({source}); the store works, \
                     and the same shapes are handed to the cleaner again",
                    handles.len()
                );
                Error::new(ErrorKind::Cleaner, message).with_source(source)
            }),
            Err(panic) => Err(panic_error(&*panic)),
        }
        };
        Activity::Clean { shapes: handles.len() }.observed(&*self.observer, clean)
    }
}
