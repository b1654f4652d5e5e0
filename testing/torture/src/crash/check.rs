//! What is left, compared with what was told.

use std::sync::Arc;

use shape_meta::{Change, Limits, NoopObserver, ReadShapes, Seq, Timestamp};
use shape_meta_core::{
    Batch, Direct, MemoryStore, ShapeStore,
    conformance::{Seen, View},
};

use super::{heard::Heard, plan::Task};
use shape_meta_harness::script::Script;

/// A copy in memory of what a store holds.
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

/// Whether this is a state that a child may leave which began with `before`: a prefix of what was
/// acknowledged, with all that was durable (C6). Else what is wrong.
pub(super) fn is_prefix(before: &MemoryStore, left: &View, heard: &Heard, task: Task) -> Result<(), String> {
    let before = copy(before).map_err(|error| error.to_string())?;
    let unopened = timeless(View::of(&before));
    before.reopen(Timestamp::from_micros(1));
    if !heard.opened {
        // What is incomplete was removed, or it was not.
        let opened = timeless(View::of(&before));
        let is = [unopened, opened].contains(left);
        return if is { Ok(()) } else { Err("C6: neither as it was nor recovered".into()) };
    }
    let n = left.last_seq.get();
    if n < heard.durable {
        return Err(format!("C6: {} was durable, and the order ends at {n}", heard.durable));
    }
    let mut seen = 0;
    for (thread, said) in (0..).zip(&heard.did) {
        let is_of = |shape: &Seen| task.threads == 1 || Script::is_of(thread, &shape.key);
        let of_thread =
            |view: &View| -> Vec<Seen> { nameless(view.shapes.iter().filter(|shape| is_of(shape))) };
        let found = of_thread(left);
        seen += found.len();
        let script = if task.threads == 1 {
            Script::alone(task.seed)
        } else {
            Script::among_others(task.seed, thread)
        };
        let model = copy(&before).map_err(|error| error.to_string())?;
        let model = Direct::new(model, Limits::default(), Arc::new(NoopObserver))
            .map_err(|error| error.to_string())?;
        let mut script = script.take(usize::try_from(task.steps).unwrap_or(usize::MAX));
        // Its steps up to the last one that has a place before the end.
        let places: Vec<u64> = said.iter().filter_map(|(seq, _)| *seq).collect();
        if !places.is_sorted() {
            return Err(format!("C6: the places of one thread are not in its order: {places:?}"));
        }
        let is_before = |(seq, _): &(Option<u64>, u64)| seq.is_some_and(|seq| seq <= n);
        let count = said.iter().rposition(is_before).map_or(0, |at| at + 1);
        for step in script.by_ref().take(count) {
            step.play(&model);
        }
        if found == of_thread(&View::of(&model)) {
            continue;
        }
        // What it was doing when it was killed may be there, though nobody heard of it. But not if it had
        // done more than what is there.
        if said.iter().skip(count).any(|(seq, _)| seq.is_some()) {
            return Err(format!("C6: thread {thread} is not at {count} steps of {}", said.len()));
        }
        for step in script.take(said.len() - count + 1) {
            step.play(&model);
        }
        if found != of_thread(&View::of(&model)) {
            return Err(format!("C6: thread {thread} is neither at {count} steps nor at one more"));
        }
    }
    if task.threads == 1 {
        return Ok(());
    }
    let of_nobody = |view: &View| {
        let is = |shape: &&Seen| !(0..task.threads).any(|thread| Script::is_of(thread, &shape.key));
        nameless(view.shapes.iter().filter(is))
    };
    let others = of_nobody(left);
    if others != of_nobody(&View::of(&before)) || seen + others.len() != left.shapes.len() {
        return Err("C6: what no thread has touched is not as it was".into());
    }
    Ok(())
}

/// What was acknowledged and is lost: how many mutations, and how old the oldest was, in microseconds.
pub(super) fn lost(left: &View, heard: &Heard) -> (u64, u64) {
    let Some(killed) = heard.killed else { return (0, 0) };
    let lost = heard.did.iter().flatten().filter(|(seq, _)| seq.is_some_and(|seq| seq > left.last_seq.get()));
    let oldest = lost.clone().map(|(_, at)| *at).min();
    (lost.count() as u64, oldest.map_or(0, |at| killed.saturating_sub(at)))
}

/// Without what depends on the clock.
pub(super) fn timeless(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| Seen { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

/// By handle, without what depends on the clock and on the other threads.
fn nameless<'a>(shapes: impl Iterator<Item = &'a Seen>) -> Vec<Seen> {
    let shapes = shapes.map(|shape| Seen { created: Seq::ZERO, last_read: None, ..shape.clone() });
    let mut shapes: Vec<_> = shapes.collect();
    shapes.sort_by(|one, other| one.handle.cmp(&other.handle));
    shapes
}
