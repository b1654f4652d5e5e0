//! A database in a directory.

use serde_json::json;
use shape_meta_core::Timestamp;
use shape_meta_sqlite::{Owner, Summary};

use super::{
    Line, Summarized, disk_indexes, shape, shape_json, stamp_json, states, states_json, stored_data,
    top_relations, top_relations_json,
};
use crate::output;

pub(super) fn summarized(summary: &Summary) -> Summarized {
    Summarized { lines: as_lines(summary), json: as_json(summary), damaged_rows: summary.damaged_rows }
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

fn as_lines(summary: &Summary) -> Vec<Line> {
    let counts = &summary.counts;
    let mut lines = vec![
        ("shapes", format!("{} ({} indexed)", counts.total, counts.indexed)),
        ("states", states(summary.states)),
        ("cleanup tasks", summary.cleanup_tasks.to_string()),
        ("stored data", stored_data(summary.is_storage_trusted).into()),
        ("owner", owner(&summary.owner)),
        ("epoch", summary.epoch.to_string()),
        ("stamp", stamp(summary)),
        ("last seq", summary.last_seq.to_string()),
        ("oldest", shape(summary.oldest.as_ref())),
        ("newest", shape(summary.newest.as_ref())),
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
    lines.extend(top_relations(&summary.top_relations));
    lines
}

fn as_json(summary: &Summary) -> serde_json::Value {
    json!({
        "shapes": summary.counts.total,
        "indexed": summary.counts.indexed,
        "states": states_json(summary.states),
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
        "oldest": shape_json(summary.oldest.as_ref()),
        "newest": shape_json(summary.newest.as_ref()),
        "disk_indexes": disk_indexes(summary.disk_indexes),
        "schema_version": summary.schema_version,
        "database_bytes": summary.database_bytes,
        "free_bytes": summary.free_bytes,
        "page_size": summary.page_size,
        "wal_bytes": summary.wal_bytes,
        "top_relations": top_relations_json(&summary.top_relations),
    })
}
