use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta::{NoopObserver, Shape, prelude::*};

use crate::{Result, composition::Composition, trace::Definitions};

/// The result of comparing the reopened database with the trace.
pub(crate) struct Checked {
    pub(crate) shapes: usize,
    pub(crate) reopening: Duration,
    pub(crate) problems: Vec<String>,
}

/// Reopens the database and compares every shape with the trace.
pub(crate) fn check(composition: Composition, directory: &Path, trace: &Definitions) -> Result<Checked> {
    let start = Instant::now();
    let store = composition.open(directory, Arc::new(NoopObserver))?;
    let reopening = start.elapsed();
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    let mut readers: BTreeMap<Relation, HashSet<Handle>> = BTreeMap::new();
    for definition in &trace.requested {
        let key = definition.key();
        if !seen.insert(key) {
            continue;
        }
        let Some(handle) = store.handle_for(&key)? else {
            problems.push(format!("no shape has the key {key}"));
            continue;
        };
        if store.snapshot_state(&handle)? != Some(SnapshotState::Complete) {
            problems.push(format!("the snapshot of {handle} is not complete"));
        }
        match store.record(&handle)? {
            Some(record) if record.decode::<Shape>()? == *definition => {}
            Some(_) => problems.push(format!("{handle} has another definition than the trace")),
            None => problems.push(format!("{handle} has no definition")),
        }
        for relation in definition.relations() {
            readers.entry(relation).or_default().insert(handle.clone());
        }
    }
    for (relation, expected) in readers {
        let found: HashSet<_> = store.handles_for_relations(&[relation])?.into_iter().collect();
        if found != expected {
            problems.push(format!(
                "{} shapes read the relation {relation}, and the trace has {}",
                found.len(),
                expected.len()
            ));
        }
    }
    let total = store.counts()?.total;
    if total != seen.len() as u64 {
        problems.push(format!("{total} shapes are live, and the trace has {}", seen.len()));
    }
    Ok(Checked { shapes: seen.len(), reopening, problems })
}
