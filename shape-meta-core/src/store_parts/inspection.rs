use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use crate::{Counts, Entry, Handle, Key, Record, Relation, Result, Seq, store_parts::Verifier};

/// A relation and the number of shapes that read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopRelation {
    /// Relation.
    pub relation: Relation,
    /// Number of shapes that read the relation.
    pub shapes: u64,
}

/// Totals over the shape rows of a database.
#[derive(Clone, Debug, Default)]
pub struct ShapeTotals {
    /// Numbers of shapes whose snapshot is pending, started and complete.
    pub states: [u64; 3],
    /// Number of damaged rows. The other totals do not include them.
    pub damaged_rows: u64,
    /// Oldest shape and the sequence number of its add.
    pub oldest: Option<(Seq, Handle)>,
    /// Newest shape and the sequence number of its add.
    pub newest: Option<(Seq, Handle)>,
    relations: HashMap<Relation, u64>,
}

impl ShapeTotals {
    /// Adds a row. Rows come in the order of creation.
    pub fn add(&mut self, row: Result<Entry>) {
        let Ok(entry) = row else {
            self.damaged_rows += 1;
            return;
        };
        self.states[entry.state() as usize] += 1;
        entry.relations().iter().for_each(|one| *self.relations.entry(*one).or_default() += 1);
        let this = (entry.created(), entry.handle().clone());
        self.oldest.get_or_insert_with(|| this.clone());
        self.newest = Some(this);
    }

    /// Returns at most `top` relations with the most shapes, in descending order.
    pub fn top_relations(&self, top: usize) -> Vec<TopRelation> {
        let all = self.relations.iter();
        let mut relations: Vec<_> =
            all.map(|(relation, shapes)| TopRelation { relation: *relation, shapes: *shapes }).collect();
        relations.sort_unstable_by_key(|one| (Reverse(one.shapes), one.relation));
        relations.truncate(top);
        relations
    }
}

/// Result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Number of shape rows that were verified.
    pub shapes: u64,
    /// Number of problems.
    pub problems: u64,
    /// Number of rows without a checksum, which schema version 1 of SQLite wrote.
    pub rows_without_checksum: u64,
}

/// The checks of the shape rows of a database against each other, and against what the database says of them.
/// About 100 bytes of memory per shape.
#[derive(Debug, Default)]
pub struct RowChecks {
    handles: HashSet<Handle>,
    keys: HashSet<Key>,
    counts: Counts,
    last_seq: Seq,
}

impl RowChecks {
    /// Checks the entry of a sound row.
    pub fn entry(&mut self, entry: &Entry, mut on_problem: impl FnMut(String)) {
        let id = entry.created();
        self.last_seq = self.last_seq.max(id);
        self.counts.total += 1;
        self.counts.indexed += u64::from(entry.is_indexed());
        if !self.handles.insert(entry.handle().clone()) {
            on_problem(format!("shape {id} has the handle of an earlier shape: {}", entry.handle()));
        }
        if !self.keys.insert(*entry.key()) {
            on_problem(format!("shape {id} ({}) has the key of an earlier shape", entry.handle()));
        }
    }

    /// Checks a record that was read, or the error of reading it.
    pub fn record(record: Result<Record>, verifier: Option<&Verifier>, on_problem: impl FnOnce(String)) {
        match record {
            Err(error) => on_problem(error.to_string()),
            Ok(record) if verifier.is_some_and(|verifier| !verifier.accepts(&record)) => {
                let (id, handle) = (record.entry.created(), record.handle());
                on_problem(format!("the definition of shape {id} ({handle}) does not pass the verifier"));
            }
            Ok(_) => {}
        }
    }

    /// Compares all rows with the counts and the last sequence number that the database has.
    pub fn finish(self, stored: Counts, last_seq: Seq, mut on_problem: impl FnMut(String)) {
        let counted = self.counts;
        if stored != counted {
            on_problem(format!(
                "the stored counts are {} shapes ({} indexed), but the database has {} sound shapes ({} indexed)",
                stored.total, stored.indexed, counted.total, counted.indexed
            ));
        }
        if last_seq < self.last_seq {
            on_problem(format!(
                "the last sequence number is {last_seq}, but a shape has the sequence number {}",
                self.last_seq
            ));
        }
    }
}

/// The comparison of stored data with the shapes of a database. About 100 bytes of memory per shape, and none
/// per stored handle.
#[derive(Debug, Default)]
pub struct OrphanSearch(HashMap<Handle, Option<Seq>>);

impl OrphanSearch {
    /// Adds a shape of the database.
    pub fn add(&mut self, entry: &Entry) {
        self.0.insert(entry.handle().clone(), Some(entry.created()));
    }

    /// Calls `orphan` with each handle of stored data that has no shape. Returns the shapes with missing
    /// data, oldest first. `stored` may repeat a handle.
    ///
    /// # Errors
    ///
    /// The first error of `stored`.
    pub fn compare(
        mut self,
        stored: impl IntoIterator<Item = Result<String>>,
        mut orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>> {
        for handle in stored {
            let handle = handle?;
            match Handle::new(&handle).ok().and_then(|handle| self.0.get_mut(&handle)) {
                Some(without_data) => *without_data = None,
                None => orphan(handle),
            }
        }
        let mut missing: Vec<_> =
            self.0.into_iter().filter_map(|(handle, created)| Some((created?, handle))).collect();
        missing.sort_unstable_by_key(|(created, _)| *created);
        Ok(missing.into_iter().map(|(_, handle)| handle).collect())
    }
}
