use crate::{
    Check, Definition, DefinitionHash, Handle, HandleSet, Keyed, LeastRecentlyUsed, ReadShapes, Result,
    ScanItem, SnapshotState, Timestamp,
};

use super::{check::check_key, dependency_order};

/// Conveniences for callers, over any [`ReadShapes`].
///
/// # Errors
///
/// Every method fails only if it has to read the disk, and that fails.
pub trait ReadShapesExt: ReadShapes {
    /// Returns whether a shape with this handle is live.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata).
    fn has_handle(&self, handle: &str) -> Result<bool> {
        Ok(self.metadata(handle)?.is_some())
    }

    /// Returns whether this handle is live and its definition has this hash, which validates a request.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata).
    fn validate_handle(&self, handle: &str, hash: DefinitionHash) -> Result<bool> {
        Ok(self.metadata(handle)?.is_some_and(|metadata| metadata.hash == hash))
    }

    /// Checks the handle of a request against its definition: whether to serve it, or which handle to
    /// redirect to. The one call that a request needs; [`check_and_touch`](Self::check_and_touch) also
    /// records the read.
    ///
    /// Costs one look-up, and a second one unless the handle is live with this definition. Computes no key
    /// and no hash, and takes no lock if the shape is cached. Each look-up is that of one moment (C1).
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata) and [`handle_for`](ReadShapes::handle_for).
    ///
    /// ```
    /// use shape_meta_core::{Check, DefinitionExt, MemoryStore, ReadShapesExt, Relation, Shape, TableName};
    ///
    /// let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510)).keyed();
    /// assert_eq!(MemoryStore::new().check("54334872-1768476874000000", &todos)?, Check::Unknown(None));
    /// # Ok::<_, shape_meta_core::Error>(())
    /// ```
    fn check<D: Definition>(&self, handle: &str, definition: &Keyed<D>) -> Result<Check> {
        check_key(self, handle, definition.as_key(), None)
    }

    /// [`check`](Self::check), and records a read at this time if the handle is live with this definition.
    ///
    /// A shape that is being removed because it was not read is not live: its read would not count.
    ///
    /// Blocks: as [`check`](Self::check) and [`touch`](ReadShapes::touch).
    fn check_and_touch<D: Definition>(
        &self,
        handle: &str,
        definition: &Keyed<D>,
        at: Timestamp,
    ) -> Result<Check> {
        check_key(self, handle, definition.as_key(), Some(at))
    }

    /// Returns the snapshot state of this handle, if it is live.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata).
    fn snapshot_state(&self, handle: &str) -> Result<Option<SnapshotState>> {
        Ok(self.metadata(handle)?.map(|metadata| metadata.state))
    }

    /// Returns whether this handle is live and its snapshot has started.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata).
    fn is_snapshot_started(&self, handle: &str) -> Result<bool> {
        Ok(self.snapshot_state(handle)?.is_some_and(SnapshotState::is_started))
    }

    /// Records that this handle was read now. Returns whether it is live.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata).
    fn touch_now(&self, handle: &str) -> Result<bool> {
        self.touch(handle, Timestamp::now())
    }

    /// Returns up to `n` shapes, the least recently read first:
    /// [`least_recently_used`](ReadShapes::least_recently_used) with nothing excluded.
    ///
    /// Blocks: as [`least_recently_used`](ReadShapes::least_recently_used).
    fn lru(&self, n: usize) -> Result<LeastRecentlyUsed> {
        self.least_recently_used(n, &HandleSet::new())
    }

    /// Compares the handles that have stored data with the live shapes. Calls `orphan` for every stored
    /// handle that is not live, and returns the live shapes without stored data, in order of creation.
    /// Pending mutations count. `stored` may be in any order and may repeat handles.
    ///
    /// Both results are exact if nothing changes meanwhile. A shape that is added meanwhile is never returned
    /// as missing data. An orphan, however, may belong to a shape that was just removed, or to one that is
    /// about to be added. So delete only data that is older than the longest time between storing the data of
    /// a shape and adding the shape.
    ///
    /// Costs a look-up for each stored handle, 8 bytes of memory for each of them that is live, and one scan.
    ///
    /// Blocks: disk.
    fn orphans<H: AsRef<str>>(
        &self,
        stored: impl IntoIterator<Item = H>,
        mut orphan: impl FnMut(H),
    ) -> Result<Vec<Handle>> {
        let begun = self.last_seq()?;
        let mut seen = Vec::new();
        for handle in stored {
            match self.metadata(handle.as_ref())? {
                Some(metadata) => seen.push(metadata.created),
                None => orphan(handle),
            }
        }
        seen.sort_unstable();
        let mut missing = Vec::new();
        for listed in self.scan()? {
            let listed = listed?;
            let created = listed.metadata.created;
            if created <= begun && seen.binary_search(&created).is_err() {
                missing.push(listed.record.handle().clone());
            }
        }
        Ok(missing)
    }

    /// Returns all live shapes in order of creation, except that dependencies come before their dependants
    /// (unless they depend on each other). Holds all of them in memory; [`ReadShapes::scan`] and
    /// [`fold`](Self::fold) do not.
    ///
    /// Blocks: disk.
    fn list(&self) -> Result<Vec<ScanItem>> {
        let shapes = self.scan()?.collect::<Result<Vec<_>>>()?;
        Ok(dependency_order::dependencies_first(shapes))
    }

    /// Folds over all live shapes in order of creation, with one page of them in memory at a time.
    ///
    /// Blocks: disk.
    fn fold<A>(&self, initial: A, mut step: impl FnMut(A, ScanItem) -> A) -> Result<A>
    where
        Self: Sized,
    {
        self.scan()?.try_fold(initial, |folded, listed| Ok(step(folded, listed?)))
    }
}

impl<S: ReadShapes + ?Sized> ReadShapesExt for S {}
