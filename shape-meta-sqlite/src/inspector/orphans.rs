use shape_meta_core::{Handle, Result, store_parts::OrphanSearch};

use super::Inspector;
use crate::format::{meta::Meta, query::each, row, sql};

impl Inspector {
    /// Compares the handles that have stored data with the metadata. Calls `orphan` with each handle that has
    /// no metadata, and returns the shapes with missing data, oldest first.
    ///
    /// Both sets are exact for one snapshot of the database. `stored` may repeat a handle. Takes about 100
    /// bytes of memory per shape, and none per stored handle.
    ///
    /// # Errors
    ///
    /// The first error of `stored`. An error if the database cannot be read. `Corrupt` if a row is damaged
    /// or missing, since its handle would be unknown.
    pub fn orphans(
        &self,
        stored: impl IntoIterator<Item = Result<String>>,
        orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>> {
        let transaction = self.snapshot("read the database")?;
        let (mut search, mut rows) = (OrphanSearch::default(), 0);
        each(&transaction, sql::LOAD, [], |found| {
            let entry = row::entry(found, |_| None)?;
            rows += 1;
            search.add(&entry);
            Ok(true)
        })?;
        // The data of a shape whose row is missing is no orphan.
        Meta::read(&transaction)?.check_total(rows)?;
        search.compare(stored, orphan)
    }
}
