use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{Entry, Key, ReadShapes, Record, Relation, Result, Seq};

/// Which shapes a removal in bulk removes, in one step: [`Mutation::RemoveAll`](crate::Mutation::RemoveAll).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    roots: Roots,
    with_dependants: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    Handles(Vec<String>),
    Relations(Vec<Relation>),
}

impl Removal {
    /// The shapes with these handles. A handle that is not live is passed over.
    pub fn of_handles<H: Into<String>>(handles: impl IntoIterator<Item = H>) -> Self {
        let roots = Roots::Handles(handles.into_iter().map(Into::into).collect());
        Self { roots, with_dependants: false }
    }

    /// All shapes that read at least one of these relations: for tables that were dropped or altered.
    pub fn of_relations(relations: impl IntoIterator<Item = Relation>) -> Self {
        let roots = Roots::Relations(relations.into_iter().collect());
        Self { roots, with_dependants: false }
    }

    /// Also removes the shapes whose definitions
    /// [depend](crate::Definition::dependencies) on the definition of a shape that is removed, and so on.
    ///
    /// This reads all shapes with their definitions once, as a [`scan`](ReadShapes::scan) does.
    pub fn with_dependants(self) -> Self {
        Self { with_dependants: true, ..self }
    }

    /// Whether dependants are removed, too.
    pub fn has_dependants(&self) -> bool {
        self.with_dependants
    }

    /// Returns the handles of the shapes, if they are named.
    pub fn handles(&self) -> &[String] {
        match &self.roots {
            Roots::Handles(handles) => handles,
            Roots::Relations(_) => &[],
        }
    }

    /// Returns the relations that the shapes read, if they are selected by those.
    pub fn relations(&self) -> &[Relation] {
        match &self.roots {
            Roots::Handles(_) => &[],
            Roots::Relations(relations) => relations,
        }
    }

    /// Looks up the shapes that it may concern in this store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn select(&self, store: &(impl ReadShapes + ?Sized)) -> Result<Selection> {
        let mut selection = Selection::default();
        for handle in self.handles() {
            selection.roots.extend(store.entry(handle)?);
        }
        let reads = |entry: &Arc<Entry>| entry.relations().iter().any(|read| self.relations().contains(read));
        for reader in store.handles_for_relations(self.relations())? {
            // Another shape may have got the handle since.
            selection.roots.extend(store.entry(&reader)?.filter(reads));
        }
        if self.with_dependants {
            for item in store.scan()? {
                selection.add_dependant(&item?.record);
            }
        }
        Ok(selection)
    }
}

/// The shapes that a [`Removal`] may concern, for implementors of a layer on top: those that it finds below,
/// and those that the layer adds. Which of them are live is decided at last.
#[derive(Debug, Default)]
pub struct Selection {
    roots: Vec<Arc<Entry>>,
    /// The shapes that depend on a key.
    dependants: HashMap<Key, Vec<Arc<Entry>>>,
}

impl Selection {
    /// Adds a shape that is removed for itself.
    pub fn add_root(&mut self, entry: Arc<Entry>) {
        self.roots.push(entry);
    }

    /// Adds a shape that may depend on one that is removed.
    pub fn add_dependant(&mut self, record: &Record) {
        for dependency in &record.dependencies {
            self.dependants.entry(*dependency).or_default().push(Arc::clone(&record.entry));
        }
    }

    /// Returns the shapes to remove, each once, in the order of creation. `live` returns the entry of a shape
    /// if it is live, and is called for those alone that matter.
    pub fn into_shapes(self, live: impl Fn(&Arc<Entry>) -> Option<Arc<Entry>>) -> Vec<Arc<Entry>> {
        let mut removed: BTreeMap<Seq, Arc<Entry>> = BTreeMap::new();
        let mut next = self.roots;
        while let Some(candidate) = next.pop() {
            if removed.contains_key(&candidate.created()) {
                continue;
            }
            if let Some(entry) = live(&candidate) {
                next.extend(self.dependants.get(entry.key()).into_iter().flatten().cloned());
                removed.insert(entry.created(), entry);
            }
        }
        removed.into_values().collect()
    }
}
