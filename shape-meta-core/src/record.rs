use std::sync::Arc;

use crate::{Entry, Handle, Key, Metadata, Seq};

/// A shape with its definition: what is written to disk, whole.
#[derive(Clone, Debug)]
pub struct Record {
    /// What memory keeps of the shape.
    pub entry: Arc<Entry>,
    /// The keys of the definitions that this one builds on; see
    /// [`Definition::dependencies`](crate::Definition::dependencies).
    pub dependencies: Box<[Key]>,
    /// The encoded definition, as the caller gave it. The store never looks into it.
    pub definition: Arc<[u8]>,
}

impl Record {
    /// The handle.
    pub fn handle(&self) -> &Handle {
        self.entry.handle()
    }

    /// The key of the definition.
    pub fn key(&self) -> &Key {
        self.entry.key()
    }

    /// Bytes that this record takes in memory: what the bound of a buffer counts.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.entry.memory()
            + size_of_val::<[Key]>(&self.dependencies)
            + self.definition.len()
    }

    /// The same record at this place in the order. Moves nothing if nobody shares it yet: so the one that
    /// is made ahead of a lock gets its place under it for the price of a store.
    pub fn with_seq(mut self: Arc<Self>, created: Seq) -> Arc<Self> {
        let place = Arc::get_mut(&mut self).and_then(|record| Arc::get_mut(&mut record.entry));
        match place {
            Some(entry) => {
                entry.set_seq(created);
                self
            }
            None => {
                let entry = Arc::new(self.entry.clone_with_seq(created));
                Arc::new(Self { entry, ..(*self).clone() })
            }
        }
    }

    /// Decodes the definition.
    ///
    /// # Errors
    ///
    /// What the definition's own decoder says, if the bytes are not of its making.
    pub fn decode<D: crate::Definition>(&self) -> Result<D, D::Error> {
        D::decode(&self.definition)
    }
}

/// A shape as a scan shows it.
#[derive(Clone, Debug)]
pub struct ScanItem {
    /// The shape with its definition.
    pub record: Arc<Record>,
    /// Its small facts at the moment of the scan.
    pub metadata: Metadata,
}
