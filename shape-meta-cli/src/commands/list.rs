use std::io::Write;

use shape_meta_core::{ScanItem, Timestamp};

use super::{Outcome, export::each_wanted};
use crate::{
    args::{Database, Filter},
    exit::Done,
    json::ShapeJson,
    output,
};

/// So many rows share the widths of their columns: a list of millions is shown as it is read.
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
    let done = each_wanted(database, filter, limit, |listed| {
        if database.json {
            return Ok(output::json(out, &ShapeJson::of(listed))?);
        }
        rows.push(row(listed, now));
        if rows.len() == ROWS {
            show(&mut rows, &mut first, out)?;
        }
        Ok(())
    })?;
    if !database.json && (first || !rows.is_empty()) {
        show(&mut rows, &mut first, out)?;
    }
    Ok(if done { Done::Well } else { Done::Found })
}

fn row(listed: &ScanItem, now: Timestamp) -> [String; 6] {
    let entry = &listed.record.entry;
    let relations: Vec<_> = entry.relations().iter().map(ToString::to_string).collect();
    [
        entry.created().to_string(),
        entry.handle().to_string(),
        listed.metadata.state.to_string(),
        relations.join(","),
        listed.metadata.last_read.map_or("-".into(), |at| output::age(at.age_at(now))),
        String::from_utf8_lossy(&listed.record.definition).chars().take(60).collect(),
    ]
}

fn show(rows: &mut Vec<[String; 6]>, first: &mut bool, out: &mut dyn Write) -> std::io::Result<()> {
    let header = ["created", "handle", "state", "relations", "unread for", "definition"];
    let mut table = output::table(if std::mem::take(first) { &header } else { &[] });
    table.add_rows(rows.drain(..));
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(())
}
