use std::collections::HashMap;

use shape_meta_core::{Counts, Handle, Relation, Result, Seq};

use super::{Inspector, Owner};
use crate::{
    DiskIndexes,
    error::{failed, failed_on},
    format::{files, meta::Meta, query::each, row, schema, sql},
};

/// A database at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The version of its schema.
    pub schema_version: u32,
    /// Who owns it.
    pub owner: Owner,
    /// Whose turn it is: how often it was opened.
    pub epoch: u64,
    /// How far the order of mutations has come.
    pub last_seq: Seq,
    /// How many shapes it holds, as it says.
    pub counts: Counts,
    /// How many shapes are pending, started and complete.
    pub states: [u64; 3],
    /// How many shapes were removed whose stored data has still to be deleted.
    pub to_clean: u64,
    /// Rows that are damaged and could not be counted.
    pub damaged: u64,
    /// Which look-ups it has.
    pub disk_indexes: DiskIndexes,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the database that are free to be used again.
    pub free_bytes: u64,
    /// The bytes of a page.
    pub page_size: u64,
    /// The shape that was created first, and where in the order.
    pub oldest: Option<(Seq, Handle)>,
    /// The shape that was created last, and where in the order.
    pub newest: Option<(Seq, Handle)>,
    /// The relations that most shapes read, the most read first.
    pub top_relations: Vec<TopRelation>,
}

/// A relation and how many shapes read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopRelation {
    /// The relation.
    pub relation: Relation,
    /// How many shapes read it.
    pub shapes: u64,
}

impl Inspector {
    /// The database at a glance, with so many of its most read relations. Reads the small columns of all shapes once.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn summary(&self, top: usize) -> Result<Summary> {
        let transaction = self.connection.unchecked_transaction().map_err(failed("read"))?;
        let meta = Meta::read(&transaction)?;
        let number = |name| {
            let value = transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            value.map(i64::cast_unsigned).map_err(failed("read the size of the database"))
        };
        let (pages, free, page_size) =
            (number("page_count")?, number("freelist_count")?, number("page_size")?);
        let log = self.files.companion("-wal");
        let mut summary = Summary {
            schema_version: self.version,
            owner: self.owner()?,
            epoch: meta.epoch,
            last_seq: meta.last_seq,
            counts: meta.counts,
            states: [0; 3],
            to_clean: 0,
            damaged: 0,
            disk_indexes: schema::disk_indexes(&transaction).map_err(failed("read the schema"))?,
            database_bytes: pages * page_size,
            wal_bytes: files::size(&log).map_err(failed_on("look at", &log))?,
            free_bytes: free * page_size,
            page_size,
            oldest: None,
            newest: None,
            top_relations: Vec::new(),
        };
        let mut relations: HashMap<Relation, u64> = HashMap::new();
        each(&transaction, sql::LOAD, [], |found| {
            let Ok(entry) = row::entry(found, |_| None) else {
                summary.damaged += 1;
                return Ok(true);
            };
            summary.states[entry.state() as usize] += 1;
            entry.relations().iter().for_each(|one| *relations.entry(*one).or_default() += 1);
            let this = (entry.created(), entry.handle().clone());
            summary.oldest.get_or_insert_with(|| this.clone());
            summary.newest = Some(this);
            Ok(true)
        })?;
        summary.to_clean = transaction
            .query_row("SELECT count(*) FROM to_clean", [], |row| row.get::<_, i64>(0))
            .map_err(failed("read"))?
            .cast_unsigned();
        let mut relations: Vec<_> =
            relations.into_iter().map(|(relation, shapes)| TopRelation { relation, shapes }).collect();
        relations.sort_unstable_by_key(|one| (std::cmp::Reverse(one.shapes), one.relation));
        relations.truncate(top);
        summary.top_relations = relations;
        Ok(summary)
    }
}
