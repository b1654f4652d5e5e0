//! Forwards the traits of a store through references, boxes and shared pointers.

#![deny(clippy::missing_trait_methods)]

use std::{ops::Deref, sync::Arc, time::Duration};

use crate::{
    AttemptContext, AwaitShapes, ChangeLog, CloseReport, Entry, GetOrAdd, Handle, Health, Key, LastReadStore,
    LookUp, MutateError, MutateShapes, Mutation, NewShape, NotDurable, Pending, ReadShapes, RebuildStore,
    Receipt, Repaired, Reservation, Result, Seq, ShapeStore, ShapeWaits, Signal, StoreControl, Submitted,
    Usage,
    feed::{Feed, FeedError, FeedOptions},
};

/// Implements the methods of [`ReadShapes`] inside an `impl` block by forwarding them to another store.
///
/// Every decorator uses it, so that a new read method is forwarded by all of them at once.
///
/// - `forward_reads!(self => self.inner);` forwards every method.
/// - `forward_reads!(self => self.inner; except scan, touch);` leaves out the methods that the `impl` block
///   writes itself.
/// - `forward_reads!(self => self.inner; call => retry(call));` passes each call as a closure through an
///   expression. `call` is an `impl Fn() -> Result<T>`, and the expression has to be a `Result<T>`.
/// - `forward_reads!(self => self.inner; call => retry(call); except scan);` does both.
///
/// A store that has no shapes forwards to an empty [`MemoryStore`](crate::MemoryStore).
///
/// ```
/// use shape_meta_core::*;
///
/// /// Counts the look-ups by handle.
/// struct Counted<S> {
///     inner: S,
///     lookups: std::sync::atomic::AtomicU64,
/// }
///
/// impl<S: ReadShapes> ReadShapes for Counted<S> {
///     forward_reads!(self => self.inner; except metadata);
///
///     fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
///         self.lookups.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         self.inner.metadata(handle)
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_reads {
    ($self:ident => $store:expr $(; except $($own:ident),+)? $(;)?) => {
        $crate::__forward_reads! { @all [$($($own)+)?] $self $store, call => call() }
    };
    ($self:ident => $store:expr; $call:ident => $through:expr $(; except $($own:ident),+)? $(;)?) => {
        $crate::__forward_reads! { @all [$($($own)+)?] $self $store, $call => $through }
    };
}

/// The table of the read methods, behind `forward_reads!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_reads {
    (@all $own:tt $self:ident $store:expr, $call:ident => $through:expr) => {
        $crate::__forward_reads! { @one metadata $own $self $store, $call => $through;
            fn metadata(handle: &str) -> Option<$crate::Metadata> }
        $crate::__forward_reads! { @one handle_for $own $self $store, $call => $through;
            fn handle_for(key: &$crate::Key) -> Option<$crate::Handle> }
        $crate::__forward_reads! { @one entry $own $self $store, $call => $through;
            fn entry(handle: &str) -> Option<::std::sync::Arc<$crate::Entry>> }
        $crate::__forward_reads! { @one record $own $self $store, $call => $through;
            fn record(handle: &str) -> Option<::std::sync::Arc<$crate::Record>> }
        $crate::__forward_reads! { @one handles_for_relations $own $self $store, $call => $through;
            fn handles_for_relations(relations: &[$crate::Relation]) -> Vec<$crate::Handle> }
        $crate::__forward_reads! { @one counts $own $self $store, $call => $through;
            fn counts() -> $crate::Counts }
        $crate::__forward_reads! { @one scan $own $self $store, $call => $through;
            fn scan() -> $crate::Scan<'_> }
        $crate::__forward_reads! { @one touch $own $self $store, $call => $through;
            fn touch(handle: &str, at: $crate::Timestamp) -> bool }
        $crate::__forward_reads! { @one least_recently_used $own $self $store, $call => $through;
            fn least_recently_used(n: usize, excluded: &$crate::HandleSet) -> $crate::LeastRecentlyUsed }
        $crate::__forward_reads! { @one last_seq $own $self $store, $call => $through;
            fn last_seq() -> $crate::Seq }
    };

    // The method is at the head of the list of excepted ones: the implementor writes it.
    (@one metadata [metadata $($own:ident)*] $($rest:tt)*) => {};
    (@one handle_for [handle_for $($own:ident)*] $($rest:tt)*) => {};
    (@one entry [entry $($own:ident)*] $($rest:tt)*) => {};
    (@one record [record $($own:ident)*] $($rest:tt)*) => {};
    (@one handles_for_relations [handles_for_relations $($own:ident)*] $($rest:tt)*) => {};
    (@one counts [counts $($own:ident)*] $($rest:tt)*) => {};
    (@one scan [scan $($own:ident)*] $($rest:tt)*) => {};
    (@one touch [touch $($own:ident)*] $($rest:tt)*) => {};
    (@one least_recently_used [least_recently_used $($own:ident)*] $($rest:tt)*) => {};
    (@one last_seq [last_seq $($own:ident)*] $($rest:tt)*) => {};
    // Another method is at the head: search the rest of the list.
    (@one $method:ident [$other:ident $($own:ident)*] $($rest:tt)*) => {
        $crate::__forward_reads! { @one $method [$($own)*] $($rest)* }
    };
    // The list is empty: forward the method.
    (@one $method:ident [] $self:ident $store:expr, $call:ident => $through:expr;
        fn $name:ident($($arg:ident: $type:ty),*) -> $returned:ty) => {
        fn $name(&$self $(, $arg: $type)*) -> $crate::Result<$returned> {
            let $call = || $store.$name($($arg),*);
            $through
        }
    };
}

/// Implements the methods of [`ShapeStore`] about batches, records, claims and the lease inside an `impl`
/// block by forwarding them to another store. The block writes [`load`](ShapeStore::load) and the
/// capabilities itself: in these a decorator differs from the store below it.
///
/// - `forward_store!(self => self.inner);`
#[macro_export]
macro_rules! forward_store {
    ($self:ident => $store:expr $(;)?) => {
        fn apply(&$self, batch: &$crate::Batch) -> $crate::Result<()> {
            $store.apply(batch)
        }
        fn commit(&$self, batch: &$crate::Batch) -> $crate::Result<()> {
            $store.commit(batch)
        }
        fn publish(&$self, batch: &$crate::Batch) {
            $store.publish(batch);
        }
        fn record_of(
            &$self,
            entry: &::std::sync::Arc<$crate::Entry>,
        ) -> $crate::Result<Option<::std::sync::Arc<$crate::Record>>> {
            $store.record_of(entry)
        }
        fn claim_unread(&$self, entry: &::std::sync::Arc<$crate::Entry>, since: $crate::Timestamp) -> bool {
            $store.claim_unread(entry, since)
        }
        fn release_claim(&$self, entry: &::std::sync::Arc<$crate::Entry>) {
            $store.release_claim(entry);
        }
        fn check_lease(&$self) -> $crate::Result<()> {
            $store.check_lease()
        }
        fn resource_usage(&$self) -> $crate::Usage {
            $store.resource_usage()
        }
    };
}

macro_rules! forward {
    ($pointer:ty) => {
        impl<S: ReadShapes + ?Sized> ReadShapes for $pointer {
            forward_reads!(self => **self);
        }

        impl<S: ShapeStore + ?Sized> ShapeStore for $pointer {
            forward_store!(self => **self);

            fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
                self.deref().load(each)
            }
            fn change_log(&self) -> Option<&dyn ChangeLog> {
                self.deref().change_log()
            }
            fn last_read_store(&self) -> Option<&dyn LastReadStore> {
                self.deref().last_read_store()
            }
            fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
                self.deref().rebuild_store()
            }
        }

        impl<S: AwaitShapes + ?Sized> AwaitShapes for $pointer {
            fn shape_waits(&self) -> Arc<ShapeWaits> {
                self.deref().shape_waits()
            }
            fn shown_receipt(&self) -> Option<Receipt> {
                self.deref().shown_receipt()
            }
            fn look_up_elsewhere(&self, handle: &Handle) -> Option<LookUp> {
                self.deref().look_up_elsewhere(handle)
            }
        }

        impl<S: MutateShapes + ?Sized> MutateShapes for $pointer {
            fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
                self.deref().get(key)
            }
            fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
                self.deref().try_mutate(mutation)
            }
            fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
                self.deref().try_get_or_add(shape)
            }
            fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
                self.deref().attempt(mutation, attempt)
            }
            fn attempt_get_or_add(
                &self,
                shape: &NewShape,
                attempt: AttemptContext,
            ) -> Result<GetOrAdd, MutateError> {
                self.deref().attempt_get_or_add(shape, attempt)
            }
            fn submit(&self, mutation: &Mutation, attempt: AttemptContext) -> Submitted<Receipt> {
                self.deref().submit(mutation, attempt)
            }
            fn submit_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Submitted<GetOrAdd> {
                self.deref().submit_get_or_add(shape, attempt)
            }
            fn capacity_signal(&self) -> Option<&Signal> {
                self.deref().capacity_signal()
            }
        }

        impl<S: StoreControl + ?Sized> StoreControl for $pointer {
            fn request_flush(&self) -> Receipt {
                self.deref().request_flush()
            }
            fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
                self.deref().flush(timeout)
            }
            fn pause(&self) {
                self.deref().pause();
            }
            fn resume(&self) {
                self.deref().resume();
            }
            fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
                self.deref().subscribe(options)
            }
            fn pending(&self) -> Pending {
                self.deref().pending()
            }
            fn drain_rate(&self) -> f64 {
                self.deref().drain_rate()
            }
            fn health(&self) -> Health {
                self.deref().health()
            }
            fn usage(&self) -> Usage {
                self.deref().usage()
            }
            fn repair(&self) -> Result<Repaired> {
                self.deref().repair()
            }
            fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
                self.deref().reserve_handles(handles)
            }
            fn close(&self, timeout: Duration) -> CloseReport {
                self.deref().close(timeout)
            }
        }
    };
}

forward!(&S);
forward!(Box<S>);
forward!(Arc<S>);
