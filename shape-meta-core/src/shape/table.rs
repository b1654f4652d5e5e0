use std::fmt;

use serde::{Deserialize, Serialize};

/// A table by its names: in JSON `["public", "todos"]`. Names are taken as PostgreSQL keeps them, without
/// quotes, and compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(String, String)", into = "(String, String)")]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table in it.
    pub name: String,
}

impl TableName {
    /// The table of this name in this schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl From<(String, String)> for TableName {
    fn from((schema, name): (String, String)) -> Self {
        Self { schema, name }
    }
}

impl From<TableName> for (String, String) {
    fn from(table: TableName) -> Self {
        (table.schema, table.name)
    }
}

/// For people: `"public"."todos"`.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &str| name.replace('"', "\"\"");
        write!(f, "\"{}\".\"{}\"", quoted(&self.schema), quoted(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_sql_writes_it() {
        assert_eq!(TableName::new("public", "odd\"name").to_string(), r#""public"."odd""name""#);
    }
}
