use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use shape_meta_core::{Activity, Error, ErrorKind, Handle, HandleState, Result};

use super::worker::{Cleanup, Part, Progress, panic_error};
use crate::store::Core;

/// How many handles one call of the cleaner gets at most.
const HANDLES_PER_CALL: usize = 1_000;

impl Cleanup {
    /// Runs the next part: a page of tasks, or a sweep once no task is left.
    ///
    /// The order keeps C12. The handles are reserved first, so that no shape takes one of them until the call
    /// is acknowledged. A handle is only handed over if no shape has it on disk either: its removal is durable.
    pub(super) fn part(&self, store: &Core, progress: &mut Progress) -> Result<Part> {
        let Some(database) = store.database() else { return Ok(Part::Done) };
        let tasks = database.cleanup_tasks(progress.after.as_ref(), HANDLES_PER_CALL)?;
        let Some(last) = tasks.last().cloned() else {
            let began = progress.after.take().is_none();
            let has_waiting = std::mem::take(&mut progress.has_waiting);
            // A pass from the first task on shows whether any is left.
            return match (has_waiting, progress.needs_sweep) {
                _ if !began && !has_waiting => Ok(Part::More),
                (_, true) => self.sweep(store, database, progress),
                (true, false) => Ok(Part::Waiting),
                (false, false) => Ok(Part::Done),
            };
        };
        let handles: HashSet<&Handle> = tasks.iter().map(|task| task.handle()).collect();
        let handles: Vec<Handle> = handles.into_iter().cloned().collect();
        let reservation = store.stack().reserve_handles(&handles)?;
        let states: HashMap<&Handle, HandleState> = reservation.states().collect();
        let (mut free, mut superseded) = (Vec::new(), Vec::new());
        for task in tasks {
            match states.get(task.handle()) {
                Some(HandleState::Free) => free.push(task),
                Some(HandleState::Live { created }) => superseded.push((task, *created)),
                Some(HandleState::Pending) | None => progress.has_waiting = true,
            }
        }
        // A newer shape that is not in the database yet may be lost, and leave the task as it is.
        progress.has_waiting |= database.drop_superseded_tasks(&superseded)? < superseded.len();
        let handles = reservation.free();
        if !handles.is_empty() {
            database.confirm_removals()?;
            self.clean(&handles)?;
            database.ack_cleanup(&free)?;
        }
        progress.after = Some(last);
        Ok(Part::More)
    }

    /// Calls the cleaner within a span of the observer. A panic is a failure like any other.
    fn clean(&self, handles: &[Handle]) -> Result<()> {
        let span = self.observer.begin(Activity::Clean { shapes: handles.len() });
        let outcome = catch_unwind(AssertUnwindSafe(|| self.cleaner.clean(handles)));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|source| {
                let message = format!(
                    "the cleaner could not delete the stored data of {} removed shapes ({source}); the store works, \
                     and the same shapes are handed to the cleaner again",
                    handles.len()
                );
                Error::new(ErrorKind::Cleaner, message).with_source(source)
            }),
            Err(panic) => Err(panic_error(&*panic)),
        };
        if let Some(span) = span {
            span.end(outcome.as_ref().err());
        }
        outcome
    }
}
