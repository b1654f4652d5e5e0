use std::collections::HashMap;

use shape_meta_core::{Handle, Result};

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
        mut orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>> {
        let transaction = self.snapshot("read the database")?;
        let (mut shapes, mut rows) = (HashMap::new(), 0);
        each(&transaction, sql::LOAD, [], |found| {
            let entry = row::entry(found, |_| None)?;
            rows += 1;
            shapes.insert(entry.handle().clone(), Some(entry.created()));
            Ok(true)
        })?;
        // The data of a shape whose row is missing is no orphan.
        Meta::read(&transaction)?.check_total(rows)?;
        for handle in stored {
            let handle = handle?;
            match Handle::new(&handle).ok().and_then(|handle| shapes.get_mut(&handle)) {
                Some(without_data) => *without_data = None,
                None => orphan(handle),
            }
        }
        let mut missing: Vec<_> =
            shapes.into_iter().filter_map(|(handle, created)| Some((created?, handle))).collect();
        missing.sort_unstable_by_key(|(created, _)| *created);
        Ok(missing.into_iter().map(|(_, handle)| handle).collect())
    }
}
