use std::sync::Arc;

use shape_meta_core::{
    Error, ErrorKind, Result,
    store_parts::{RowChecks, Verifier, VerifyReport, checksum},
};
use tokio_postgres::Row;

use super::PostgresInspector;
use crate::{
    format::{cleanup, lookups::Lookups, row, stamp, statements::Statements},
    read::{
        scan::RecordPages,
        snapshot::{Param, Snapshot},
    },
};

struct Verifying<'a> {
    snapshot: Snapshot<'a>,
    statements: Arc<Statements>,
    on_problem: &'a mut dyn FnMut(String),
    report: VerifyReport,
}

impl PostgresInspector {
    /// Checks rows and their checksums, definitions, cleanup tasks, the change log, the stamp, look-ups and
    /// counts. Runs `verifier` on each record, if given. Calls `on_problem` with one sentence per problem.
    /// Changes nothing.
    ///
    /// The pages of the server are its own affair (`pg_amcheck`).
    ///
    /// # Errors
    ///
    /// An error if the server or the network fails. Corruption is not an error here, but a problem.
    pub fn verify(
        &self,
        verifier: Option<&Verifier>,
        on_problem: &mut dyn FnMut(String),
    ) -> Result<VerifyReport> {
        let statements = Arc::clone(&self.reader.stack.statements);
        let snapshot = self.snapshot()?;
        let mut verifying = Verifying { snapshot, statements, on_problem, report: VerifyReport::default() };
        let lookups = verifying.rows(verifier)?;
        verifying.surplus_lookups(lookups)?;
        verifying.small_tables()?;
        Ok(verifying.report)
    }
}

impl Verifying<'_> {
    fn problem(&mut self, problem: String) {
        self.report.problems += 1;
        (self.on_problem)(problem);
    }

    /// Reports damage, and passes every other error on.
    fn damage<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.problem(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn number(&mut self, statement: &Arc<str>) -> Result<u64> {
        let params: Vec<Param> = vec![Box::new(self.snapshot.row.id)];
        let rows = self.snapshot.query(statement, params)?;
        Ok(rows.first().map_or(Ok(0), |found| row::int8(found, 0))?.cast_unsigned())
    }

    /// Checks the rows of shapes, their definitions, and that none of their look-ups is missing. Returns how
    /// many look-ups there have to be, by table.
    fn rows(&mut self, verifier: Option<&Verifier>) -> Result<[u64; 3]> {
        let statements = Arc::clone(&self.statements);
        let mut pages = RecordPages::new(&statements.records_after);
        let (mut checks, mut expected, mut more) = (RowChecks::default(), [0; 3], true);
        while more {
            let (mut lookups, mut problems) = (Lookups::default(), Vec::new());
            let decode = |found: &Row| {
                let entry = Arc::new(row::entry(found, |_| None)?);
                checks.entry(&entry, |problem| problems.push(problem));
                lookups.push(&entry);
                let record = row::record(found, row::DEFINITION, entry);
                let size = record.as_ref().map_or(0, |record| record.definition.len());
                RowChecks::record(record, verifier, |problem| problems.push(problem));
                Ok(size)
            };
            let (rows, goes_on) = pages.read_sized(&mut self.snapshot, decode, |size| *size)?;
            more = goes_on;
            self.report.shapes += rows.len() as u64;
            for problem in problems {
                self.problem(problem);
            }
            for row in rows {
                self.damage(row)?;
            }
            if self.snapshot.row.has_lookups {
                let of_page = self.missing_lookups(lookups)?;
                expected.iter_mut().zip(of_page).for_each(|(all, page)| *all += page);
            }
        }
        let unowned = self.number(&statements.count_unowned_definitions)?;
        if unowned > 0 {
            self.problem(format!("{unowned} definitions have no shape"));
        }
        let stack = self.snapshot.row;
        checks.finish(stack.counts, stack.last_seq, |problem| self.problem(problem));
        Ok(expected)
    }

    /// Checks that look-ups are there. Returns their number, by table.
    fn missing_lookups(&mut self, lookups: Lookups) -> Result<[u64; 3]> {
        let statements = Arc::clone(&self.statements);
        let mut numbers = [0; 3];
        for (at, (pairs, (table, statement))) in
            lookups.into_tables().into_iter().zip(statements.missing_lookups()).enumerate()
        {
            numbers[at] = pairs.len() as u64;
            let (hashes, ids): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            let params: Vec<Param> = vec![Box::new(self.snapshot.row.id), Box::new(hashes), Box::new(ids)];
            for found in self.snapshot.query(statement, params)? {
                self.problem(format!("shape {} is missing in {table}", row::int8(&found, 0)?));
            }
        }
        Ok(numbers)
    }

    fn surplus_lookups(&mut self, expected: [u64; 3]) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        for ((table, statement), expected) in statements.counted_lookups().into_iter().zip(expected) {
            let found = self.number(statement)?;
            if found > expected {
                self.problem(format!("{table} has {} surplus rows", found - expected));
            }
        }
        Ok(())
    }

    /// Checks the cleanup tasks, the change log, and the stamp.
    fn small_tables(&mut self) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        let mut problems: Vec<Error> = Vec::new();
        self.snapshot.pages(&statements.tasks_after, i64::MIN, |found| {
            problems.extend(cleanup::decode(found).err());
            Ok(())
        })?;
        for error in problems {
            self.damage(Err::<(), _>(error))?;
        }
        let all: Vec<Param> = vec![Box::new(self.snapshot.row.id), Box::new(i64::MIN)];
        for found in self.snapshot.query(&statements.changes_from, all)? {
            let through = row::seq(row::int8(&found, 0)?);
            if row::int8(&found, 2)? != checksum::of(through, row::bytes(&found, 1)?) {
                self.problem(format!(
                    "the row of the change log through sequence number {through} is damaged; standbys read \
                     everything instead"
                ));
            }
        }
        let params: Vec<Param> = vec![Box::new(self.snapshot.row.id)];
        if let Some(found) = self.snapshot.query(&statements.stamp, params)?.first() {
            let stamp = stamp::decode(found);
            self.damage(stamp)?;
        }
        Ok(())
    }
}
