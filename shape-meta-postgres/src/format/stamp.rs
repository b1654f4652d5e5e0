//! The table `stamp`: what the shapes of a stack were made with.

use shape_meta_core::{Result, Seq, Stamp, store_parts::checksum};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    connection::client::Client,
    error::damaged_row,
    format::{row, statements::Statements},
};

const DOING: &str = "compare the stamp";

/// Reads the stamp of a stack, in the transaction of the caller; `None` if it has none.
pub(crate) async fn read(client: &mut Client, statements: &Statements, stack: i64) -> Result<Option<Stamp>> {
    let found = client.query_opt(DOING, &statements.stamp, &[&stack]).await?;
    found.as_ref().map(decode).transpose()
}

/// Decodes and verifies a row.
pub(crate) fn decode(found: &Row) -> Result<Stamp> {
    let stamp = Stamp::new(row::int8(found, 0)?.cast_unsigned(), row::text(found, 1)?);
    match row::int8(found, 2)? == checksum_of(&stamp) {
        true => Ok(stamp),
        false => Err(damaged_row("a row of `stamp`", "its checksum does not match")),
    }
}

/// Writes the stamp of a stack, in the transaction of the caller.
pub(crate) async fn write(
    client: &mut Client,
    statements: &Statements,
    stack: i64,
    stamp: &Stamp,
) -> Result<()> {
    let (version, source, sum) = (stamp.version().cast_signed(), stamp.source(), checksum_of(stamp));
    let params: [&(dyn ToSql + Sync); 4] = [&stack, &version, &source, &sum];
    client.execute(DOING, &statements.set_stamp, &params).await?;
    Ok(())
}

fn checksum_of(stamp: &Stamp) -> i64 {
    checksum::of(Seq::new(stamp.version()), stamp.source().as_bytes())
}
