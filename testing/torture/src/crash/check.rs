//! Compares the database that a child leaves with the child's reports.

use std::sync::Arc;

use shape_meta::{Change, Limits, NoopObserver, ReadShapes, Seq, Timestamp};
use shape_meta_core::{
    Batch, Direct, MemoryStore, ShapeStore,
    conformance::{ShapeView, View},
};

use super::{child_log::ChildLog, plan::Task};
use shape_meta_harness::script::Script;

/// Returns a copy in memory of a store's content.
pub(super) fn copy(store: &impl ReadShapes) -> shape_meta::Result<MemoryStore> {
    let mut changes = Vec::new();
    for listed in store.scan()? {
        let listed = listed?;
        changes.push(Change::Add { record: listed.record, state: listed.metadata.state });
    }
    let copy = MemoryStore::new();
    copy.apply(&Batch { changes, through: store.last_seq()? })?;
    Ok(copy)
}

/// Checks C6: a child that began with `before` may leave this state, which is a prefix of its acknowledged
/// mutations with every durable one. Returns the violation otherwise.
pub(super) fn is_prefix(before: &MemoryStore, left: &View, log: &ChildLog, task: Task) -> Result<(), String> {
    let before = copy(before).map_err(|error| error.to_string())?;
    let unopened = timeless(View::of(&before));
    before.reopen(Timestamp::from_micros(1));
    if !log.opened {
        // The recovery at open removes incomplete shapes. The child may have been killed before or after it.
        let opened = timeless(View::of(&before));
        let is_valid = [unopened, opened].contains(left);
        return if is_valid {
            Ok(())
        } else {
            Err("C6: neither the state before the open nor the recovered state".into())
        };
    }
    let n = left.last_seq.get();
    if n < log.durable {
        return Err(format!("C6: sequence number {} was durable, but the database is at {n}", log.durable));
    }
    let mut matched = 0;
    for (thread, reported) in (0..).zip(&log.did) {
        let belongs = |shape: &ShapeView| task.threads == 1 || Script::owns_key(thread, &shape.key);
        let of_thread = |view: &View| -> Vec<ShapeView> {
            without_seqs(view.shapes.iter().filter(|shape| belongs(shape)))
        };
        let found = of_thread(left);
        matched += found.len();
        let script = if task.threads == 1 {
            Script::single_threaded(task.seed)
        } else {
            Script::for_thread(task.seed, thread)
        };
        let model = copy(&before).map_err(|error| error.to_string())?;
        let model = Direct::new(model, Limits::default(), Arc::new(NoopObserver))
            .map_err(|error| error.to_string())?;
        let mut script = script.take(usize::try_from(task.steps).unwrap_or(usize::MAX));
        // The thread's steps up to the last one with a sequence number in the prefix.
        let seqs: Vec<u64> = reported.iter().filter_map(|(seq, _)| *seq).collect();
        if !seqs.is_sorted() {
            return Err(format!("C6: sequence numbers of one thread are out of order: {seqs:?}"));
        }
        let is_before = |(seq, _): &(Option<u64>, u64)| seq.is_some_and(|seq| seq <= n);
        let count = reported.iter().rposition(is_before).map_or(0, |at| at + 1);
        for step in script.by_ref().take(count) {
            step.play(&model);
        }
        if found == of_thread(&View::of(&model)) {
            continue;
        }
        // The step during which the child was killed may have been committed without a report. That is
        // impossible if the child has reported later steps.
        if reported.iter().skip(count).any(|(seq, _)| seq.is_some()) {
            return Err(format!(
                "C6: thread {thread} is not in the state after {count} of {} steps",
                reported.len()
            ));
        }
        for step in script.take(reported.len() - count + 1) {
            step.play(&model);
        }
        if found != of_thread(&View::of(&model)) {
            return Err(format!(
                "C6: thread {thread} is neither in the state after {count} steps nor after one more"
            ));
        }
    }
    if task.threads == 1 {
        return Ok(());
    }
    let of_no_thread = |view: &View| {
        let is = |shape: &&ShapeView| !(0..task.threads).any(|thread| Script::owns_key(thread, &shape.key));
        without_seqs(view.shapes.iter().filter(is))
    };
    let others = of_no_thread(left);
    if others != of_no_thread(&View::of(&before)) || matched + others.len() != left.shapes.len() {
        return Err("C6: shapes of no thread have changed".into());
    }
    Ok(())
}

/// Returns the number of acknowledged mutations that are lost, and the age of the oldest in microseconds.
pub(super) fn lost(left: &View, log: &ChildLog) -> (u64, u64) {
    let Some(killed) = log.killed else { return (0, 0) };
    let lost = log.did.iter().flatten().filter(|(seq, _)| seq.is_some_and(|seq| seq > left.last_seq.get()));
    let oldest = lost.clone().map(|(_, at)| *at).min();
    (lost.count() as u64, oldest.map_or(0, |at| killed.saturating_sub(at)))
}

/// Drops the fields that depend on the clock.
pub(super) fn timeless(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| ShapeView { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

/// Returns the shapes by handle, without the fields that depend on the clock or the other threads.
fn without_seqs<'a>(shapes: impl Iterator<Item = &'a ShapeView>) -> Vec<ShapeView> {
    let shapes = shapes.map(|shape| ShapeView { created: Seq::ZERO, last_read: None, ..shape.clone() });
    let mut shapes: Vec<_> = shapes.collect();
    shapes.sort_by(|one, other| one.handle.cmp(&other.handle));
    shapes
}
