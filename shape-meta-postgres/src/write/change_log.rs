use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use shape_meta_core::{
    Result, Seq,
    store_parts::{LoggedChanges, checksum},
};

use crate::{
    connection::client::Client,
    format::{row, statements::Statements},
    stack::Stack,
};

/// The minimum number of bytes that is kept: about 250,000 removals and marks of large batches, or 50,000
/// that were committed one by one. A standby that is further behind reloads everything.
const KEPT: u64 = 1 << 20;
/// The approximate size of a row without its bytes.
const ROW: u64 = 16;

/// The approximate size of the log in bytes.
#[derive(Debug, Default)]
pub(crate) struct ChangeLogSize(AtomicU64);

impl ChangeLogSize {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }
}

/// Writes the row of a batch, if it logged anything, in the transaction of the batch. Trims the log when it
/// is twice as large as the part that is kept.
pub(crate) async fn append(
    stack: &Stack,
    client: &mut Client,
    through: Seq,
    logged: &LoggedChanges,
) -> Result<()> {
    let (doing, statements, number) = ("write the change log", &stack.statements, stack.number);
    let at = through.get().cast_signed();
    let Some(bytes) = logged.bytes() else {
        return reset(stack, client, at).await;
    };
    if bytes.is_empty() {
        return Ok(());
    }
    // A recovery appends to the row of the last batch.
    let mut changed = match client.query_opt(doing, &statements.changes_at, &[&number, &at]).await? {
        None => Vec::new(),
        Some(found) => {
            let known = row::bytes(&found, 0)?;
            if row::int8(&found, 1)? != checksum::of(through, known) {
                return reset(stack, client, at).await;
            }
            known.to_vec()
        }
    };
    changed.extend_from_slice(bytes);
    write(client, statements, number, at, &changed).await?;
    let size = stack.change_log_size.0.fetch_add(bytes.len() as u64 + ROW, Ordering::Relaxed);
    if size + bytes.len() as u64 + ROW > 2 * KEPT {
        let kept = KEPT.cast_signed();
        client.execute("trim the change log", &statements.trim_change_log, &[&number, &kept]).await?;
        // If the transaction fails, this is too low, and the log is trimmed a little later.
        stack.change_log_size.0.store(KEPT, Ordering::Relaxed);
    }
    Ok(())
}

/// Makes all standbys reload everything: the only row is the floor.
async fn reset(stack: &Stack, client: &mut Client, at: i64) -> Result<()> {
    let statement: &Arc<str> = &stack.statements.clear_change_log;
    client.execute("clear the change log", statement, &[&stack.number]).await?;
    write(client, &stack.statements, stack.number, at, &[]).await
}

/// Writes the row of a sequence number.
pub(crate) async fn write(
    client: &mut Client,
    statements: &Statements,
    number: i64,
    at: i64,
    changed: &[u8],
) -> Result<()> {
    let sum = checksum::of(row::seq(at), changed);
    let statement = &statements.set_changes_at;
    client.execute("write the change log", statement, &[&number, &at, &changed, &sum]).await?;
    Ok(())
}
