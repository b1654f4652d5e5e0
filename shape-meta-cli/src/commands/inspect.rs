use std::io::Write;

use serde_json::json;
use shape_meta_core::{Stamp, Timestamp};
use shape_meta_sqlite::{DiskIndexes, Inspector, Owner, Summary};

use super::Outcome;
use crate::{args::Database, exit::Success, output};

pub(super) fn run(database: &Database, top: usize, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let summary = inspector.summary(top)?;
    inspector.finish()?;
    if database.json {
        output::json(out, &as_json(&summary))?;
    } else {
        for (name, value) in as_lines(&summary) {
            writeln!(out, "{name:<16}{}", output::safe(&value))?;
        }
    }
    Ok(if summary.damaged_rows == 0 { Success::Clean } else { Success::Findings })
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

fn owner(owner: &Owner) -> String {
    let alive = match owner.is_live {
        Some(true) => "alive",
        Some(false) => "not alive",
        None => "unknown whether alive",
    };
    let Some(process) = owner.process else { return format!("none yet, {alive}") };
    let host = owner.host.as_ref().filter(|host| !host.is_empty());
    let host = host.map_or(String::new(), |host| format!(", host {host}"));
    let opened = owner.since.map(|since| format!(", opened {}", output::ago(since, Timestamp::now())));
    format!("process {process}{host}{}, {alive}", opened.unwrap_or_default())
}

fn stamp(summary: &Summary) -> String {
    let Some(stamp) = &summary.stamp else { return "none".into() };
    let rekeyed = summary.rekeyed_to.as_ref();
    let rekeyed = rekeyed.map(|next| format!(", an interrupted re-key to {next}"));
    output::safe(&format!("{stamp}{}", rekeyed.unwrap_or_default())).into_owned()
}

fn as_lines(summary: &Summary) -> Vec<(&'static str, String)> {
    let [pending, started, complete] = summary.states;
    let shape = |shape: &Option<(shape_meta_core::Seq, shape_meta_core::Handle)>| match shape {
        Some((created, handle)) => format!("{handle} (created seq {created})"),
        None => "none".into(),
    };
    let counts = &summary.counts;
    let mut lines = vec![
        ("shapes", format!("{} ({} indexed)", counts.total, counts.indexed)),
        ("states", format!("{pending} pending, {started} started, {complete} complete")),
        ("cleanup tasks", summary.cleanup_tasks.to_string()),
        ("stored data", stored_data(summary.is_storage_trusted).into()),
        ("owner", owner(&summary.owner)),
        ("epoch", summary.epoch.to_string()),
        ("stamp", stamp(summary)),
        ("last seq", summary.last_seq.to_string()),
        ("oldest", shape(&summary.oldest)),
        ("newest", shape(&summary.newest)),
        ("disk indexes", disk_indexes(summary.disk_indexes).into()),
        ("schema version", summary.schema_version.to_string()),
        (
            "database",
            format!(
                "{} ({} free), page size {}",
                output::bytes(summary.database_bytes),
                output::bytes(summary.free_bytes),
                output::bytes(summary.page_size)
            ),
        ),
        ("WAL", output::bytes(summary.wal_bytes)),
    ];
    if summary.damaged_rows > 0 {
        let advice = "run `shape-meta verify`, then `shape-meta repair`";
        lines.push(("damaged rows", format!("{}; {advice}", summary.damaged_rows)));
    }
    for (at, one) in summary.top_relations.iter().enumerate() {
        let name = if at == 0 { "top relations" } else { "" };
        lines.push((name, format!("{}: {} shapes", one.relation, one.shapes)));
    }
    lines
}

fn stamp_json(stamp: &Stamp) -> serde_json::Value {
    json!({"version": stamp.version(), "source": stamp.source()})
}

fn as_json(summary: &Summary) -> serde_json::Value {
    let [pending, started, complete] = summary.states;
    let shape = |shape: &Option<(shape_meta_core::Seq, shape_meta_core::Handle)>| {
        shape
            .as_ref()
            .map(|(created, handle)| json!({"created_seq": created.get(), "handle": handle.as_str()}))
    };
    let top: Vec<_> = summary
        .top_relations
        .iter()
        .map(|one| json!({"relation": one.relation.oid(), "shapes": one.shapes}))
        .collect();
    json!({
        "shapes": summary.counts.total,
        "indexed": summary.counts.indexed,
        "states": {"pending": pending, "started": started, "complete": complete},
        "cleanup_tasks": summary.cleanup_tasks,
        "stored_data": {"trusted": summary.is_storage_trusted},
        "damaged_rows": summary.damaged_rows,
        "owner": {
            "process": summary.owner.process,
            "host": summary.owner.host,
            "opened": summary.owner.since.map(Timestamp::as_micros),
            "alive": summary.owner.is_live,
        },
        "epoch": summary.epoch,
        "stamp": summary.stamp.as_ref().map(stamp_json),
        "rekeyed_to": summary.rekeyed_to.as_ref().map(stamp_json),
        "last_seq": summary.last_seq.get(),
        "oldest": shape(&summary.oldest),
        "newest": shape(&summary.newest),
        "disk_indexes": disk_indexes(summary.disk_indexes),
        "schema_version": summary.schema_version,
        "database_bytes": summary.database_bytes,
        "free_bytes": summary.free_bytes,
        "page_size": summary.page_size,
        "wal_bytes": summary.wal_bytes,
        "top_relations": top,
    })
}
