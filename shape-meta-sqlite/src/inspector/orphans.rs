use std::collections::HashMap;

use shape_meta_core::{Handle, Result};

use super::Inspector;
use crate::{
    error::failed,
    format::{query::each, row, sql},
};

impl Inspector {
    /// Compares the handles of shapes that have stored data with the metadata: calls `orphan` for each that has no
    /// metadata, and returns the shapes without stored data, in the order of creation. Both sets are exact. A
    /// handle may come more than once.
    ///
    /// Some 100 bytes of memory for each shape, and none for the handles that come in.
    ///
    /// # Errors
    ///
    /// If the database cannot be read, or a row of it is damaged: then every answer would be a guess.
    pub fn orphans(
        &self,
        stored: impl IntoIterator<Item = String>,
        mut orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>> {
        let transaction = self.connection.unchecked_transaction().map_err(failed("read"))?;
        let mut shapes = HashMap::new();
        each(&transaction, sql::LOAD, [], |found| {
            let entry = row::entry(found, |_| None)?;
            shapes.insert(entry.handle().clone(), Some(entry.created()));
            Ok(true)
        })?;
        for handle in stored {
            match Handle::new(&handle).ok().and_then(|handle| shapes.get_mut(&handle)) {
                Some(unseen) => *unseen = None,
                None => orphan(handle),
            }
        }
        let mut unseen: Vec<_> =
            shapes.into_iter().filter_map(|(handle, created)| Some((created?, handle))).collect();
        unseen.sort_unstable_by_key(|(created, _)| *created);
        Ok(unseen.into_iter().map(|(_, handle)| handle).collect())
    }
}
