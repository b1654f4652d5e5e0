use shape_meta_core::{Handle, Result, store_parts::OrphanSearch};

use super::PostgresInspector;
use crate::{error::damaged_row, format::row};

impl PostgresInspector {
    /// Compares the handles that have stored data with the metadata. Calls `orphan` with each handle that has
    /// no metadata, and returns the shapes with missing data, oldest first.
    ///
    /// Both sets are exact for one snapshot of the stack. `stored` may repeat a handle. Takes about 100 bytes
    /// of memory per shape, and none per stored handle.
    ///
    /// # Errors
    ///
    /// The first error of `stored`. An error if the server cannot be read. `Corrupt` if a row is damaged or
    /// missing, since its handle would be unknown.
    pub fn orphans(
        &self,
        stored: impl IntoIterator<Item = Result<String>>,
        orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>> {
        let mut snapshot = self.snapshot()?;
        let (mut search, mut rows) = (OrphanSearch::default(), 0);
        snapshot.pages(&self.reader.stack.statements.shapes_after, 0, |found| {
            search.add(&row::entry(found, |_| None)?);
            rows += 1;
            Ok(())
        })?;
        let counted = snapshot.row.counts.total;
        // The data of a shape whose row is missing is no orphan.
        if rows != counted {
            let defect = format!("it has {rows} rows of the stack, and {counted} are counted");
            return Err(damaged_row("table `shape`", &defect));
        }
        drop(snapshot);
        search.compare(stored, orphan)
    }
}
