use std::{collections::HashSet, sync::Arc};

use rusqlite::Connection;
use shape_meta_core::{Counts, ErrorKind, Result, Seq};

use super::Inspector;
use crate::{
    DiskIndexes, Verifier,
    error::failed,
    format::{
        meta::Meta,
        prefix_hash,
        query::{each, one},
        row, schema, sql, tables,
    },
};

/// What a verification has gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verified {
    /// How many shapes there are.
    pub shapes: u64,
    /// How many problems were found.
    pub problems: u64,
    /// How many rows carry no checksum, because version 1 has written them.
    pub unchecked: u64,
}

struct Verifying<'a> {
    inspector: &'a Inspector,
    connection: &'a Connection,
    tell: &'a mut dyn FnMut(String),
    verified: Verified,
}

impl Inspector {
    /// Goes through everything: pages, rows and their checksums, definitions, look-ups, counts; and this check of the
    /// caller's, if there is one. Tells each problem as it is found, in a sentence. Changes nothing.
    ///
    /// Takes some 10 seconds for every million shapes, and some 100 bytes of memory for each shape.
    ///
    /// # Errors
    ///
    /// If the disk fails. Damage is no failure here.
    pub fn verify(&self, verifier: Option<&Verifier>, tell: &mut dyn FnMut(String)) -> Result<Verified> {
        let transaction = self.connection.unchecked_transaction().map_err(failed("begin to verify"))?;
        let connection = &transaction;
        let mut verifying = Verifying { inspector: self, connection, tell, verified: Verified::default() };
        let pages = verifying.pages();
        verifying.damage_is_a_problem(pages)?;
        let tables = verifying.tables();
        verifying.damage_is_a_problem(tables)?;
        let rows = verifying.rows(verifier);
        verifying.damage_is_a_problem(rows)?;
        let disk_indexes = verifying.disk_indexes();
        verifying.damage_is_a_problem(disk_indexes)?;
        Ok(verifying.verified)
    }
}

impl Verifying<'_> {
    fn damage_is_a_problem(&mut self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.problem(error.to_string());
                Ok(())
            }
            other => other,
        }
    }

    fn problem(&mut self, what: String) {
        self.verified.problems += 1;
        (self.tell)(what);
    }

    fn pages(&mut self) -> Result<()> {
        let doing = "check the pages";
        let mut statement = self.connection.prepare("PRAGMA integrity_check(100)").map_err(failed(doing))?;
        let mut rows = statement.query([]).map_err(failed(doing))?;
        while let Some(row) = rows.next().map_err(failed(doing))? {
            let found: String = row.get(0).map_err(failed(doing))?;
            if found != "ok" {
                self.problem(format!("SQLite says: {found}"));
            }
        }
        Ok(())
    }

    fn tables(&mut self) -> Result<()> {
        let version = self.inspector.version;
        if !tables::match_version(self.connection, version).map_err(failed("read the schema"))? {
            self.problem(format!("the tables are not those of schema version {version}"));
        }
        Ok(())
    }

    fn rows(&mut self, verifier: Option<&Verifier>) -> Result<()> {
        let text = sql::SCAN.replace(" JOIN definition", " LEFT JOIN definition");
        let connection = self.connection;
        let (mut handles, mut keys) = (HashSet::new(), HashSet::new());
        let (mut counts, mut last) = (Counts::default(), Seq::ZERO);
        each(connection, &text, [i64::MIN], |found| {
            self.verified.shapes += 1;
            let entry = match row::entry(found, |_| None) {
                Ok(entry) => Arc::new(entry),
                Err(error) => {
                    self.problem(error.to_string());
                    return Ok(true);
                }
            };
            let id = entry.created();
            last = last.max(id);
            counts.total += 1;
            counts.indexed += u64::from(entry.is_indexed());
            if !handles.insert(prefix_hash::handle(entry.handle())) {
                self.problem(format!(
                    "the shape {id} has a handle that an earlier one has: {}",
                    entry.handle()
                ));
            }
            if !keys.insert(*entry.key()) {
                self.problem(format!("the shape {id} ({}) has the key of an earlier one", entry.handle()));
            }
            let null = |at| found.get_ref(at).is_ok_and(|value| value == rusqlite::types::ValueRef::Null);
            if null(row::DEFINITION + 1) {
                self.problem(format!("the shape {id} ({}) has no definition", entry.handle()));
                return Ok(true);
            }
            self.verified.unchecked += u64::from(null(7)) + u64::from(null(row::DEFINITION + 2));
            match row::record(found, row::DEFINITION, entry) {
                Err(error) => self.problem(error.to_string()),
                Ok(record) if verifier.is_some_and(|verifier| !verifier.accepts(&record)) => {
                    self.problem(format!(
                        "the definition of the shape {id} ({}) is not what its key stands for",
                        record.handle()
                    ));
                }
                Ok(_) => {}
            }
            Ok(true)
        })?;
        let sql = "SELECT count(*) FROM definition WHERE id NOT IN (SELECT id FROM shape)";
        let alone: i64 = one(connection, sql, [], |row| row::integer(row, 0))?.unwrap_or(0);
        if alone > 0 {
            self.problem(format!("{alone} definitions have no shape"));
        }
        let meta = Meta::read(connection)?;
        if meta.counts != counts {
            let (said, there) = (meta.counts, counts);
            self.problem(format!(
                "the database says that it holds {} shapes ({} indexed), and there are {} sound ones ({} indexed)",
                said.total, said.indexed, there.total, there.indexed
            ));
        }
        if meta.last_seq < last {
            self.problem(format!(
                "the order has come to {} only, and there is a shape of {last}",
                meta.last_seq
            ));
        }
        Ok(())
    }

    /// Every shape can be found by its handle, its key and its relations, and nothing else can.
    fn disk_indexes(&mut self) -> Result<()> {
        let connection = self.connection;
        if schema::disk_indexes(connection).map_err(failed("read the schema"))? == DiskIndexes::Omitted {
            return Ok(());
        }
        let has = |table: &str, column: &str, narrow: i64, id: i64| {
            let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?1 AND id = ?2");
            one(connection, &sql, [narrow, id], |_| Ok(())).map(|found| found.is_some())
        };
        let mut expected = [0_i64; 3];
        each(connection, sql::LOAD, [], |found| {
            let Ok(entry) = row::entry(found, |_| None) else { return Ok(true) };
            let id = entry.created().get().cast_signed();
            let relations =
                entry.relations().iter().map(|one| (2, "relation_lookup", prefix_hash::relation(*one)));
            let wanted = [
                (0, "handle_lookup", prefix_hash::handle(entry.handle())),
                (1, "key_lookup", prefix_hash::key(entry.key())),
            ];
            for (at, table, narrow) in wanted.into_iter().chain(relations) {
                expected[at] += 1;
                let column = if at == 2 { "relation" } else { "hash" };
                if !has(table, column, narrow, id)? {
                    self.problem(format!("the shape {id} ({}) is missing in {table}", entry.handle()));
                }
            }
            Ok(true)
        })?;
        for (table, expected) in ["handle_lookup", "key_lookup", "relation_lookup"].into_iter().zip(expected)
        {
            let sql = format!("SELECT count(*) FROM {table}");
            let found = one(connection, &sql, [], |row| row::integer(row, 0))?.unwrap_or(0);
            if found > expected {
                self.problem(format!("{table} has {} rows too many", found - expected));
            }
        }
        Ok(())
    }
}
