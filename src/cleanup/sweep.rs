use shape_meta_core::{Error, ErrorKind, Handle, HandleState, Result, Seq};
use shape_meta_sqlite::SqliteStore;

use super::{
    OrphanSweep,
    part::{Left, Part},
    worker::Cleanup,
};
use crate::{BoxError, store::Core};

/// How many stored handles are compared at once: the memory of a sweep.
const HANDLES_PER_PAGE: usize = 1_000;
/// How many orphans are reported by name.
const SAMPLE: usize = 10;

/// What a comparison of the stored data with the shapes has found.
#[derive(Default)]
struct Found {
    stored: u64,
    orphans: u64,
    sample: Vec<Handle>,
    has_undecided: bool,
    /// Whether data of a shape is stored that the database had before it was opened.
    has_earlier: bool,
}

impl Cleanup {
    /// Compares what is stored with the shapes, and makes cleanup tasks of orphans, if the database is
    /// trusted to know its stored data. `None` if the cleaner does not say what is stored, and if the store
    /// was closed meanwhile.
    ///
    /// A shape is added before its data is created. So each stored handle that belongs to a shape is live
    /// when it is looked up, or its removal was accepted.
    ///
    /// While a change to a handle is pending, it is not known whether the database has ever had it: a
    /// reset that is pending concerns every handle. A trusted database makes a task of it, whose handle is
    /// looked up again before anything is deleted. Otherwise the sweep is repeated after the flush.
    ///
    /// Nothing is written before everything was compared once: if there are shapes, but the data of none of
    /// them is stored, then the storage is not the one of this database, and the trust ends.
    pub(super) fn sweep(&self, store: &Core, database: &SqliteStore, is_confirmed: bool) -> Result<Part> {
        let Some(found) = self.compare(store, database, &|_| Ok(()))? else { return Ok(Part::Swept(None)) };
        let is_trusted = database.is_storage_trusted()?;
        if !is_trusted && found.has_undecided && found.orphans == 0 {
            return Ok(Part::Left(Left::Pending));
        }
        let has_candidates = found.has_undecided || found.orphans > 0;
        let is_strange = has_candidates && !found.has_earlier && has_earlier_shape(store, database)?;
        let waits_for_confirmation = has_candidates && (!is_trusted || is_strange) && !is_confirmed;
        match (has_candidates, is_trusted) {
            (false, false) => database.trust_storage()?,
            (false, true) => {}
            (true, true) if waits_for_confirmation => database.distrust_storage()?,
            (true, _) if waits_for_confirmation => {}
            (true, _) => drop(self.compare(store, database, &|handles| database.add_orphans(handles))?),
        }
        if found.orphans > 0 {
            self.observer.orphans_found(found.orphans, &found.sample, waits_for_confirmation);
        }
        let Found { stored, orphans, sample, .. } = found;
        Ok(Part::Swept(Some(OrphanSweep { stored, orphans, sample, waits_for_confirmation })))
    }

    /// Compares each page of stored handles with the shapes, and passes those without a shape to `each`.
    fn compare(
        &self,
        store: &Core,
        database: &SqliteStore,
        each: &dyn Fn(&[Handle]) -> Result<()>,
    ) -> Result<Option<Found>> {
        let Some(mut stored) = self.cleaner.stored_handles().map_err(failed)? else { return Ok(None) };
        let mut found = Found::default();
        loop {
            if self.is_closed() {
                return Ok(None);
            }
            let page: Vec<Handle> =
                stored.by_ref().take(HANDLES_PER_PAGE).collect::<Result<_, _>>().map_err(failed)?;
            if page.is_empty() {
                return Ok(Some(found));
            }
            found.stored += page.len() as u64;
            let Candidates { orphans, undecided, has_earlier } =
                candidates(store, page, database.report().last_seq)?;
            let (orphans, undecided) = (database.without_task(orphans)?, database.without_task(undecided)?);
            each(&orphans)?;
            each(&undecided)?;
            found.has_earlier |= has_earlier;
            found.has_undecided |= !undecided.is_empty();
            found.orphans += orphans.len() as u64;
            let missing = SAMPLE - found.sample.len();
            found.sample.extend(orphans.into_iter().take(missing));
        }
    }
}

/// Stored handles that no shape has.
#[derive(Default)]
struct Candidates {
    /// Those without a shape in memory and on disk.
    orphans: Vec<Handle>,
    /// Those with a pending change.
    undecided: Vec<Handle>,
    /// Whether another one belongs to a shape of before the open.
    has_earlier: bool,
}

fn candidates(store: &Core, handles: Vec<Handle>, last_seq_at_open: Seq) -> Result<Candidates> {
    let (mut candidates, mut without_shape) = (Candidates::default(), Vec::new());
    for handle in handles {
        // Most are live, and this look-up takes no lock.
        match store.stack().metadata(&handle)? {
            Some(live) => candidates.has_earlier |= live.created <= last_seq_at_open,
            None => without_shape.push(handle),
        }
    }
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

/// Returns whether a shape is live that the database had before it was opened.
fn has_earlier_shape(store: &Core, database: &SqliteStore) -> Result<bool> {
    let Some(oldest) = store.stack().scan()?.next().transpose()? else { return Ok(false) };
    Ok(oldest.record.entry.created() <= database.report().last_seq)
}

fn failed(source: BoxError) -> Error {
    let message = format!(
        "the cleaner could not say what is stored ({source}); nothing was deleted, and the search for orphans is \
         repeated"
    );
    Error::new(ErrorKind::Cleaner, message).with_source(source)
}
