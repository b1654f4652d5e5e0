use std::io::Write;

use serde_json::json;
use shape_meta_postgres::{PostgresInspector, PostgresPool, StackInfo};

use super::{Outcome, inspect::stack};
use crate::{
    args::Connection,
    database::stack::{options, pool_options},
    exit::Success,
    output,
};

pub(super) fn run(url: &str, connection: &Connection, as_json: bool, out: &mut dyn Write) -> Outcome {
    let pool = PostgresPool::new(pool_options(url, connection)?)?;
    let stacks = PostgresInspector::stacks(&pool, &options(&connection.schema))?;
    for stack in &stacks {
        if let Err(error) = &stack.state {
            output::note(output::safe(&format!("stack {:?}: {error}", stack.name)));
        }
    }
    if as_json {
        for info in &stacks {
            output::json(out, &json(info))?;
        }
    } else {
        let mut table =
            output::table(&["stack", "shapes", "indexed", "last seq", "epoch", "cleanup tasks", "owner"]);
        table.add_rows(stacks.iter().map(row));
        let width = output::width();
        for line in table.to_string().lines() {
            writeln!(out, "{}", output::cut(line.trim(), width))?;
        }
    }
    let is_sound = stacks.iter().all(|stack| stack.state.is_ok());
    Ok(if is_sound { Success::Clean } else { Success::Findings })
}

fn row(info: &StackInfo) -> [String; 7] {
    let numbers = match &info.state {
        Ok(state) => [state.counts.total, state.counts.indexed, state.last_seq.get(), state.epoch]
            .map(|number| number.to_string()),
        Err(_) => ["damaged", "-", "-", "-"].map(str::to_owned),
    };
    let [shapes, indexed, last_seq, epoch] = numbers;
    let owner = output::safe(&stack::owner(info.owner.as_ref())).into_owned();
    let name = output::safe(&info.name).into_owned();
    [name, shapes, indexed, last_seq, epoch, info.cleanup_tasks.to_string(), owner]
}

fn json(info: &StackInfo) -> serde_json::Value {
    let state = info.state.as_ref().ok();
    json!({
        "stack": info.name,
        "damaged": state.is_none(),
        "shapes": state.map(|state| state.counts.total),
        "indexed": state.map(|state| state.counts.indexed),
        "last_seq": state.map(|state| state.last_seq.get()),
        "epoch": state.map(|state| state.epoch),
        "cleanup_tasks": info.cleanup_tasks,
        "owner": stack::owner_json(info.owner.as_ref()),
    })
}
