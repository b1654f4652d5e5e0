use std::{fmt, sync::Arc};

use crate::{Definition, Record, Relations};

/// A check of shapes by the caller, which alone knows what a definition means.
#[derive(Clone)]
pub struct Verifier(Arc<dyn Fn(&Record) -> bool + Send + Sync>);

impl Verifier {
    /// Returns a verifier that accepts a record if `check` returns true.
    pub fn new(check: impl Fn(&Record) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Returns a verifier that decodes the definition as a `D`, and compares its key, hash, relations and
    /// dependencies with those of the record. For records that are made by
    /// [`NewShape::of`](crate::NewShape::of).
    pub fn of<D: Definition>() -> Self {
        Self::new(|record| {
            let entry = &record.entry;
            record.decode::<D>().is_ok_and(|definition| {
                let key = definition.key();
                key == *entry.key()
                    && key.definition_hash() == entry.hash()
                    && *Relations::from(definition.relations()) == *entry.relations()
                    && *definition.dependencies() == *record.dependencies
            })
        })
    }

    /// Returns whether the check accepts this record.
    pub fn accepts(&self, record: &Record) -> bool {
        (self.0)(record)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}
