use shape_meta_core::{Error, ErrorKind, Handle, HandleState, Result};
use shape_meta_sqlite::SqliteStore;

use super::{
    OrphanSweep,
    worker::{Cleanup, Part, Progress},
};
use crate::{BoxError, store::Core};

/// How many stored handles are compared at once: the memory of a sweep.
const HANDLES_PER_PAGE: usize = 1_000;
/// How many orphans are reported by name.
const SAMPLE: usize = 10;

impl Cleanup {
    /// Compares what is stored with the shapes, and makes cleanup tasks of orphans, if the database is
    /// trusted to know its stored data. `None` if the cleaner does not say what is stored, and if the store
    /// was closed meanwhile.
    ///
    /// A shape is added before its data is created. So each stored handle that belongs to a shape is live
    /// when it is looked up, or its removal was accepted.
    ///
    /// While a change to a handle is pending, it is not known whether the database has ever heard of it: a
    /// reset that is pending concerns every handle. A trusted database makes a task of it, whose handle is
    /// looked up again before anything is deleted. Otherwise the sweep is repeated after the flush.
    pub(super) fn sweep(
        &self,
        store: &Core,
        database: &SqliteStore,
        progress: &mut Progress,
    ) -> Result<Part> {
        let Some(mut stored) = self.cleaner.stored_handles().map_err(failed)? else {
            progress.needs_sweep = false;
            return Ok(Part::Swept(None));
        };
        let is_trusted = database.is_storage_trusted()?;
        let mut has_undecided = false;
        let mut sweep = OrphanSweep { waits_for_confirmation: !is_trusted, ..OrphanSweep::default() };
        loop {
            if self.is_closed() {
                return Ok(Part::Swept(None));
            }
            let page: Vec<Handle> =
                stored.by_ref().take(HANDLES_PER_PAGE).collect::<Result<_, _>>().map_err(failed)?;
            if page.is_empty() {
                break;
            }
            sweep.stored += page.len() as u64;
            let Candidates { orphans, undecided } = candidates(store, page)?;
            let (orphans, undecided) = (database.without_task(orphans)?, database.without_task(undecided)?);
            if is_trusted {
                database.add_orphans(&orphans)?;
                database.add_orphans(&undecided)?;
            }
            has_undecided |= !is_trusted && !undecided.is_empty();
            sweep.orphans += orphans.len() as u64;
            let missing = SAMPLE - sweep.sample.len();
            sweep.sample.extend(orphans.into_iter().take(missing));
        }
        drop(stored);
        if has_undecided && sweep.orphans == 0 {
            return Ok(Part::Waiting);
        }
        sweep.waits_for_confirmation &= sweep.orphans > 0;
        if !is_trusted && sweep.orphans == 0 {
            database.trust_storage()?;
        }
        if sweep.orphans > 0 {
            self.observer.orphans_found(sweep.orphans, &sweep.sample, sweep.waits_for_confirmation);
        }
        progress.needs_sweep = false;
        Ok(Part::Swept(Some(sweep)))
    }
}

/// Stored handles that no shape has.
#[derive(Default)]
struct Candidates {
    /// Those without a shape in memory and on disk.
    orphans: Vec<Handle>,
    /// Those with a pending change.
    undecided: Vec<Handle>,
}

fn candidates(store: &Core, handles: Vec<Handle>) -> Result<Candidates> {
    let mut without_shape = Vec::new();
    for handle in handles {
        // Most are live, and this look-up takes no lock.
        if store.stack().metadata(&handle)?.is_none() {
            without_shape.push(handle);
        }
    }
    let mut candidates = Candidates::default();
    if without_shape.is_empty() {
        return Ok(candidates);
    }
    for (handle, state) in store.stack().reserve_handles(&without_shape)?.states() {
        match state {
            HandleState::Free => candidates.orphans.push(handle.clone()),
            HandleState::Pending => candidates.undecided.push(handle.clone()),
            HandleState::Live { .. } => {}
        }
    }
    Ok(candidates)
}

fn failed(source: BoxError) -> Error {
    let message = format!(
        "the cleaner could not say what is stored ({source}); nothing was deleted, and the search for orphans is \
         repeated"
    );
    Error::new(ErrorKind::Cleaner, message).with_source(source)
}
