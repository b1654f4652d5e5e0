//! A stack in PostgreSQL.

use serde_json::{Value, json};
use shape_meta_core::Timestamp;
use shape_meta_postgres::{LatestOwner, StackSummary};

use super::{
    Line, Summarized, disk_indexes, shape, shape_json, stamp_json, states, states_json, stored_data,
    top_relations, top_relations_json,
};
use crate::output;

pub(super) fn summarized(summary: &StackSummary) -> Summarized {
    Summarized { lines: as_lines(summary), json: as_json(summary), damaged_rows: summary.damaged_rows }
}

/// Returns the text of an owner, also for `stacks`.
pub(crate) fn owner(owner: Option<&LatestOwner>) -> String {
    let Some(owner) = owner else { return "none".into() };
    let named = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!(", {name} {value}"),
    };
    let process = owner.process.map_or_else(|| "unknown".into(), |process| format!("process {process}"));
    let alive = match owner.lease {
        Some(lease) => format!("alive, lease {}", output::age(lease)),
        None => "not alive, lease ended".into(),
    };
    let (host, address) = (named("host", &owner.host), named("address", &owner.address));
    format!("{process}{host}{address}, opened {}, {alive}", output::ago(owner.since, Timestamp::now()))
}

/// Returns the JSON of an owner, also for `stacks`.
pub(crate) fn owner_json(owner: Option<&LatestOwner>) -> Value {
    owner.map_or(Value::Null, |owner| {
        json!({
            "process": owner.process,
            "host": owner.host,
            "address": owner.address,
            "opened": owner.since.as_micros(),
            "alive": owner.lease.is_some(),
            "lease": owner.lease.map(|lease| lease.as_micros() as u64),
        })
    })
}

fn as_lines(summary: &StackSummary) -> Vec<Line> {
    let counts = &summary.counts;
    let stamp = summary.stamp.as_ref();
    let mut lines = vec![
        ("shapes", format!("{} ({} indexed)", counts.total, counts.indexed)),
        ("states", states(summary.states)),
        ("cleanup tasks", summary.cleanup_tasks.to_string()),
        ("stored data", stored_data(summary.is_storage_trusted).into()),
        ("owner", owner(summary.owner.as_ref())),
        ("epoch", summary.epoch.to_string()),
        ("stamp", stamp.map_or_else(|| "none".into(), |stamp| output::safe(&stamp.to_string()).into_owned())),
        ("last seq", summary.last_seq.to_string()),
        ("oldest", shape(summary.oldest.as_ref())),
        ("newest", shape(summary.newest.as_ref())),
        ("disk indexes", disk_indexes(summary.disk_indexes).into()),
        ("schema version", summary.schema_version.to_string()),
        ("server version", summary.server_version.clone()),
        ("table", format!("{} in the tables of all stacks", output::bytes(summary.table_bytes))),
    ];
    if summary.damaged_rows > 0 {
        lines.push(("damaged rows", format!("{}; run `shape-meta verify`", summary.damaged_rows)));
    }
    lines.extend(top_relations(&summary.top_relations));
    lines
}

fn as_json(summary: &StackSummary) -> Value {
    json!({
        "shapes": summary.counts.total,
        "indexed": summary.counts.indexed,
        "states": states_json(summary.states),
        "cleanup_tasks": summary.cleanup_tasks,
        "stored_data": {"trusted": summary.is_storage_trusted},
        "damaged_rows": summary.damaged_rows,
        "owner": owner_json(summary.owner.as_ref()),
        "epoch": summary.epoch,
        "stamp": summary.stamp.as_ref().map(stamp_json),
        "last_seq": summary.last_seq.get(),
        "oldest": shape_json(summary.oldest.as_ref()),
        "newest": shape_json(summary.newest.as_ref()),
        "disk_indexes": disk_indexes(summary.disk_indexes),
        "schema_version": summary.schema_version,
        "server_version": summary.server_version,
        "table_bytes": summary.table_bytes,
        "top_relations": top_relations_json(&summary.top_relations),
    })
}
