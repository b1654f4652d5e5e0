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

/// Everything that a store says, for comparing it with what another says or with what it said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The counts.
    pub counts: Counts,
    /// How far the order has come.
    pub last_seq: Seq,
    /// All live shapes in the order of the scan.
    pub shapes: Vec<Seen>,
}

/// One shape, with all that can be seen of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// The handle.
    pub handle: Handle,
    /// The key.
    pub key: Key,
    /// The check of the definition.
    pub hash: DefinitionHash,
    /// The place of its add.
    pub created: Seq,
    /// The snapshot state.
    pub state: SnapshotState,
    /// When it was last read.
    pub last_read: Option<Timestamp>,
    /// The tables that it reads.
    pub relations: Vec<Relation>,
    /// What it builds on.
    pub dependencies: Vec<Key>,
    /// Whether it is indexed.
    pub indexed: bool,
    /// The definition.
    pub definition: Arc<[u8]>,
}

impl Seen {
    /// What a scan shows of a shape.
    pub fn of(listed: &ScanItem) -> Self {
        let entry = &listed.record.entry;
        Self {
            handle: entry.handle().clone(),
            key: *entry.key(),
            hash: listed.metadata.hash,
            created: listed.metadata.created,
            state: listed.metadata.state,
            last_read: listed.metadata.last_read,
            relations: entry.relations().to_vec(),
            dependencies: listed.record.dependencies.to_vec(),
            indexed: entry.is_indexed(),
            definition: Arc::clone(&listed.record.definition),
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?} key {:.8}.. {}", self.created, self.handle.as_str(), self.key, self.state)?;
        if let Some(at) = self.last_read {
            write!(f, ", read at {}", at.as_micros())?;
        }
        write!(f, ", relations {:?}", self.relations.iter().map(|one| one.oid()).collect::<Vec<_>>())?;
        if !self.dependencies.is_empty() {
            write!(f, ", {} dependencies", self.dependencies.len())?;
        }
        let shown = &self.definition[..self.definition.len().min(24)];
        write!(f, ", {} bytes: {}", self.definition.len(), shown.escape_ascii())
    }
}

impl View {
    /// What this store says while nobody changes it.
    ///
    /// # Panics
    ///
    /// If one of its reads contradicts another (C1), or fails.
    #[track_caller]
    pub fn of<S: ReadShapes + ?Sized>(store: &S) -> Self {
        let listed: Vec<ScanItem> = read(store.scan()).map(read).collect();
        let shapes: Vec<Seen> = listed.iter().map(Seen::of).collect();
        let view = Self { counts: read(store.counts()), last_seq: read(store.last_seq()), shapes };

        assert!(
            view.shapes.is_sorted_by(|one, next| one.created < next.created),
            "C1: a scan shows the order of creation: {view:#?}"
        );
        let indexed = view.shapes.iter().filter(|shape| shape.indexed).count() as u64;
        let scanned = Counts { total: view.shapes.len() as u64, indexed };
        assert_eq!(view.counts, scanned, "C1: the counts are those of the scan: {view:#?}");
        assert_eq!(view.counts.unindexed(), scanned.total - indexed);
        for (shape, listed) in view.shapes.iter().zip(&listed) {
            point_reads_agree(store, shape, listed);
        }
        relations_agree(store, &view.shapes);
        view
    }

    /// The shape with this handle.
    pub fn get(&self, handle: &str) -> Option<&Seen> {
        self.shapes.iter().find(|shape| shape.handle == *handle)
    }
}

#[track_caller]
fn point_reads_agree<S: ReadShapes + ?Sized>(store: &S, shape: &Seen, listed: &ScanItem) {
    let handle = &*shape.handle;
    assert_eq!(read(store.metadata(handle)), Some(listed.metadata), "C1: metadata of {shape:?}");
    assert_eq!(read(store.handle_for(&shape.key)).as_deref(), Some(handle), "C1: key of {shape:?}");
    let Some(entry) = read(store.entry(handle)) else { panic!("C1: {shape:?} has no entry") };
    assert_eq!(
        (entry.handle(), entry.key(), entry.hash(), entry.created(), entry.is_indexed(), entry.last_read()),
        (&shape.handle, &shape.key, shape.hash, shape.created, shape.indexed, shape.last_read),
        "C1: entry of {shape:?}"
    );
    assert_eq!(*entry.relations(), *shape.relations, "C1: relations of {shape:?}");
    let Some(record) = read(store.record(handle)) else { panic!("C1: {shape:?} has no record") };
    let whole = Seen::of(&ScanItem { record, metadata: listed.metadata });
    assert_eq!(whole, *shape, "C1: the record is what the scan shows");

    assert!(read(store.has_handle(handle)));
    assert!(read(store.validate_handle(handle, shape.hash)));
    assert!(!read(store.validate_handle(handle, OTHER_HASH)), "another definition's hash is not valid");
    assert_eq!(read(store.snapshot_state(handle)), Some(shape.state));
    assert_eq!(read(store.is_snapshot_started(handle)), shape.state.is_started());
}

#[track_caller]
fn relations_agree<S: ReadShapes + ?Sized>(store: &S, shapes: &[Seen]) {
    let mut readers = BTreeMap::<Relation, BTreeSet<Handle>>::new();
    for shape in shapes {
        for relation in &shape.relations {
            readers.entry(*relation).or_default().insert(shape.handle.clone());
        }
    }
    for (relation, expected) in &readers {
        assert_eq!(&reading(store, &[*relation]), expected, "C1: shapes that read {relation}");
    }
    let all: Vec<_> = readers.keys().copied().collect();
    let expected = readers.into_values().flatten().collect();
    assert_eq!(reading(store, &all), expected, "C1: shapes that read any of {all:?}");
}

/// The handles that read any of these relations.
///
/// # Panics
///
/// If one comes twice, or the read fails.
#[track_caller]
pub fn reading<S: ReadShapes + ?Sized>(store: &S, relations: &[Relation]) -> BTreeSet<Handle> {
    let handles = read(store.handles_for_relations(relations));
    let found = handles.len();
    let set: BTreeSet<_> = handles.into_iter().collect();
    assert_eq!(set.len(), found, "each shape that reads {relations:?} comes once");
    set
}

/// The outcome of a read that must not fail.
#[track_caller]
pub(super) fn read<T>(outcome: crate::Result<T>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("a read failed: {error:?}"),
    }
}
