mod directory;

use std::{error::Error, fmt};

use shape_meta_core::Handle;

pub use directory::DirectoryCleaner;

/// The error of a [`ShapeCleaner`].
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The handles that have stored data; see [`ShapeCleaner::stored_handles`].
pub type StoredHandles<'a> = Box<dyn Iterator<Item = Result<Handle, BoxError>> + 'a>;

/// The caller's hook that deletes the stored data (logs, snapshots) of shapes that are gone (C12).
///
/// The application adds a shape first, and creates its data then. It never deletes data itself: the store
/// hands every shape that is gone to the cleaner, for whatever reason it is gone.
///
/// | event | its data | a crash before it | a crash after it |
/// |---|---|---|---|
/// | `add` or `get_or_add` has returned | may be created from now on; overwrites what a former shape with this handle has left | nothing is left | without a durable add: found by the sweep after the next open |
/// | the add is durable | is needed once the snapshot is complete | see above | the shape is removed at the next open if its snapshot is not complete, and cleaned |
/// | `remove` or `reset` has returned | is kept: the removal is not durable yet | the shape and its data are there | the shape is back, with its data |
/// | the removal is durable | is handed to [`clean`](Self::clean) soon | see above | is handed to `clean` again, until that has returned `Ok` |
/// | `clean` has returned `Ok` | is gone | see above | may be handed to `clean` once more |
///
/// - **When it is called:** in the background, after the removal is durable, with at most 1,000 handles at a
///   time, on a thread that exists only while there is something to do
///   ([`Builder::background_cleanup`](crate::Builder::background_cleanup),
///   [`ShapeMeta::clean_once`](crate::ShapeMeta::clean_once)). An open does not wait for it.
/// - **If it fails or panics:** it is called again with growing delays, up to a minute, and with fewer
///   handles, so that one that cannot be cleaned does not keep the others.
///   [`ShapeMeta::cleanup_status`](crate::ShapeMeta::cleanup_status) and
///   [`Usage::cleanup_tasks`](crate::Usage::cleanup_tasks) say how much is left.
/// - **If it hangs:** only the cleaning waits. [`close`](crate::StoreControl::close) waits within its
///   deadline, and the database stays open until the call has returned.
/// - **Live shapes:** no live shape has one of the handles while `clean` runs. An add of such a handle waits
///   or is refused as [`BeingCleaned`](crate::Refusal::BeingCleaned); so `clean` must not wait for one
///   itself. Otherwise it may use the store, close it, and drop it; hold a
///   [`WeakShapeMeta`](crate::WeakShapeMeta). An owner that is fenced cannot stop its call, so do not fence
///   a live process if your handles come back.
/// - **Data that is still being written** when its shape is removed can appear after the call. If handles do
///   not come back, its writer deletes it when it ends and finds the shape gone. Otherwise the sweep after
///   the next open finds it.
/// - **At least once:** the same handle may come again, so deleting data that is already gone must succeed.
/// - **There is no "delete everything":** a reset hands every shape to the cleaner.
///
/// [`DirectoryCleaner`] does all of this for data that is a file or a directory for each shape. For another
/// kind of data:
///
/// ```
/// use shape_meta::{BoxError, Handle, ShapeCleaner, StoredHandles};
/// # struct Bucket;
/// # impl Bucket {
/// #     fn delete(&self, _: &Handle) -> Result<(), BoxError> { Ok(()) }
/// #     fn list(&self) -> Result<Vec<String>, BoxError> { Ok(Vec::new()) }
/// # }
///
/// struct Objects(Bucket);
///
/// impl ShapeCleaner for Objects {
///     fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
///         handles.iter().try_for_each(|handle| self.0.delete(handle)) // what is already gone is no error
///     }
///
///     fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
///         let names = self.0.list()?.into_iter();
///         Ok(Some(Box::new(names.filter_map(Handle::from_file_name).map(Ok))))
///     }
/// }
/// ```
pub trait ShapeCleaner: Send + Sync {
    /// Deletes the stored data of these shapes.
    ///
    /// # Errors
    ///
    /// The call is repeated later, with the same handles among others.
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError>;

    /// Returns every handle that has stored data, one after the other, in any order. `None`, the default, if
    /// that is not supported: then the data of a shape that was acknowledged and lost in a crash stays.
    ///
    /// After each open, the store compares them with its shapes in the background, and hands orphans to
    /// [`clean`](Self::clean): stored data without a shape. Shapes that are added meanwhile are spared,
    /// provided that a shape is added before its data is created.
    ///
    /// **Guard.** A database that was just created, found empty, restored, copied, or rebuilt after damage
    /// takes all data that it does not know for orphans, which may be the data of a volume that is not
    /// mounted or of a database that is about to come back. Such a database, also after restarts, only
    /// [reports](crate::ShapeMeta::cleanup_status) orphans, until
    /// [`ShapeMeta::confirm_orphans`](crate::ShapeMeta::confirm_orphans) or
    /// [`Builder::confirm_orphans`](crate::Builder::confirm_orphans) says that they are garbage, or a sweep
    /// has found none. The same holds if the data of no shape is stored, as on the volume of another
    /// database. A sweep of an empty storage does not count if there are shapes of before the open: their
    /// volume may not be mounted. What nothing can tell is in `docs/operations.md` of the repository.
    ///
    /// # Errors
    ///
    /// The sweep is repeated later.
    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        Ok(None)
    }

    /// Returns whether data is stored for shapes at all. If not, removals leave no cleanup tasks, and the
    /// cleaner is never called. Asked once, when a store is opened.
    fn stores_data(&self) -> bool {
        true
    }
}

/// The cleaner of callers that store no data for shapes: tests, examples, tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopCleaner;

impl ShapeCleaner for NoopCleaner {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }

    fn stores_data(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn ShapeCleaner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShapeCleaner")
    }
}
