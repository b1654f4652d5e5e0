use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{InvalidShape, LogMode, Replica, TableName, canonical, filter, json};
use crate::{Definition, Key, Relation};

/// The ready-made definition of a shape: a filtered view of one PostgreSQL table.
///
/// # What counts as equal
///
/// Two definitions are equal (`==`) if and only if their [`key`](Definition::key)s are equal, and if and only
/// if their [`encode`](Definition::encode)d bytes are, in every run and on every machine. They are equal if
/// all fields are:
///
/// | field | equal if |
/// |---|---|
/// | [`table`](Self::table) | schema and name are the same bytes: `Todos` is not `todos` |
/// | [`oid`](Self::oid) | the number is the same: a table that was dropped and created again is another table |
/// | [`pk`](Self::pk) | the columns are the same, in the same order: they form the row keys in the log |
/// | [`columns`](Self::columns) | the sets are the same: neither order nor repetition matters |
/// | [`all_columns`](Self::all_columns) | both ask for all columns, or both name theirs |
/// | [`filter`](Self::filter) | the text is the same bytes, or absent in both; `a=1` is not `a = 1`, and empty text is not absent text |
/// | [`params`](Self::params) | the same names have the same values, byte by byte; their order does not matter, and `{}` equals absent |
/// | [`replica`](Self::replica), [`log`](Self::log) | the values are the same |
/// | [`dependencies`](Self::dependencies) | the keys are the same, in the same order: a filter may refer to them by position |
/// | [`subquery_columns`](Self::subquery_columns) | the columns are the same, in the same order: a row is compared with them by position |
///
/// Names and texts are never case-folded, trimmed or normalized. If it is not certain that two definitions
/// have the same meaning, they are unequal: an extra shape costs some disk, and a wrongly shared one shows a
/// client the rows of another client.
///
/// # JSON
///
/// ```
/// use shape_meta_core::{Definition, Shape};
///
/// let json = r#"{"table":["public","todos"],"oid":16510,"pk":["id"],"columns":["id","text"],
///     "replica":"default","log":"full","where":"user_id = $1","params":{"1":"42"}}"#;
/// let shape = Shape::decode(json.as_bytes())?;
/// assert_eq!(shape.filter.as_deref(), Some("user_id = $1"));
/// assert!(shape.is_indexed());
/// assert_eq!(Shape::decode(&shape.encode())?, shape);
/// # Ok::<_, shape_meta_core::InvalidShape>(())
/// ```
///
/// `where`, `params`, `dependencies` (keys as 64 hexadecimal digits), `all_columns` (false without it) and
/// `subquery_columns` are optional; all other fields are required. Unknown fields, duplicate fields and
/// `null` are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Shape {
    /// The table.
    pub table: TableName,
    /// The OID of the table, by which changes of the table are matched.
    #[serde(with = "json::oid")]
    pub oid: Relation,
    /// The columns of the primary key, in the order of the key.
    pub pk: Vec<String>,
    /// The columns that clients receive.
    pub columns: BTreeSet<String>,
    /// How much of a row an update contains.
    pub replica: Replica,
    /// The initial content of the log.
    pub log: LogMode,
    /// The `where` clause that selects the rows. Without one, the shape has all rows.
    #[serde(
        rename = "where",
        default,
        deserialize_with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub filter: Option<String>,
    /// The values of the filter's parameters, by name: `$1` has the name `1`.
    #[serde(default, deserialize_with = "json::params", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The keys of the definitions that this one depends on, for example for a subquery in the filter.
    #[serde(default, with = "json::keys", skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Key>,
    /// Whether the client asks for all columns of the table, which [`columns`](Self::columns) are at this
    /// time: a column that is added to the table later is one more. Without it, a client names its columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_columns: bool,
    /// The columns that a subquery selects, in its order, if this is the inner shape of one. Two subqueries
    /// that select different columns of the same rows are different shapes, although their clients would
    /// receive the same [`columns`](Self::columns), such as those of the primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subquery_columns: Vec<String>,
}

impl Shape {
    /// Returns the definition of all rows of a table, without columns.
    pub fn new(table: TableName, oid: Relation) -> Self {
        Self {
            table,
            oid,
            pk: Vec::new(),
            columns: BTreeSet::new(),
            replica: Replica::default(),
            log: LogMode::default(),
            filter: None,
            params: BTreeMap::new(),
            dependencies: Vec::new(),
            all_columns: false,
            subquery_columns: Vec::new(),
        }
    }

    /// Sets the columns of the primary key.
    pub fn pk<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.pk = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the columns that clients receive.
    pub fn columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the columns that clients receive to all columns of the table, which are these at this time.
    pub fn all_columns<T: Into<String>>(self, columns: impl IntoIterator<Item = T>) -> Self {
        Self { all_columns: true, ..self.columns(columns) }
    }

    /// Sets the columns that a subquery selects, in its order: this is the inner shape of it.
    pub fn subquery_columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.subquery_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the `where` clause.
    pub fn filter(mut self, sql: impl Into<String>) -> Self {
        self.filter = Some(sql.into());
        self
    }

    /// Sets the value of a parameter.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Sets how much of a row an update contains.
    pub fn replica(mut self, replica: Replica) -> Self {
        self.replica = replica;
        self
    }

    /// Sets the initial content of the log.
    pub fn log(mut self, log: LogMode) -> Self {
        self.log = log;
        self
    }

    /// Appends a definition that this one depends on.
    pub fn depends_on(mut self, key: Key) -> Self {
        self.dependencies.push(key);
        self
    }
}

impl Definition for Shape {
    type Error = InvalidShape;

    /// Returns the BLAKE3 hash of a canonical, injective encoding of all fields.
    fn key(&self) -> Key {
        canonical::key(self)
    }

    fn relations(&self) -> Vec<Relation> {
        vec![self.oid]
    }

    fn dependencies(&self) -> Vec<Key> {
        self.dependencies.clone()
    }

    /// Returns whether the filter is of a form that engines answer from an index of the constants:
    ///
    /// - `column = constant`, `column IN (constant, ...)`, `column = ANY (constant)`,
    /// - `constant = ANY (column)`, `column @> constant`, `constant <@ column`, where the column is an array,
    /// - `a AND b`, if one of the two is of such a form, and `a OR b`, if both are.
    ///
    /// A parameter is a constant, and so is an `ARRAY[...]` of constants. The filter is tokenized and not
    /// parsed: filters with comments, casts of the column, `CASE`, and rare forms of string constants give
    /// `false`.
    fn is_indexed(&self) -> bool {
        self.filter.as_deref().is_some_and(filter::is_indexed)
    }

    /// Returns the JSON, with sorted columns and parameters, so that equal definitions have equal bytes.
    fn encode(&self) -> Vec<u8> {
        json::write(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, InvalidShape> {
        json::read(bytes)
    }
}
