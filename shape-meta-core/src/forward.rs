//! A reference, a box and a shared pointer to a store are that store.

#![deny(clippy::missing_trait_methods)]

use std::{ops::Deref, sync::Arc, time::Duration};

use crate::{
    ApplyChanges, Attempt, Batch, CloseReport, ControlWrites, Counts, Delta, Entry, GetOrAdd, Handle,
    HandleSet, Health, Key, Known, LeastRecentlyUsed, Metadata, MutateError, MutateShapes, Mutation,
    NewShape, NotDurable, Pending, ReadShapes, Receipt, Record, Relation, Repaired, Result, Scan, Seq,
    Signal, Swept, Timestamp, Usage,
};

macro_rules! forward {
    ($pointer:ty) => {
        impl<S: ReadShapes + ?Sized> ReadShapes for $pointer {
            fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
                self.deref().metadata(handle)
            }
            fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
                self.deref().handle_for(key)
            }
            fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
                self.deref().entry(handle)
            }
            fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
                self.deref().record(handle)
            }
            fn handles_reading(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
                self.deref().handles_reading(relations)
            }
            fn counts(&self) -> Result<Counts> {
                self.deref().counts()
            }
            fn scan(&self) -> Result<Scan<'_>> {
                self.deref().scan()
            }
            fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
                self.deref().touch(handle, at)
            }
            fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
                self.deref().least_recently_used(n, excluded)
            }
            fn last_seq(&self) -> Result<Seq> {
                self.deref().last_seq()
            }
        }

        impl<S: ApplyChanges + ?Sized> ApplyChanges for $pointer {
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
            fn repair(&self, known: Known<'_>) -> Result<Repaired> {
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
            fn sweep_reads(&self) -> Result<Swept> {
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
            fn attempt(&self, mutation: &Mutation, attempt: Attempt) -> Result<Receipt, MutateError> {
                self.deref().attempt(mutation, attempt)
            }
            fn attempt_get_or_add(
                &self,
                shape: &NewShape,
                attempt: Attempt,
            ) -> Result<GetOrAdd, MutateError> {
                self.deref().attempt_get_or_add(shape, attempt)
            }
            fn room(&self) -> Option<&Signal> {
                self.deref().room()
            }
        }

        impl<S: ControlWrites + ?Sized> ControlWrites for $pointer {
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
