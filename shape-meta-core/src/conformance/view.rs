use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::sample::OTHER_HASH;
use crate::{
    Counts, DefinitionHash, Handle, Key, ReadShapes, ReadShapesExt, Relation, ScanItem, Seq, SnapshotState,
    Timestamp,
};

/// Everything that a store returns, to compare it with another store or with an earlier state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The counts.
    pub counts: Counts,
    /// The highest sequence number.
    pub last_seq: Seq,
    /// All live shapes, in the order of the scan.
    pub shapes: Vec<ShapeView>,
}

/// One shape, with everything that reads return of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ShapeView {
    /// The handle.
    pub handle: Handle,
    /// The key.
    pub key: Key,
    /// The hash of the definition.
    pub hash: DefinitionHash,
    /// The sequence number of its add.
    pub created: Seq,
    /// The time of its creation.
    pub created_at: Option<Timestamp>,
    /// The snapshot state.
    pub state: SnapshotState,
    /// The last-read time.
    pub last_read: Option<Timestamp>,
    /// The tables that it reads.
    pub relations: Vec<Relation>,
    /// The keys of the definitions that it depends on.
    pub dependencies: Vec<Key>,
    /// Whether it is indexed.
    pub indexed: bool,
    /// The definition.
    pub definition: Arc<[u8]>,
}

impl ShapeView {
    /// Returns the view of a scanned shape.
    pub fn of(item: &ScanItem) -> Self {
        let entry = &item.record.entry;
        Self {
            handle: entry.handle().clone(),
            key: *entry.key(),
            hash: item.metadata.hash,
            created: item.metadata.created,
            created_at: item.metadata.created_at,
            state: item.metadata.state,
            last_read: item.metadata.last_read,
            relations: entry.relations().to_vec(),
            dependencies: item.record.dependencies.to_vec(),
            indexed: entry.is_indexed(),
            definition: Arc::clone(&item.record.definition),
        }
    }
}

impl fmt::Debug for ShapeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?} key {:.8}.. {}", self.created, self.handle.as_str(), self.key, self.state)?;
        if let Some(at) = self.last_read {
            write!(f, ", read at {}", at.as_micros())?;
        }
        write!(f, ", relations {:?}", self.relations.iter().map(|one| one.oid()).collect::<Vec<_>>())?;
        if !self.dependencies.is_empty() {
            write!(f, ", {} dependencies", self.dependencies.len())?;
        }
        let prefix = &self.definition[..self.definition.len().min(24)];
        write!(f, ", {} bytes: {}", self.definition.len(), prefix.escape_ascii())
    }
}

impl View {
    /// Reads everything from a store while no other thread changes it.
    ///
    /// # Panics
    ///
    /// If one read contradicts another (C1), or fails.
    #[track_caller]
    pub fn of<S: ReadShapes + ?Sized>(store: &S) -> Self {
        let items: Vec<ScanItem> = read(store.scan()).map(read).collect();
        let shapes: Vec<ShapeView> = items.iter().map(ShapeView::of).collect();
        let view = Self { counts: read(store.counts()), last_seq: read(store.last_seq()), shapes };

        assert!(
            view.shapes.is_sorted_by(|one, next| one.created < next.created),
            "C1: a scan is in creation order: {view:#?}"
        );
        let indexed = view.shapes.iter().filter(|shape| shape.indexed).count() as u64;
        let counts = Counts { total: view.shapes.len() as u64, indexed };
        assert_eq!(view.counts, counts, "C1: the counts equal those of the scan: {view:#?}");
        assert_eq!(view.counts.unindexed(), counts.total - indexed);
        for (shape, item) in view.shapes.iter().zip(&items) {
            assert_point_reads_agree(store, shape, item);
        }
        assert_relation_reads_agree(store, &view.shapes);
        view
    }

    /// Returns the shape with this handle.
    pub fn get(&self, handle: &str) -> Option<&ShapeView> {
        self.shapes.iter().find(|shape| shape.handle == *handle)
    }
}

#[track_caller]
fn assert_point_reads_agree<S: ReadShapes + ?Sized>(store: &S, shape: &ShapeView, item: &ScanItem) {
    let handle = &*shape.handle;
    assert_eq!(read(store.metadata(handle)), Some(item.metadata), "C1: metadata of {shape:?}");
    assert_eq!(read(store.handle_for(&shape.key)).as_deref(), Some(handle), "C1: key of {shape:?}");
    let Some(entry) = read(store.entry(handle)) else { panic!("C1: {shape:?} has no entry") };
    assert_eq!(
        (entry.handle(), entry.key(), entry.hash(), entry.created(), entry.is_indexed(), entry.last_read()),
        (&shape.handle, &shape.key, shape.hash, shape.created, shape.indexed, shape.last_read),
        "C1: entry of {shape:?}"
    );
    assert_eq!(*entry.relations(), *shape.relations, "C1: relations of {shape:?}");
    let Some(record) = read(store.record(handle)) else { panic!("C1: {shape:?} has no record") };
    let from_record = ShapeView::of(&ScanItem { record, metadata: item.metadata });
    assert_eq!(from_record, *shape, "C1: the record equals the item of the scan");

    assert!(read(store.has_handle(handle)));
    assert!(read(store.validate_handle(handle, shape.hash)));
    assert!(!read(store.validate_handle(handle, OTHER_HASH)), "the hash of another definition is not valid");
    assert_eq!(read(store.snapshot_state(handle)), Some(shape.state));
    assert_eq!(read(store.is_snapshot_started(handle)), shape.state.is_started());
}

#[track_caller]
fn assert_relation_reads_agree<S: ReadShapes + ?Sized>(store: &S, shapes: &[ShapeView]) {
    let mut by_relation = BTreeMap::<Relation, BTreeSet<Handle>>::new();
    for shape in shapes {
        for relation in &shape.relations {
            by_relation.entry(*relation).or_default().insert(shape.handle.clone());
        }
    }
    for (relation, expected) in &by_relation {
        assert_eq!(
            &distinct_handles_for_relations(store, &[*relation]),
            expected,
            "C1: shapes that read {relation}"
        );
    }
    let all: Vec<_> = by_relation.keys().copied().collect();
    let expected = by_relation.into_values().flatten().collect();
    assert_eq!(distinct_handles_for_relations(store, &all), expected, "C1: shapes that read any of {all:?}");
}

/// Returns the handles of the shapes that read any of these relations.
///
/// # Panics
///
/// If a handle is returned twice, or the read fails.
#[track_caller]
pub fn distinct_handles_for_relations<S: ReadShapes + ?Sized>(
    store: &S,
    relations: &[Relation],
) -> BTreeSet<Handle> {
    let handles = read(store.handles_for_relations(relations));
    let count = handles.len();
    let distinct: BTreeSet<_> = handles.into_iter().collect();
    assert_eq!(distinct.len(), count, "C1: each shape that reads {relations:?} is returned once");
    distinct
}

/// Unwraps a read that must not fail.
#[track_caller]
pub(super) fn read<T>(outcome: crate::Result<T>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("a read failed: {error:?}"),
    }
}
