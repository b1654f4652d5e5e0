//! A reference, a box and a shared pointer to a store are that store.

#![deny(clippy::missing_trait_methods)]

use std::{ops::Deref, sync::Arc, time::Duration};

use crate::{
    AttemptContext, Batch, CloseReport, Delta, Entry, GetOrAdd, Health, MutateError, MutateShapes, Mutation,
    NewShape, NotDurable, Pending, ReadShapes, Receipt, Record, Repaired, Result, Seq, ShapeStore, Signal,
    StoreControl, SweepProgress, Timestamp, TrustedState, Usage,
};

/// The methods of `ReadShapes`, each asked of another store: `forward_reads!(self => self.inner);` in an `impl`.
macro_rules! forward_reads {
    ($self:ident => $store:expr) => {
        fn metadata(&$self, handle: &str) -> $crate::Result<Option<$crate::Metadata>> {
            $store.metadata(handle)
        }
        fn handle_for(&$self, key: &$crate::Key) -> $crate::Result<Option<$crate::Handle>> {
            $store.handle_for(key)
        }
        fn entry(&$self, handle: &str) -> $crate::Result<Option<::std::sync::Arc<$crate::Entry>>> {
            $store.entry(handle)
        }
        fn record(&$self, handle: &str) -> $crate::Result<Option<::std::sync::Arc<$crate::Record>>> {
            $store.record(handle)
        }
        fn handles_for_relations(&$self, relations: &[$crate::Relation]) -> $crate::Result<Vec<$crate::Handle>> {
            $store.handles_for_relations(relations)
        }
        fn counts(&$self) -> $crate::Result<$crate::Counts> {
            $store.counts()
        }
        fn scan(&$self) -> $crate::Result<$crate::Scan<'_>> {
            $store.scan()
        }
        fn touch(&$self, handle: &str, at: $crate::Timestamp) -> $crate::Result<bool> {
            $store.touch(handle, at)
        }
        fn least_recently_used(
            &$self,
            n: usize,
            excluded: &$crate::HandleSet,
        ) -> $crate::Result<$crate::LeastRecentlyUsed> {
            $store.least_recently_used(n, excluded)
        }
        fn last_seq(&$self) -> $crate::Result<$crate::Seq> {
            $store.last_seq()
        }
    };
}

pub(crate) use forward_reads;

macro_rules! forward {
    ($pointer:ty) => {
        impl<S: ReadShapes + ?Sized> ReadShapes for $pointer {
            forward_reads!(self => self.deref());
        }

        impl<S: ShapeStore + ?Sized> ShapeStore for $pointer {
            fn apply(&self, batch: &Batch) -> Result<()> {
                self.deref().apply(batch)
            }
            fn commit(&self, batch: &Batch) -> Result<()> {
                self.deref().commit(batch)
            }
            fn publish(&self, batch: &Batch) {
                self.deref().publish(batch);
            }
            fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
                self.deref().load(each)
            }
            fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
                self.deref().record_of(entry)
            }
            fn usage(&self) -> Usage {
                self.deref().usage()
            }
            fn repair(&self, known: TrustedState<'_>) -> Result<Repaired> {
                self.deref().repair(known)
            }
            fn changes_since(&self, place: Seq) -> Result<Option<Delta>> {
                self.deref().changes_since(place)
            }
            fn save_reads(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
                self.deref().save_reads(reads)
            }
            fn saved_reads(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
                self.deref().saved_reads(each)
            }
            fn sweep_reads(&self) -> Result<SweepProgress> {
                self.deref().sweep_reads()
            }
        }

        impl<S: MutateShapes + ?Sized> MutateShapes for $pointer {
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
            fn room(&self) -> Option<&Signal> {
                self.deref().room()
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
            fn close(&self, timeout: Duration) -> CloseReport {
                self.deref().close(timeout)
            }
        }
    };
}

forward!(&S);
forward!(Box<S>);
forward!(Arc<S>);
