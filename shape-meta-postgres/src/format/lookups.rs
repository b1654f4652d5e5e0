//! The rows of the look-up tables.

use std::sync::Arc;

use shape_meta_core::{Entry, Result, store_parts::lookup_hash};

use crate::connection::client::Client;

/// Pairs of hash or relation, and id.
#[derive(Default)]
pub(crate) struct Lookups {
    handles: Vec<(i64, i64)>,
    keys: Vec<(i64, i64)>,
    relations: Vec<(i64, i64)>,
}

impl Lookups {
    /// Adds the rows of a shape.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let id = entry.created().get().cast_signed();
        self.handles.push((lookup_hash::handle(entry.handle()), id));
        self.keys.push((lookup_hash::key(entry.key()), id));
        self.relations.extend(entry.relations().iter().map(|one| (lookup_hash::relation(*one), id)));
    }

    /// Returns the pairs of hash or relation, and id, by table.
    pub(crate) fn into_tables(self) -> [Vec<(i64, i64)>; 3] {
        [self.handles, self.keys, self.relations]
    }

    /// Inserts or deletes the rows, by a statement for each table, in the order of hashes, so that each page
    /// is written once.
    pub(crate) async fn write(
        self,
        client: &mut Client,
        doing: &str,
        stack: i64,
        statements: [&Arc<str>; 3],
    ) -> Result<()> {
        for (mut pairs, statement) in self.into_tables().into_iter().zip(statements) {
            if pairs.is_empty() {
                continue;
            }
            pairs.sort_unstable();
            let (hashes, ids): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            client.execute(doing, statement, &[&stack, &hashes, &ids]).await?;
        }
        Ok(())
    }
}
