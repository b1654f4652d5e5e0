use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a table with its schema, in JSON `["public", "todos"]`. Names are unquoted, as PostgreSQL
/// stores them, and compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(String, String)", into = "(String, String)")]
pub struct TableName {
    /// The name of the schema.
    pub schema: String,
    /// The name of the table in the schema.
    pub name: String,
}

impl TableName {
    /// Returns the name of a table in a schema.
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

/// Formats the name as in SQL: `"public"."todos"`.
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
    fn names_are_formatted_as_in_sql() {
        assert_eq!(TableName::new("public", "odd\"name").to_string(), r#""public"."odd""name""#);
    }
}
