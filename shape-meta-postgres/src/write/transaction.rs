//! The frame of every transaction that writes.

use std::sync::Arc;

use shape_meta_core::Result;
use tokio_postgres::{error::SqlState, types::ToSql};

use crate::{
    Durability,
    connection::{
        client::{Client, CommitError, Params},
        pool::{Pooled, Purpose},
    },
    error::code_of,
    format::stack_row::StackRow,
    ownership::opening::not_ours_any_more,
    stack::Stack,
    write::columns::Columns,
};

/// A transaction that writes to a stack, whose row it has locked and checked (C11, C13).
///
/// The lock makes all transactions that write to the stack run one after the other, and makes a lost commit
/// decidable: the next transaction sees whether the transaction before has committed.
pub(crate) struct WriteTransaction {
    stack: Arc<Stack>,
    pooled: Pooled,
    doing: &'static str,
    /// The row as it was found.
    pub(crate) row: StackRow,
}

impl WriteTransaction {
    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// `Fenced` if the stack is not ours, and those of the server. Nothing has changed then.
    pub(crate) async fn begin(
        stack: &Arc<Stack>,
        durability: Durability,
        doing: &'static str,
    ) -> Result<Self> {
        let opening = stack.opening()?;
        let mut pooled = stack.connections().checkout(Purpose::Operation).await?;
        let mut begun = begin(stack, &mut pooled, durability, doing).await;
        if begun.is_err() && pooled.was_lost_while_idle() {
            // The server closed it, so it has not begun there.
            drop(pooled);
            pooled = stack.connections().checkout(Purpose::Operation).await?;
            begun = begin(stack, &mut pooled, durability, doing).await;
        }
        let mut transaction = match begun {
            Ok(row) => Self { stack: Arc::clone(stack), pooled, doing, row },
            Err(error) => {
                pooled.client()?.roll_back().await;
                return Err(error);
            }
        };
        if let Err(error) = opening.check(Some(&transaction.row)) {
            transaction.roll_back().await;
            return Err(error);
        }
        Ok(transaction)
    }

    pub(crate) fn client(&mut self) -> Result<&mut Client> {
        self.pooled.client()
    }

    pub(crate) fn active(&self) -> usize {
        self.pooled.active()
    }

    pub(crate) fn stack(&self) -> &Arc<Stack> {
        &self.stack
    }

    /// Writes the new state of the stack, as the last statement, and commits.
    ///
    /// # Errors
    ///
    /// `Fenced` if the row is not as it was locked. Nothing is committed then.
    pub(crate) async fn commit_as(self, new: StackRow) -> Result<(), CommitError> {
        let statement = Arc::clone(&self.stack.statements.set_stack);
        self.commit_with(&statement, new, &[]).await
    }

    /// The same, with new shapes that the same statement adds.
    pub(super) async fn commit_adds(self, new: StackRow, added: &Columns<'_>) -> Result<(), CommitError> {
        let statement = Arc::clone(&self.stack.statements.add_and_set_stack);
        let columns: Vec<_> = added.shapes().into_iter().chain(added.definitions()).collect();
        self.commit_with(&statement, new, &columns).await
    }

    async fn commit_with(
        mut self,
        statement: &Arc<str>,
        new: StackRow,
        more: Params<'_>,
    ) -> Result<(), CommitError> {
        let owner = self.stack.opening().map_err(CommitError::Refused)?.ours();
        let [last_seq, total, indexed, epoch, before] =
            [new.last_seq.get(), new.counts.total, new.counts.indexed, owner.epoch, self.row.last_seq.get()]
                .map(u64::cast_signed);
        let (opening, sum, number) = (owner.opening.as_bytes(), new.checksum(), self.stack.number);
        let params: [&(dyn ToSql + Sync); 8] =
            [&number, &last_seq, &total, &indexed, &sum, &epoch, &opening, &before];
        let doing = self.doing;
        let client = self.client().map_err(CommitError::Refused)?;
        client.commit_after(doing, statement, &[&params, more].concat()).await.map_err(|error| match error {
            CommitError::Refused(error) if code_of(&error) == Some(&SqlState::DIVISION_BY_ZERO) => {
                CommitError::Refused(not_ours_any_more())
            }
            error => error,
        })
    }

    /// Commits without a new state of the stack.
    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        let doing = self.doing;
        match self.client() {
            Ok(client) => client.commit(doing).await,
            Err(error) => Err(CommitError::Refused(error)),
        }
    }

    pub(crate) async fn roll_back(&mut self) {
        if let Ok(client) = self.pooled.client() {
            client.roll_back().await;
        }
    }
}

async fn begin(
    stack: &Stack,
    pooled: &mut Pooled,
    durability: Durability,
    doing: &'static str,
) -> Result<StackRow> {
    let begin = format!("BEGIN; SET LOCAL synchronous_commit = {}", durability.synchronous_commit());
    let client = pooled.client()?;
    let rows = client.begin_with(doing, &begin, &stack.statements.lock_stack, &[&stack.number]).await?;
    stack.decode(rows.first())
}

#[cfg(test)]
mod tests {
    use shape_meta_core::{NoopObserver, Seq, SnapshotState, conformance};
    use shape_meta_testing_postgres::{Cluster, own};

    use super::*;
    use crate::{DiskIndexes, PoolOptions, PostgresOptions, PostgresPool, PostgresStore};

    /// Opens a stack without look-ups in a server of its own; `None` if the test is skipped.
    fn opened() -> Option<(PostgresStore, Cluster)> {
        let cluster = own(&[])?;
        let options = PoolOptions::parse(&cluster.connection()).expect("it is valid");
        let pool = PostgresPool::new(options).expect("the thread starts");
        let options = PostgresOptions::default().disk_indexes(DiskIndexes::Omitted);
        let store = PostgresStore::open(&pool, "stack", options, Arc::new(NoopObserver));
        Some((store.expect("it opens"), cluster))
    }

    async fn begin_on(stack: &Arc<Stack>) -> Result<WriteTransaction> {
        WriteTransaction::begin(stack, Durability::ProcessCrash, "test").await
    }

    /// The lock of the row keeps others from changing it. A last statement relies on nothing of that.
    #[test]
    fn c11_each_last_statement_checks_that_the_row_is_ours() {
        let Some((store, cluster)) = opened() else { return };
        let stack = Arc::clone(&store.stack);
        let codes = store.pool.runtime().run(async move {
            let ours = stack.opening()?.ours();
            let record = Arc::new(conformance::shape(1).record(Seq::new(1)));
            let added = [(record, SnapshotState::Pending)];
            let columns = Columns::of(&added);
            let columns: Vec<_> = columns.shapes().into_iter().chain(columns.definitions()).collect();
            let statements = &stack.statements;
            let mut codes = Vec::new();
            let both = [(&statements.set_stack, &[][..]), (&statements.add_and_set_stack, &columns[..])];
            for (statement, more) in both {
                for wrong in ["number", "epoch", "opening", "last_seq", "nothing"] {
                    let mut transaction = begin_on(&stack).await?;
                    let changed = |name, value: i64| value + i64::from(name == wrong);
                    let number = changed("number", stack.number);
                    let epoch = changed("epoch", ours.epoch.cast_signed());
                    let before = changed("last_seq", 0);
                    let mut opening = ours.opening.as_bytes().to_vec();
                    opening[0] ^= u8::from(wrong == "opening");
                    let params: [&(dyn ToSql + Sync); 8] =
                        [&number, &0_i64, &0_i64, &0_i64, &0_i64, &epoch, &opening, &before];
                    let client = transaction.client()?;
                    if wrong == "nothing" {
                        // The parameters are those of a statement that succeeds.
                        client.query("test", statement, &[&params, more].concat()).await?;
                        transaction.roll_back().await;
                        continue;
                    }
                    let outcome = client.commit_after("test", statement, &[&params, more].concat()).await;
                    let error = outcome.err().map(CommitError::into_error);
                    codes.push((wrong, error.as_ref().and_then(code_of).cloned()));
                }
            }
            Ok(codes)
        });
        for (wrong, code) in codes.expect("it runs") {
            assert_eq!(code, Some(SqlState::DIVISION_BY_ZERO), "{wrong}");
        }
        let rows = "SELECT (SELECT count(*) FROM shape_meta.shape), (SELECT last_seq FROM shape_meta.stack)";
        assert_eq!(cluster.query(rows).expect("it runs"), "0|0");
    }

    #[test]
    fn c6_nothing_is_committed_behind_a_statement_that_is_not_sent() {
        let Some((store, cluster)) = opened() else { return };
        let stack = Arc::clone(&store.stack);
        let outcome = store.pool.runtime().run(async move {
            let mut transaction = begin_on(&stack).await?;
            let client = transaction.client()?;
            client.execute_all("test", "UPDATE shape_meta.stack SET total = 77").await?;
            // The library refuses the types of these.
            let params: [&(dyn ToSql + Sync); 8] = [&"", &"", &"", &"", &"", &"", &"", &""];
            let outcome = client.commit_after("test", &stack.statements.set_stack, &params).await;
            outcome.map_err(CommitError::into_error)
        });
        let error = outcome.expect_err("it is not sent");
        assert_eq!(code_of(&error), None, "{error}");
        assert_eq!(cluster.query("SELECT total FROM shape_meta.stack").expect("it runs"), "0");
    }
}
