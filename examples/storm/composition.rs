use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta::{BufferOptions, CacheOptions, Checkout, NoopCleaner, Observer, ShapeMeta};

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Composition {
    /// Each mutation is a transaction.
    Direct,
    /// The same, with the read cache.
    DirectCached,
    /// The write buffer over SQLite.
    BufferedSqlite,
    /// The write buffer over the read cache over SQLite.
    Buffered,
}

impl Composition {
    const ALL: [Self; 4] = [Self::Direct, Self::DirectCached, Self::BufferedSqlite, Self::Buffered];

    /// Returns the composition with this name.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|composition| composition.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown composition {name:?}; the compositions are {names}").into()
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DirectCached => "direct-cached",
            Self::BufferedSqlite => "buffered-sqlite",
            Self::Buffered => "buffered",
        }
    }

    pub(crate) fn open(self, directory: &Path, observer: Arc<dyn Observer>) -> Result<ShapeMeta> {
        let mut builder = ShapeMeta::builder(NoopCleaner).observer(observer);
        if matches!(self, Self::DirectCached | Self::Buffered) {
            builder = builder.cached(CacheOptions::default());
        }
        if matches!(self, Self::BufferedSqlite | Self::Buffered) {
            builder = builder.buffered(BufferOptions::default());
        }
        Ok(builder.open(directory)?)
    }
}

/// Counts the transactions that change the database.
#[derive(Debug, Default)]
pub(crate) struct Transactions(AtomicU64);

impl Transactions {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Transactions {
    fn checkout(&self, checkout: &Checkout) {
        if checkout.label == "apply" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
