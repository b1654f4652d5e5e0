//! Creates and migrates the tables, in the transaction of the caller.

use std::sync::Arc;

use shape_meta_core::{Error, ErrorKind, Result, store_parts::lookup_hash};

use crate::{
    config::SchemaName,
    connection::client::Client,
    format::{
        row,
        schema::{STEPS, VERSION},
    },
};

/// The oldest server that has all that is used.
const OLDEST_SERVER: i32 = 130_000;

/// Separates our advisory locks from those of others. "shapemet".
const LOCK_CLASS: i64 = i64::from_be_bytes(*b"shapemet");

/// Checks that the server can hold our tables.
///
/// # Errors
///
/// `Unsupported` if it is too old, and `Configuration` if the encoding of the database is not UTF-8.
pub(crate) async fn check_server(client: &mut Client) -> Result<()> {
    let statement = Arc::from(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), \
         current_setting('server_version')",
    );
    let found = client.query_opt("read the version of the server", &statement, &[]).await?;
    let found = found.ok_or_else(no_row)?;
    check_version(row::int4(&found, 0)?, row::text(&found, 2)?)?;
    check_encoding(row::text(&found, 1)?)
}

fn check_version(number: i32, name: &str) -> Result<()> {
    if number >= OLDEST_SERVER {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the server has version {name}, and at least version 13 is needed; nothing has changed. Upgrade it"
        ),
    ))
}

fn check_encoding(encoding: &str) -> Result<()> {
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Configuration,
        format!(
            "the encoding of the database is {encoding}, and handles need UTF8; nothing has changed. Create a database \
             with `ENCODING 'UTF8' TEMPLATE template0`"
        ),
    ))
}

/// Creates the schema and its tables, or migrates them. Returns the version before, 0 if there were none.
///
/// # Errors
///
/// `UnsupportedSchema` if a newer version of this crate has written them, `NotADatabase` if the schema has a
/// table of the same name that is not ours. Nothing has changed then.
pub(crate) async fn migrate(client: &mut Client, schema: &SchemaName) -> Result<i32> {
    let doing = "create or migrate the tables";
    // Released by the end of the transaction.
    let lock: Arc<str> = Arc::from("SELECT pg_advisory_xact_lock($1)");
    client.query(doing, &lock, &[&lock_number(schema)]).await?;
    let has_schema: Arc<str> = Arc::from("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1");
    let tables: Arc<str> = Arc::from(
        "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname IN ('format', 'process', 'stack', 'shape', 'definition', \
         'handle_lookup', 'key_lookup', 'relation_lookup', 'change_log', 'last_read', 'lineage', 'cleanup', 'trusted_storage', \
         'stamp')",
    );
    let name = schema.as_str();
    if client.query_opt(doing, &has_schema, &[&name]).await?.is_none() {
        client.execute_all("create the schema", &format!("CREATE SCHEMA {schema}")).await?;
    }
    let found = client.query(doing, &tables, &[&name]).await?;
    let names = found.iter().map(|found| row::text(found, 0)).collect::<Result<Vec<_>>>()?;
    let version = match (names.contains(&"format"), names.first()) {
        (true, _) => read_version(client, schema).await?,
        (false, None) => 0,
        (false, Some(table)) => return Err(foreign(schema, table)),
    };
    if version > VERSION {
        return Err(Error::new(
            ErrorKind::UnsupportedSchema,
            format!(
                "the tables in schema {schema} have version {version}, and this program knows versions up to \
                 {VERSION}; nothing has changed. Upgrade this program, or name another schema"
            ),
        ));
    }
    for (at, step) in STEPS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let next = at + 1;
        let step = schema.qualify(step);
        let doing = format!("create or migrate the tables to version {next}");
        client.execute_all(&doing, &step).await?;
        let set = schema.qualify(&format!("UPDATE @format SET version = {next}"));
        client.execute_all(&doing, &set).await?;
    }
    Ok(version)
}

/// Reads the version of existing tables.
async fn read_version(client: &mut Client, schema: &SchemaName) -> Result<i32> {
    let columns = Arc::from(
        "SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = 'format' AND a.attname = 'version' AND a.atttypid = 'integer'::regtype",
    );
    let doing = "read the version of the tables";
    if client.query_opt(doing, &columns, &[&schema.as_str()]).await?.is_none() {
        return Err(foreign(schema, "format"));
    }
    let statement = schema.qualify("SELECT version FROM @format WHERE id = 1");
    let found = client.query_opt(doing, &statement, &[]).await?.ok_or_else(|| foreign(schema, "format"))?;
    row::int4(&found, 0)
}

fn foreign(schema: &SchemaName, table: &str) -> Error {
    Error::new(
        ErrorKind::NotADatabase,
        format!(
            "schema {schema} has a table `{table}` that is not ours; nothing has changed. Name another schema"
        ),
    )
}

fn no_row() -> Error {
    Error::new(ErrorKind::Io, "the server returned no row for its version; nothing has changed")
}

/// The number of the advisory lock of a schema. Two schemas that share one wait for each other, and no more.
fn lock_number(schema: &SchemaName) -> i64 {
    LOCK_CLASS ^ lookup_hash::handle(schema.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_a_server_that_is_too_old_is_refused() {
        let error = check_version(120_019, "12.19").expect_err("it is too old");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("12.19"), "{error}");
        assert!(check_version(130_000, "13.0").is_ok());
        let error = check_encoding("SQL_ASCII").expect_err("handles are UTF-8");
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}
