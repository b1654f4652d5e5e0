use std::io::Write;

use shape_meta::Replica;

use crate::definition::TableShape;

/// Writes the messages of one shape in Electric's JSON.
#[derive(Debug)]
pub(crate) struct Messages {
    relation: String,
    key_prefix: String,
    key: Vec<usize>,
    /// The columns that clients receive: position and name in JSON.
    columns: Vec<(usize, String)>,
    is_full: bool,
}

/// Where a change comes from.
pub(crate) struct Source {
    pub(crate) xid: u32,
    pub(crate) commit_end: u64,
    /// The number of the change in its transaction.
    pub(crate) number: usize,
}

impl Messages {
    /// `None` if the table lacks one of the columns.
    pub(crate) fn new(TableShape { shape, table }: &TableShape) -> Option<Self> {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let column = |name: &String| Some((table.position(name)?, json(name)));
        Some(Self {
            relation: format!("[{},{}]", json(&table.schema), json(&table.name)),
            key_prefix: table.table_name().to_string(),
            key: shape.pk.iter().map(|name| table.position(name)).collect::<Option<_>>()?,
            columns: shape.columns.iter().map(column).collect::<Option<_>>()?,
            is_full: shape.replica == Replica::Full,
        })
    }

    pub(crate) fn insert(&self, new: &[Option<&str>], source: Option<&Source>, out: &mut Vec<u8>) {
        self.message("insert", new, source, out, |out| self.row(out, new, |_| true));
    }

    /// Writes a delete with the key, or with the whole old row.
    pub(crate) fn delete(&self, old: &[Option<&str>], source: Option<&Source>, out: &mut Vec<u8>) {
        self.message("delete", old, source, out, |out| {
            self.row(out, old, |at| self.is_full || self.is_key(at))
        });
    }

    /// Writes an update, or nothing if no column of the shape has changed. A changed key is another row.
    pub(crate) fn update(
        &self,
        old: &[Option<&str>],
        new: &[Option<&str>],
        source: &Source,
        out: &mut Vec<u8>,
    ) {
        let has_changed = |at: usize| old.get(at) != new.get(at);
        if self.key.iter().any(|at| has_changed(*at)) {
            self.delete(old, Some(source), out);
            self.insert(new, Some(source), out);
        } else if self.columns.iter().any(|(at, _)| has_changed(*at)) {
            self.message("update", new, Some(source), out, |out| {
                self.row(out, new, |at| self.is_full || self.is_key(at) || has_changed(at));
                if self.is_full {
                    out.extend(b",\"old_value\":");
                    self.row(out, old, has_changed);
                }
            });
        }
    }

    fn is_key(&self, at: usize) -> bool {
        self.key.contains(&at)
    }

    fn message(
        &self,
        operation: &str,
        row: &[Option<&str>],
        source: Option<&Source>,
        out: &mut Vec<u8>,
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend(b"{\"key\":");
        string(out, &self.row_key(row));
        out.extend(b",\"value\":");
        value(out);
        let relation = &self.relation;
        print(out, format_args!(",\"headers\":{{\"operation\":\"{operation}\",\"relation\":{relation}"));
        if let Some(Source { xid, commit_end, number }) = source {
            print(out, format_args!(",\"lsn\":\"{commit_end}\",\"op_position\":{number},\"txids\":[{xid}]"));
        }
        out.extend(b"}}");
    }

    /// The table and the values of the key, each in quotes: `"public"."items"/"1"`.
    fn row_key(&self, row: &[Option<&str>]) -> String {
        let mut key = self.key_prefix.clone();
        for at in &self.key {
            let value = row.get(*at).copied().flatten().unwrap_or_default();
            key.push('/');
            key.push_str(&crate::filter::quoted(value));
        }
        key
    }

    fn row(&self, out: &mut Vec<u8>, row: &[Option<&str>], contains: impl Fn(usize) -> bool) {
        let mut separator = b'{';
        for (at, name) in self.columns.iter().filter(|(at, _)| contains(*at)) {
            out.push(separator);
            separator = b',';
            out.extend(name.as_bytes());
            out.push(b':');
            match row.get(*at).copied().flatten() {
                Some(value) => string(out, value),
                None => out.extend(b"null"),
            }
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Memory never fails.
    let _ = serde_json::to_writer(out, text);
}

fn print(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
}
