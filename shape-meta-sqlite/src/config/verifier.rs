use std::{fmt, sync::Arc};

use shape_meta_core::{Definition, Record, Relations};

/// The caller's check of a shape: only the caller knows what a definition means.
#[derive(Clone)]
pub struct Verifier(Arc<dyn Fn(&Record) -> bool + Send + Sync>);

impl Verifier {
    /// A check of this making: whether the record is right.
    pub fn new(check: impl Fn(&Record) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// The definition decodes as a `D`, and has the key, the hash, the relations and the dependencies that the
    /// record says: for those who fill records by [`NewShape::of`](shape_meta_core::NewShape::of).
    pub fn of<D: Definition>() -> Self {
        Self::new(|record| {
            let entry = &record.entry;
            record.decode::<D>().is_ok_and(|definition| {
                definition.key() == *entry.key()
                    && definition.hash() == entry.hash()
                    && *Relations::from(definition.relations()) == *entry.relations()
                    && *definition.dependencies() == *record.dependencies
            })
        })
    }

    pub(crate) fn accepts(&self, record: &Record) -> bool {
        (self.0)(record)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}
