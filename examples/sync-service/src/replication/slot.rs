use tokio_postgres::{Client, types::ToSql};

use super::{PositionFile, position::Position};
use crate::{
    error::{Failure, Result},
    filter::quoted,
    metadata::Metadata,
};

/// Creates the publication, without tables, if it does not exist.
pub(crate) async fn create_publication(client: &Client, name: &str) -> Result<()> {
    let exists =
        client.query_opt("select 1 from pg_publication where pubname = $1", &[&name]).await?.is_some();
    if !exists {
        client.batch_execute(&format!("create publication {}", quoted(name))).await?;
    }
    Ok(())
}

/// Returns the slot that has all changes after those in the logs. If there is none, removes all shapes,
/// because changes are missing in their logs, and creates a slot.
///
/// # Errors
///
/// If PostgreSQL cannot be reached, or the files or the metadata cannot be written.
pub(crate) async fn open_slot(
    client: &Client,
    prefix: &str,
    positions: &PositionFile,
    metadata: &Metadata,
) -> Result<Position> {
    let known = positions.read().map_err(|error| failed(&error))?;
    if let Some(known) = &known {
        let valid = "select 1 from pg_replication_slots where slot_name = $1 and wal_status <> 'lost'
            and confirmed_flush_lsn - '0/0' <= ($2::text)::numeric";
        if client.query_opt(valid, &[&known.slot, &known.durable.to_string()]).await?.is_some() {
            return Ok(known.clone());
        }
        tracing::warn!(
            slot = known.slot,
            "the slot is gone or ahead of these files: all shapes are made again"
        );
    }
    // In this order, so that no crash in between leaves a shape whose changes no slot has.
    metadata.reset().await?;
    let slot = format!("{prefix}_{:012x}", fastrand::u64(..1 << 48));
    let create = "select (lsn - '0/0')::text from pg_create_logical_replication_slot($1, 'pgoutput')";
    let row = client.query_one(create, &[&slot]).await?;
    let durable =
        row.get::<_, &str>(0).parse().map_err(|_| Failure::Unavailable("not a position".to_owned()))?;
    let position = Position { slot, durable };
    positions.write(&position).map_err(|error| failed(&error))?;
    Ok(position)
}

/// Drops the slots of former owners of the metadata. Returns whether one is left: a process that hangs may
/// keep its connection, and with it the slot, until the server's time-out.
pub(crate) async fn drop_others(client: &Client, prefix: &str, slot: &str) -> Result<bool> {
    let others = "from pg_replication_slots where slot_name ~ ('^' || $1 || '_[0-9a-f]{12}$')
        and slot_name <> $2 and database = current_database()";
    let arguments: [&(dyn ToSql + Sync); 2] = [&prefix, &slot];
    let drop = format!("select pg_drop_replication_slot(slot_name) {others} and not active");
    client.execute(&drop, &arguments).await?;
    let end = format!("select pg_terminate_backend(active_pid) {others}");
    Ok(client.execute(&end, &arguments).await? > 0)
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Unavailable(format!("the file of the position: {error}"))
}
