//! Descriptions of tables, from the catalog of PostgreSQL.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use shape_meta::{Relation, TableName};
use tokio_postgres::Client;

use crate::{
    error::{Failure, Result},
    filter::Kind,
    postgres::Pool,
};

/// A table whose changes are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The columns in the order in which changes contain them. Generated columns are not among them, because
    /// PostgreSQL does not publish them.
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    /// The type modifier, such as the length of `varchar(20)`; -1 for none.
    pub(crate) modifier: i32,
    /// The name of the type, or of the element type of an array.
    pub(crate) type_name: String,
    /// The number of dimensions of an array, otherwise 0.
    pub(crate) dimensions: i32,
    pub(crate) is_not_null: bool,
    /// The position in the primary key, from 0.
    pub(crate) key: Option<i32>,
    pub(crate) has_deterministic_collation: bool,
}

impl Column {
    pub(crate) fn kind(&self) -> Kind {
        match self.dimensions {
            0 => Kind::of_type(&self.type_name, self.has_deterministic_collation),
            _ => Kind::Other,
        }
    }
}

impl Table {
    pub(crate) fn relation(&self) -> Relation {
        Relation::new(self.oid)
    }

    pub(crate) fn table_name(&self) -> TableName {
        TableName::new(&self.schema, &self.name)
    }

    /// Returns the positions of the columns of the primary key, in the order of the key.
    pub(crate) fn key(&self) -> Vec<usize> {
        let mut key: Vec<_> =
            (0..).zip(&self.columns).filter_map(|(at, column)| Some((column.key?, at))).collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.columns.iter().map(Column::kind).collect()
    }

    /// Returns the names and kinds of the columns.
    pub(crate) fn typed_names(&self) -> Vec<(&str, Kind)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.kind())).collect()
    }
}

const LOOK_UP: &str = "
    select c.oid, n.nspname::text, c.relname::text, c.relkind = 'r' and c.relpersistence = 'p',
        c.relreplident = 'f' and exists (
            select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
            where p.pubname = $2 and r.prrelid = c.oid
        )
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = to_regclass($1)";

const COLUMNS: &str = "
    select a.attname::text, a.atttypid, a.atttypmod, coalesce(e.typname, t.typname)::text,
        case when e.oid is null then 0 else greatest(a.attndims, 1) end::int4, a.attnotnull,
        array_position(i.indkey::int2[], a.attnum)::int4, coalesce(l.collisdeterministic, true)
    from pg_attribute a
        join pg_type t on t.oid = a.atttypid
        left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
        left join pg_collation l on l.oid = a.attcollation
        left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by a.attnum";

/// How long a description is used before the catalog is read again, for a table that is altered and then not
/// written. A change of a table is noticed with its first new row.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The descriptions of the tables that are requested.
pub(crate) struct Tables {
    pool: Arc<Pool>,
    publication: String,
    known: Mutex<HashMap<String, (Instant, Arc<Table>)>>,
    /// One look-up at a time, so that a storm of requests after a start is one query.
    looking_up: tokio::sync::Mutex<()>,
}

impl Tables {
    pub(crate) fn new(pool: Arc<Pool>, publication: String) -> Self {
        Self { pool, publication, known: Mutex::default(), looking_up: tokio::sync::Mutex::default() }
    }

    /// Returns the table with this name, as a client writes it. Adds it to the publication at first.
    ///
    /// # Errors
    ///
    /// If there is no such table, it cannot be published, or PostgreSQL cannot be reached.
    pub(crate) async fn table(&self, name: &str) -> Result<Arc<Table>> {
        if let Some(table) = self.known(name) {
            return Ok(table);
        }
        let _looking_up = self.looking_up.lock().await;
        if let Some(table) = self.known(name) {
            return Ok(table);
        }
        let connection = self.pool.get().await?;
        let table = Arc::new(self.look_up(&connection.client, name).await?);
        connection.give_back();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < MAX_AGE);
        known.insert(name.to_owned(), (Instant::now(), Arc::clone(&table)));
        Ok(table)
    }

    fn known(&self, name: &str) -> Option<Arc<Table>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|(at, _)| at.elapsed() < MAX_AGE).map(|(_, table)| Arc::clone(table))
    }

    /// Forgets the descriptions of a table that was changed.
    pub(crate) fn forget(&self, oid: u32) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, table)| table.oid != oid);
    }

    async fn look_up(&self, client: &Client, name: &str) -> Result<Table> {
        let found =
            client.query_opt(LOOK_UP, &[&name, &self.publication]).await.map_err(|error| {
                match error.as_db_error() {
                    Some(refused) => Failure::Invalid(format!("the table {name:?}: {}", refused.message())),
                    None => error.into(),
                }
            })?;
        let Some(row) = found else {
            return Err(Failure::Invalid(format!("there is no table {name:?}; names are written as in SQL")));
        };
        if !row.get::<_, bool>(3) {
            return Err(Failure::Invalid(format!(
                "{name:?} is not an ordinary table: views, partitioned, temporary and unlogged tables are not synced"
            )));
        }
        let (oid, is_published) = (row.get(0), row.get::<_, bool>(4));
        let (schema, name) = (row.get(1), row.get(2));
        let table = Table { oid, schema, name, columns: columns(client, oid).await? };
        if table.key().is_empty() {
            return Err(Failure::Invalid(format!("the table {:?} has no primary key", table.name)));
        }
        if !is_published {
            self.publish(client, &table).await?;
        }
        Ok(table)
    }

    /// Both in one transaction, under the exclusive lock that the first takes: so every transaction that
    /// writes to the table is either over, and visible to the snapshots that follow, or published with its
    /// old rows.
    async fn publish(&self, client: &Client, table: &Table) -> Result<()> {
        let (name, publication) = (table.table_name(), crate::filter::quoted(&self.publication));
        let publish = format!(
            "begin; alter table {name} replica identity full;
            do $$ begin alter publication {publication} add table {name};
            exception when duplicate_object then null; end $$; commit"
        );
        if let Err(error) = client.batch_execute(&publish).await {
            client.batch_execute("rollback").await?;
            return Err(Failure::Unavailable(format!(
                "the table {name} cannot be published: {}",
                crate::postgres::describe(&error)
            )));
        }
        Ok(())
    }
}

/// Returns the columns of a table.
pub(crate) async fn columns(client: &Client, oid: u32) -> Result<Vec<Column>> {
    let rows = client.query(COLUMNS, &[&oid]).await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        type_oid: row.get(1),
        modifier: row.get(2),
        type_name: row.get(3),
        dimensions: row.get(4),
        is_not_null: row.get(5),
        key: row.get(6),
        has_deterministic_collation: row.get(7),
    };
    Ok(rows.iter().map(column).collect())
}
