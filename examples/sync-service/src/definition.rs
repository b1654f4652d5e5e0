//! The definition of a shape: what a client asks for, and the table as it is.

use serde::{Deserialize, Serialize};
use shape_meta::{Definition, Key, Relation, Shape};

use crate::tables::Table;

/// The table is part of it, so that a shape of an altered table is another shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TableShape {
    pub(crate) shape: Shape,
    pub(crate) table: Table,
}

impl TableShape {
    /// Returns the schema of the columns, for the header `electric-schema`.
    pub(crate) fn schema(&self) -> String {
        let columns = self.table.columns.iter().filter(|column| self.shape.columns.contains(&column.name));
        let described = columns.map(|column| {
            let mut description = serde_json::json!({ "type": column.type_name });
            if column.dimensions > 0 {
                description["dims"] = column.dimensions.into();
            }
            if column.is_not_null {
                description["not_null"] = true.into();
            }
            if let Some(position) = column.key {
                description["pk_index"] = position.into();
            }
            (column.name.clone(), description)
        });
        ascii(&serde_json::Value::Object(described.collect()).to_string())
    }
}

/// Escapes what a header of HTTP must not contain, as JSON allows.
fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii() {
            escaped.push(char);
        } else {
            escaped.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

impl Definition for TableShape {
    type Error = serde_json::Error;

    fn key(&self) -> Key {
        Key::new(*blake3::hash(&self.encode()).as_bytes())
    }

    fn relations(&self) -> Vec<Relation> {
        self.shape.relations()
    }

    fn is_indexed(&self) -> bool {
        self.shape.is_indexed()
    }

    /// Returns JSON. The parts are written in a fixed order, so equal definitions have equal bytes.
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Self::Error> {
        serde_json::from_slice(bytes)
    }
}
