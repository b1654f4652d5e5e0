use std::io::Write;

use shape_meta_core::{Definition, ScanItem, Shape, Timestamp};

use super::{Outcome, export::for_each_match};
use crate::{
    args::{Database, Filter},
    exit::Success,
    json::ShapeJson,
    output,
};

/// Rows that share column widths. A list of any length is printed while it is read, in memory of constant
/// size.
const ROWS: usize = 1_000;

/// Limit on the characters of a table or a filter.
const MAX_TEXT: usize = 120;

pub(super) fn run(
    database: &Database,
    filter: &Filter,
    limit: Option<usize>,
    out: &mut dyn Write,
) -> Outcome {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    let mut first = true;
    let is_complete = for_each_match(database, filter, limit, |item| {
        if database.json {
            return Ok(output::json(out, &ShapeJson::of(item))?);
        }
        rows.push(row(item, now));
        if rows.len() == ROWS {
            print(&mut rows, &mut first, out)?;
        }
        Ok(())
    })?;
    if !database.json && (first || !rows.is_empty()) {
        print(&mut rows, &mut first, out)?;
    }
    Ok(if is_complete { Success::Clean } else { Success::Findings })
}

fn row(item: &ScanItem, now: Timestamp) -> [String; 8] {
    let entry = &item.record.entry;
    let relations: Vec<_> = entry.relations().iter().map(ToString::to_string).collect();
    let (table, filter) = match Shape::decode(&item.record.definition) {
        Ok(shape) => {
            let table = format!("{}.{}", shape.table.schema, shape.table.name);
            (table, shape.filter.unwrap_or_else(|| "-".into()))
        }
        // A definition of another format is shown as it is.
        Err(_) => ("-".into(), String::from_utf8_lossy(&item.record.definition).into_owned()),
    };
    let ago = |at: Option<Timestamp>| at.map_or("-".into(), |at| output::ago(at, now));
    let text = |text: &str| output::safe(text).chars().take(MAX_TEXT).collect::<String>();
    [
        entry.created().to_string(),
        text(entry.handle().as_str()),
        item.metadata.state.to_string(),
        relations.join(","),
        ago(item.metadata.created_at),
        ago(item.metadata.last_read),
        text(&table),
        text(&filter),
    ]
}

fn print(rows: &mut Vec<[String; 8]>, first: &mut bool, out: &mut dyn Write) -> std::io::Result<()> {
    let header =
        ["created seq", "handle", "state", "relations", "created at", "last read", "table", "filter"];
    let mut table = output::table(if std::mem::take(first) { &header } else { &[] });
    table.add_rows(rows.drain(..));
    let width = output::width();
    for line in table.to_string().lines() {
        writeln!(out, "{}", output::cut(line.trim(), width))?;
    }
    Ok(())
}
