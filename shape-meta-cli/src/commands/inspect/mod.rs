//! `inspect`: a summary of the database, as text or JSON.

mod directory;
#[cfg(feature = "postgres")]
pub(super) mod stack;

use std::io::Write;

use serde_json::{Value, json};
use shape_meta_core::{
    Handle, Seq, Stamp,
    store_parts::{DiskIndexes, TopRelation},
};

use super::Outcome;
use crate::{
    args::Database,
    database::{Opened, Place},
    exit::Success,
    output,
};

/// A name and a value of a text.
type Line = (&'static str, String);

/// What the two forms of a summary have.
struct Summarized {
    lines: Vec<Line>,
    json: Value,
    damaged_rows: u64,
}

pub(super) fn run(database: &Database, top: usize, out: &mut dyn Write) -> Outcome {
    let place: Place = database.place()?;
    let summarized = match Opened::open(&place)? {
        Opened::Directory(inspector) => {
            let summary = inspector.summary(top)?;
            inspector.finish()?;
            directory::summarized(&summary)
        }
        #[cfg(feature = "postgres")]
        Opened::Stack(inspector) => stack::summarized(&inspector.summary(top)?),
    };
    if database.json {
        output::json(out, &summarized.json)?;
    } else {
        for (name, value) in summarized.lines {
            writeln!(out, "{name:<16}{}", output::safe(&value))?;
        }
    }
    Ok(if summarized.damaged_rows == 0 { Success::Clean } else { Success::Findings })
}

fn disk_indexes(disk_indexes: DiskIndexes) -> &'static str {
    match disk_indexes {
        DiskIndexes::Maintained => "maintained",
        DiskIndexes::Omitted => "omitted",
    }
}

fn stored_data(is_trusted: bool) -> &'static str {
    match is_trusted {
        true => "trusted: the owner deletes what has no shape",
        false => "not trusted: what has no shape waits for a confirmation",
    }
}

fn shape(shape: Option<&(Seq, Handle)>) -> String {
    match shape {
        Some((created, handle)) => format!("{handle} (created seq {created})"),
        None => "none".into(),
    }
}

fn shape_json(shape: Option<&(Seq, Handle)>) -> Value {
    shape.map_or(
        Value::Null,
        |(created, handle)| json!({"created_seq": created.get(), "handle": handle.as_str()}),
    )
}

fn states([pending, started, complete]: [u64; 3]) -> String {
    format!("{pending} pending, {started} started, {complete} complete")
}

fn states_json([pending, started, complete]: [u64; 3]) -> Value {
    json!({"pending": pending, "started": started, "complete": complete})
}

fn stamp_json(stamp: &Stamp) -> Value {
    json!({"version": stamp.version(), "source": stamp.source()})
}

fn top_relations(relations: &[TopRelation]) -> impl Iterator<Item = Line> {
    relations.iter().enumerate().map(|(at, one)| {
        let name = if at == 0 { "top relations" } else { "" };
        (name, format!("{}: {} shapes", one.relation, one.shapes))
    })
}

fn top_relations_json(relations: &[TopRelation]) -> Value {
    relations.iter().map(|one| json!({"relation": one.relation.oid(), "shapes": one.shapes})).collect()
}
