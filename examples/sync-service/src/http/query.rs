use std::collections::BTreeMap;

use shape_meta::{Replica, Shape};

use crate::{
    definition::TableShape,
    error::{Failure, Result},
    filter,
    log::After,
    tables::Table,
};

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) table: String,
    pub(crate) handle: Option<String>,
    pub(crate) after: After,
    pub(crate) is_live: bool,
    pub(crate) is_sse: bool,
    pub(crate) cursor: Option<u64>,
    filter: Option<String>,
    params: BTreeMap<String, String>,
    columns: Option<String>,
    replica: Replica,
}

impl Query {
    /// # Errors
    ///
    /// If a parameter is missing, unknown, or has a value that is not supported.
    pub(crate) fn parse(pairs: Vec<(String, String)>) -> Result<Self> {
        let invalid = |message: String| Err(Failure::Invalid(message));
        let mut query = Self {
            table: String::new(),
            handle: None,
            after: After::Nothing,
            is_live: false,
            is_sse: false,
            cursor: None,
            filter: None,
            params: BTreeMap::new(),
            columns: None,
            replica: Replica::Default,
        };
        let mut has_offset = false;
        for (name, value) in pairs {
            match name.as_str() {
                "table" => query.table = value,
                "handle" => query.handle = Some(value),
                "offset" => {
                    has_offset = true;
                    let invalid = || Failure::Invalid(format!("the offset {value:?} is not valid"));
                    query.after = After::parse(&value).ok_or_else(invalid)?;
                }
                "live" => query.is_live = value == "true",
                "live_sse" | "experimental_live_sse" => query.is_sse = value == "true",
                "cursor" => query.cursor = value.parse().ok(),
                "where" => query.filter = Some(value),
                "columns" => query.columns = Some(value),
                "replica" => {
                    query.replica = match value.as_str() {
                        "default" => Replica::Default,
                        "full" => Replica::Full,
                        _ => return invalid(format!("replica={value} is not supported")),
                    }
                }
                "log" if value != "full" => return invalid(format!("log={value} is not supported")),
                // They only make an address that no cache has.
                "log" | "expired_handle" | "cache-buster" => {}
                _ => match name.strip_prefix("params[").and_then(|rest| rest.strip_suffix(']')) {
                    Some(number) => drop(query.params.insert(number.to_owned(), value)),
                    None => return invalid(format!("the parameter {name:?} is not supported")),
                },
            }
        }
        match () {
            () if query.table.is_empty() => invalid("the parameter table is missing".to_owned()),
            () if !has_offset => invalid("the parameter offset is missing".to_owned()),
            () if query.is_live && query.after == After::Nothing => {
                invalid("a live request needs the offset of an earlier response".to_owned())
            }
            () if query.handle.is_none() && matches!(query.after, After::Offset(_)) => {
                invalid("the parameter handle is missing; only the first request has none".to_owned())
            }
            () => Ok(query),
        }
    }

    /// Returns the definition of the requested shape.
    ///
    /// # Errors
    ///
    /// If a column is unknown or missing, or the filter is not supported.
    pub(crate) fn definition(&self, table: &Table) -> Result<TableShape> {
        let invalid = |error: filter::InvalidFilter| Failure::Invalid(error.to_string());
        let all = || table.columns.iter().map(|column| column.name.clone()).collect();
        let columns =
            self.columns.as_deref().map_or_else(|| Ok(all()), filter::identifiers).map_err(invalid)?;
        if let Some(unknown) = columns.iter().find(|name| table.position(name).is_none()) {
            return Err(Failure::Invalid(format!("the table has no column {unknown:?} that can be synced")));
        }
        let key: Vec<_> = table.key().into_iter().map(|at| table.columns[at].name.clone()).collect();
        if let Some(missing) = key.iter().find(|name| !columns.contains(name)) {
            return Err(Failure::Invalid(format!(
                "the columns lack {missing:?}, which is part of the primary key"
            )));
        }
        let mut shape =
            Shape::new(table.table_name(), table.relation()).pk(key).columns(columns).replica(self.replica);
        if let Some(filter) = &self.filter {
            shape = shape.filter(filter);
            shape.params = self.params.clone();
        }
        Ok(TableShape { shape, table: table.clone() })
    }
}
