use shape_meta_core::{Error, ErrorKind, Handle, Result};
use shape_meta_sqlite::SqliteStore;

use super::{
    OrphanSweep,
    worker::{Cleanup, Progress},
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
    pub(super) fn sweep(
        &self,
        store: &Core,
        database: &SqliteStore,
        progress: &mut Progress,
    ) -> Result<Option<OrphanSweep>> {
        let Some(mut stored) = self.cleaner.stored_handles().map_err(failed)? else {
            progress.needs_sweep = false;
            return Ok(None);
        };
        let is_trusted = database.is_storage_trusted()?;
        let mut sweep = OrphanSweep { waits_for_confirmation: !is_trusted, ..OrphanSweep::default() };
        loop {
            if self.is_closed() {
                return Ok(None);
            }
            let page: Vec<Handle> =
                stored.by_ref().take(HANDLES_PER_PAGE).collect::<Result<_, _>>().map_err(failed)?;
            if page.is_empty() {
                break;
            }
            sweep.stored += page.len() as u64;
            let orphans = database.without_task(orphans(store, page)?)?;
            if is_trusted {
                database.add_orphans(&orphans)?;
            }
            sweep.orphans += orphans.len() as u64;
            let missing = SAMPLE - sweep.sample.len();
            sweep.sample.extend(orphans.into_iter().take(missing));
        }
        drop(stored);
        sweep.waits_for_confirmation &= sweep.orphans > 0;
        if !is_trusted && sweep.orphans == 0 {
            database.trust_storage()?;
        }
        if sweep.orphans > 0 {
            self.observer.orphans_found(sweep.orphans, &sweep.sample, sweep.waits_for_confirmation);
        }
        progress.needs_sweep = false;
        Ok(Some(sweep))
    }
}

/// Returns those of these handles that no shape has, in memory or on disk.
fn orphans(store: &Core, handles: Vec<Handle>) -> Result<Vec<Handle>> {
    let mut without_shape = Vec::new();
    for handle in handles {
        // Most are live, and this look-up takes no lock.
        if store.stack().metadata(&handle)?.is_none() {
            without_shape.push(handle);
        }
    }
    if without_shape.is_empty() {
        return Ok(without_shape);
    }
    Ok(store.stack().reserve_handles(&without_shape)?.free())
}

fn failed(source: BoxError) -> Error {
    let message = format!(
        "the cleaner could not say what is stored ({source}); nothing was deleted, and the search for orphans is \
         repeated"
    );
    Error::new(ErrorKind::Cleaner, message).with_source(source)
}
