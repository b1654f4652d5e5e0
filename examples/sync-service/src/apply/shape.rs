use std::{io, sync::Arc};

use super::messages::{Messages, Source};
use crate::{
    definition::TableShape,
    filter::{self, Filter, Kind},
    log::{Header, LogWriter},
    replication::{Change, Columns, Transaction},
    tables::Table,
};

/// A shape with its log, as the applier needs it.
pub(crate) struct ShapeLog {
    table: Table,
    filter: Option<Filter>,
    kinds: Vec<Kind>,
    messages: Messages,
    header: Header,
    pub(crate) log: LogWriter,
    /// The columns of a change that were compared with those of the header.
    checked: Option<Arc<Columns>>,
}

/// The shape cannot go on: its table was truncated or altered, or a value cannot be compared.
#[derive(Debug)]
pub(crate) struct Restart(pub(crate) &'static str);

impl ShapeLog {
    pub(crate) fn new(definition: TableShape, header: Header, log: LogWriter) -> Result<Self, Restart> {
        let messages = Messages::new(&definition).ok_or(Restart("its table lacks a column"))?;
        let TableShape { shape, table } = definition;
        let parse = |sql: &String| filter::parse(sql, &shape.params, &table.typed_names());
        let filter = shape.filter.as_ref().map(parse).transpose();
        let filter = filter.map_err(|_| Restart("its where clause does not fit its table"))?;
        Ok(Self { kinds: table.kinds(), table, filter, messages, header, log, checked: None })
    }

    /// Returns the messages of a transaction for this shape: none if it changes nothing in it, or is in the
    /// log already.
    pub(crate) fn messages(&mut self, transaction: &Transaction) -> Result<Vec<u8>, Restart> {
        let mut out = Vec::new();
        let Transaction { xid, commit_end, .. } = *transaction;
        if commit_end <= self.log.last_transaction() || self.header.snapshot.contains(xid, commit_end) {
            return Ok(out);
        }
        let oid = self.table.oid;
        let own = (0..).zip(&transaction.changes).filter(|(_, (columns, _))| columns.oid == oid);
        for (number, (columns, change)) in own {
            self.check(columns)?;
            self.change(change, &Source { xid, commit_end, number }, &mut out)?;
        }
        Ok(out)
    }

    fn check(&mut self, columns: &Arc<Columns>) -> Result<(), Restart> {
        if self.checked.as_ref().is_some_and(|checked| Arc::ptr_eq(checked, columns)) {
            return Ok(());
        }
        let expected =
            self.table.columns.iter().map(|column| (&column.name, column.type_oid, column.modifier));
        let is_same = columns.schema == self.table.schema
            && columns.name == self.table.name
            && expected.eq(columns.columns.iter().map(|(name, oid, modifier)| (name, *oid, *modifier)));
        if !is_same {
            return Err(Restart("its table was altered"));
        }
        self.checked = Some(Arc::clone(columns));
        Ok(())
    }

    fn change(&self, change: &Change, source: &Source, out: &mut Vec<u8>) -> Result<(), Restart> {
        match change {
            Change::Insert { new } => {
                let new = texts(new);
                if self.matches(&new)? {
                    self.messages.insert(&new, Some(source), out);
                }
            }
            Change::Update { old, new } => {
                let (old, new) = (texts(old), texts(new));
                match (self.matches(&old)?, self.matches(&new)?) {
                    (true, true) => self.messages.update(&old, &new, source, out),
                    (true, false) => self.messages.delete(&old, Some(source), out),
                    (false, true) => self.messages.insert(&new, Some(source), out),
                    (false, false) => {}
                }
            }
            Change::Delete { old } => {
                let old = texts(old);
                if self.matches(&old)? {
                    self.messages.delete(&old, Some(source), out);
                }
            }
            Change::Restart => return Err(Restart("its table was truncated, or an old row is not known")),
        }
        Ok(())
    }

    fn matches(&self, row: &[Option<&str>]) -> Result<bool, Restart> {
        match &self.filter {
            Some(filter) => filter.matches(row, &self.kinds).ok_or(Restart("a value cannot be compared")),
            None => Ok(true),
        }
    }

    pub(crate) fn append(&mut self, transaction: u64, messages: &[u8]) -> io::Result<()> {
        self.log.append(transaction, messages)
    }
}

fn texts(row: &[Option<String>]) -> Vec<Option<&str>> {
    row.iter().map(Option::as_deref).collect()
}
