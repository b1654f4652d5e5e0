//! A router that matches replicated rows to shapes. It keeps relation -> shapes by the change feed alone, so
//! a row costs it no look-up in the store: `cargo run --features shape --example router`.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::Duration,
};

use shape_meta::{
    BufferOptions, CacheOptions, Entry, Feed, FeedChange, FeedError, FeedEvent, FeedOptions, NoopCleaner,
    Seq, Shape, ShapeList, TableName, prelude::*,
};

/// The shapes of each relation. A shape is identified by the sequence number of its add.
#[derive(Default)]
struct Router {
    shapes: HashMap<Seq, Arc<Entry>>,
    by_relation: HashMap<Relation, BTreeMap<Seq, Handle>>,
}

impl Router {
    fn add(&mut self, entry: &Arc<Entry>) {
        for relation in entry.relations() {
            self.by_relation.entry(*relation).or_default().insert(entry.created(), entry.handle().clone());
        }
        self.shapes.insert(entry.created(), Arc::clone(entry));
    }

    fn remove(&mut self, created: Seq) {
        let Some(entry) = self.shapes.remove(&created) else { return };
        for relation in entry.relations() {
            if let Some(shapes) = self.by_relation.get_mut(relation) {
                shapes.remove(&created);
            }
        }
    }

    /// Applies a change. One that it has already changes nothing.
    fn apply(&mut self, change: &FeedChange) {
        match &change.event {
            FeedEvent::Added { entry, .. } => self.add(entry),
            FeedEvent::Removed(shape) => self.remove(shape.created),
            // The store has undone a change that was visible: the feed says what the shape is now.
            FeedEvent::Rejected { entry, state: Some(_), .. } => self.add(entry),
            FeedEvent::Rejected { entry, state: None, .. } => self.remove(entry.created()),
            FeedEvent::Reset { through } => {
                let gone: Vec<_> = self.shapes.keys().copied().filter(|created| created <= through).collect();
                gone.into_iter().for_each(|created| self.remove(created));
            }
            // Snapshots do not matter to a router.
            _ => {}
        }
    }

    fn route(&self, relation: Relation) -> impl Iterator<Item = &Handle> {
        self.by_relation.get(&relation).into_iter().flat_map(BTreeMap::values)
    }
}

/// Subscribes, and then lists: what changes in between is in both, and applying it twice is harmless.
fn start(store: &ShapeMeta) -> Result<(Feed, Router), Box<dyn Error>> {
    let feed = store.subscribe(&FeedOptions::visible())?;
    let mut router = Router::default();
    ShapeList::of(store)?.iter().for_each(|(entry, _)| router.add(entry));
    Ok((feed, router))
}

/// Applies what has changed. In a server this runs on a thread with `recv`, or in a task with `recv_async`.
fn follow(store: &ShapeMeta, feed: &mut Feed, router: &mut Router) -> Result<(), Box<dyn Error>> {
    loop {
        match feed.recv_timeout(Duration::ZERO) {
            Ok(Some(change)) => router.apply(&change),
            Ok(None) => return Ok(()),
            // It was too slow, or a repair has lost shapes. A caller that counts on few changes can resume
            // with `FeedOptions::after`; to begin anew is always right.
            Err(FeedError::Lagged { .. } | FeedError::ListAnew { .. }) => (*feed, *router) = start(store)?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .open(directory.path())?;
    let (todos, users) = (Relation::new(16510), Relation::new(16511));
    add(&store, "before", todos)?;

    let (mut feed, mut router) = start(&store)?;
    add(&store, "all-users", users)?;
    add(&store, "open-todos", todos)?;
    store.remove("before", Wait::No)?;
    follow(&store, &mut feed, &mut router)?;

    for (name, relation) in [("todos", todos), ("users", users)] {
        let shapes: Vec<_> = router.route(relation).map(|handle| handle.as_str()).collect();
        println!("a row of {name} goes to {shapes:?}");
    }
    assert!(router.route(todos).eq(&store.handles_for_relations(&[todos])?));
    assert!(router.route(users).eq(&store.handles_for_relations(&[users])?));
    Ok(())
}

fn add(store: &ShapeMeta, handle: &str, relation: Relation) -> Result<(), Box<dyn Error>> {
    let definition = Shape::new(TableName::new("public", handle.replace('-', "_")), relation);
    store.add(NewShape::of(Handle::new(handle)?, &definition), Wait::UpTo(Duration::from_secs(1)))?;
    Ok(())
}
