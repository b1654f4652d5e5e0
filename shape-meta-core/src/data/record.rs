use std::sync::Arc;

use crate::{Entry, Handle, Key, Metadata, Seq};

/// A shape with its definition, as it is stored on disk.
#[derive(Clone, Debug)]
pub struct Record {
    /// The part of the shape that stays in memory.
    pub entry: Arc<Entry>,
    /// The keys of the definitions that this one depends on; see
    /// [`Definition::dependencies`](crate::Definition::dependencies).
    pub dependencies: Box<[Key]>,
    /// The encoded definition as the caller passed it. Stores do not interpret it.
    pub definition: Arc<[u8]>,
}

impl Record {
    /// Returns the handle.
    pub fn handle(&self) -> &Handle {
        self.entry.handle()
    }

    /// Returns the key of the definition.
    pub fn key(&self) -> &Key {
        self.entry.key()
    }

    /// Returns the memory of this record, in bytes; the bound of a buffer counts it.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.entry.memory()
            + size_of_val::<[Key]>(&self.dependencies)
            + self.definition.len()
    }

    /// Returns this record with another sequence number. If the record is not shared yet, the number is
    /// written in place: a record that is built before taking a lock then gets its sequence number under the
    /// lock for one store.
    pub fn with_seq(mut self: Arc<Self>, created: Seq) -> Arc<Self> {
        let unshared = Arc::get_mut(&mut self).and_then(|record| Arc::get_mut(&mut record.entry));
        match unshared {
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
    /// The error of the definition's decoder.
    pub fn decode<D: crate::Definition>(&self) -> Result<D, D::Error> {
        D::decode(&self.definition)
    }
}

/// A shape as a scan returns it.
#[derive(Clone, Debug)]
pub struct ScanItem {
    /// The shape with its definition.
    pub record: Arc<Record>,
    /// The metadata of the shape at the moment of the scan.
    pub metadata: Metadata,
}
