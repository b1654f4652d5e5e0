use std::io::Write;

use shape_meta_core::{ScanItem, Timestamp};

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

fn row(item: &ScanItem, now: Timestamp) -> [String; 6] {
    let entry = &item.record.entry;
    let relations: Vec<_> = entry.relations().iter().map(ToString::to_string).collect();
    [
        entry.created().to_string(),
        entry.handle().to_string(),
        item.metadata.state.to_string(),
        relations.join(","),
        item.metadata.last_read.map_or("-".into(), |at| output::age(at.age_at(now))),
        String::from_utf8_lossy(&item.record.definition).chars().take(60).collect(),
    ]
}

fn print(rows: &mut Vec<[String; 6]>, first: &mut bool, out: &mut dyn Write) -> std::io::Result<()> {
    let header = ["created seq", "handle", "state", "relations", "unread for", "definition"];
    let mut table = output::table(if std::mem::take(first) { &header } else { &[] });
    table.add_rows(rows.drain(..));
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(())
}
