use std::{fmt, sync::Arc};

use shape_meta_core::{Error, ErrorKind, Result};

/// PostgreSQL cuts longer names off silently, so two of them could mean one schema.
const MAX_BYTES: usize = 63;

/// The validated name of the schema that holds our tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaName(Arc<str>);

impl SchemaName {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let invalid = |why: &str| {
            let message = format!("the schema name {name:?} is invalid: {why}; choose another one");
            Err(Error::new(ErrorKind::Configuration, message))
        };
        match name {
            "" => invalid("it is empty"),
            _ if name.len() > MAX_BYTES => invalid("it is longer than 63 bytes"),
            _ if name.contains(char::is_control) => invalid("it contains a control character"),
            _ if name.starts_with("pg_") || name == "information_schema" => {
                invalid("it is reserved by PostgreSQL")
            }
            _ => Ok(Self(name.into())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a statement in which `@` before the name of a table stands for this schema.
    pub(crate) fn qualify(&self, statement: &str) -> Arc<str> {
        statement.replace('@', &format!("{self}.")).into()
    }
}

/// The quoted identifier.
impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_a_schema_name_is_quoted_or_refused() {
        let qualified = |name| SchemaName::new(name).map(|name| name.qualify("SELECT 1 FROM @shape"));
        assert_eq!(&*qualified("shapes").expect("valid"), "SELECT 1 FROM \"shapes\".shape");
        let quoted = qualified("a\"; DROP TABLE x; --").expect("valid");
        assert_eq!(&*quoted, "SELECT 1 FROM \"a\"\"; DROP TABLE x; --\".shape");
        for name in ["", "pg_catalog", "information_schema", "a\0b", "a\nb", &"a".repeat(64)] {
            let error = SchemaName::new(name).expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::Configuration, "{name:?}");
        }
    }
}
