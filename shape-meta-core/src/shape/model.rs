use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{InvalidShape, LogMode, Replica, TableName, canonical, filter, json};
use crate::{Definition, Key, Relation};

/// The ready-made definition of a shape: a filtered view of one PostgreSQL table.
///
/// # What counts as equal
///
/// Two definitions are equal (`==`), have the same [`key`](Definition::key) and the same
/// [`encode`](Definition::encode)d bytes, all or none of these, in every run and on every machine, if all
/// of this holds:
///
/// | field | equal if |
/// |---|---|
/// | [`table`](Self::table) | schema and name are the same, byte by byte: `Todos` is not `todos` |
/// | [`oid`](Self::oid) | it is the same number: a table that was dropped and made again is another one |
/// | [`pk`](Self::pk) | the same columns stand in the same order: the keys of rows in the log are made of them |
/// | [`columns`](Self::columns) | they are the same set: neither order nor repetition matters |
/// | [`filter`](Self::filter) | it is the same text, byte by byte, or absent in both; `a=1` is not `a = 1`, and an empty text is not an absent one |
/// | [`params`](Self::params) | the same names have the same values, byte by byte; their order does not matter, and `{}` is the same as absent |
/// | [`replica`](Self::replica), [`log`](Self::log) | they are the same |
/// | [`dependencies`](Self::dependencies) | the same keys stand in the same order: a filter may mean them by their place |
///
/// Names and texts are never folded, trimmed or brought into a Unicode normal form. Where it is not
/// certain that two definitions mean the same they are unequal, because an extra shape costs
/// some disk, and a wrongly shared one shows a client the rows of somebody else.
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
/// `where`, `params` and `dependencies` (keys as 64 hexadecimal digits) may be absent; everything else
/// has to be there. Unknown fields, fields that come twice, and `null` are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Shape {
    /// The table.
    pub table: TableName,
    /// Its OID: what changes of the table are matched by.
    #[serde(with = "json::oid")]
    pub oid: Relation,
    /// The columns of its primary key, in the order of the key.
    pub pk: Vec<String>,
    /// The columns that clients get.
    pub columns: BTreeSet<String>,
    /// How much of a row an update carries.
    pub replica: Replica,
    /// What the log begins with.
    pub log: LogMode,
    /// The `where` clause that chooses the rows; without one it is the whole table.
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
    /// The keys of the definitions that this one builds on; for a subquery in the filter, say.
    #[serde(default, with = "json::keys", skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Key>,
}

impl Shape {
    /// The whole of this table, with no column chosen yet.
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
        }
    }

    /// With these columns as the primary key.
    pub fn pk<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.pk = columns.into_iter().map(Into::into).collect();
        self
    }

    /// With these columns for the clients.
    pub fn columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// With this `where` clause.
    pub fn filter(mut self, sql: impl Into<String>) -> Self {
        self.filter = Some(sql.into());
        self
    }

    /// With this value for the parameter of this name.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// With this much of a row in an update.
    pub fn replica(mut self, replica: Replica) -> Self {
        self.replica = replica;
        self
    }

    /// With this beginning of the log.
    pub fn log(mut self, log: LogMode) -> Self {
        self.log = log;
        self
    }

    /// Building on the definition with this key, after those named before.
    pub fn depends_on(mut self, key: Key) -> Self {
        self.dependencies.push(key);
        self
    }
}

impl Definition for Shape {
    type Error = InvalidShape;

    /// BLAKE3 over a canonical, injective encoding of all fields.
    fn key(&self) -> Key {
        canonical::key(self)
    }

    fn relations(&self) -> Vec<Relation> {
        vec![self.oid]
    }

    fn dependencies(&self) -> Vec<Key> {
        self.dependencies.clone()
    }

    /// Whether the filter has `column = constant` (or parameter) among conditions that are joined by
    /// `AND` at its top level, in a form that is recognized without a parser.
    ///
    /// It errs towards `false`: conditions inside of parentheses, comments, casts of the column and the
    /// rarer forms of string constants are not looked into.
    fn is_indexed(&self) -> bool {
        self.filter.as_deref().is_some_and(filter::has_equality)
    }

    /// JSON, with columns and parameters sorted: equal definitions have equal bytes.
    fn encode(&self) -> Vec<u8> {
        json::write(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, InvalidShape> {
        json::read(bytes)
    }
}
